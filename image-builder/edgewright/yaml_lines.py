"""A YAML document as plain data that still knows the line of every key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems

KeyPath = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Odd:
    """A scalar that YAML reads as neither text nor integer (``1.10``, ``yes``), kept as it was written."""

    written: str

    def __repr__(self) -> str:
        return self.written


@dataclass(frozen=True)
class Document:
    """Plain data (dict, list, str, int, ``Odd``) and the line, from 1, of each key path."""

    name: str
    data: Any
    lines: dict[KeyPath, int]

    @classmethod
    def read(cls, text: str, name: str, problems: Problems) -> Document:
        """Read a document; syntax errors, duplicate keys, aliases and keys that are not text go to ``problems``."""
        document = cls(name, None, {})
        try:
            root = yaml.compose(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"{name}:{mark.line + 1}" if mark else name
            problems.add(where, f"this is not YAML: {error.problem or error.context}")
            return document
        except (yaml.YAMLError, UnicodeError) as error:
            problems.add(name, f"this is not YAML: {error}")
            return document
        lines: dict[KeyPath, int] = {}
        reader = cls(name, None, lines)
        data = None if root is None else _plain(root, (), reader, problems, set())
        return cls(name, data, lines)

    def where(self, path: KeyPath) -> str:
        """Return ``file:line: key.path`` of a key, or of the nearest key above it."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        place = f"{self.name}:{self.lines.get(known, 1)}"
        shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        return f"{place}: {shown}" if shown else place


def _plain(node: yaml.Node, path: KeyPath, document: Document, problems: Problems, seen: set[int]) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if id(node) in seen:
        problems.add(document.where(path), "YAML aliases are not understood here", remedy="Write the value out.")
        return None
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document, problems, seen)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each, (*path, index), document, problems, seen) for index, each in enumerate(node.value)]
    if node.tag == "tag:yaml.org,2002:str":
        return node.value
    if node.tag == "tag:yaml.org,2002:int" and node.value.isdecimal() and not node.value.startswith("00"):
        return int(node.value)
    return Odd(node.value or "nothing")


def _mapping(
    node: yaml.MappingNode, path: KeyPath, document: Document, problems: Problems, seen: set[int]
) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
            shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a collection"
            problems.add(f"{document.name}:{line}", "keys must be text", found=shown, remedy="Put it in quotes.")
            continue
        key = key_node.value
        if key in data:
            problems.add(f"{document.name}:{line}", "this key is there twice", found=key, remedy="Delete one of them.")
            continue
        document.lines[(*path, key)] = line
        data[key] = _plain(value_node, (*path, key), document, problems, seen)
    return data

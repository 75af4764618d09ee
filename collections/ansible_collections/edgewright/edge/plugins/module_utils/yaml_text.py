"""Plain data as YAML text in block style: the same data gives the same bytes, and a person can read them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

# What YAML 1.1 and 1.2 both read as a string without quotes; words that 1.1 takes for booleans are left out below.
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*", re.ASCII)
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})


def yaml_text(data: Any, *, head: str = "") -> str:
    """Write mappings, lists, strings, numbers, booleans and ``None``; ``head`` becomes comment lines before them.

    Keys keep their order.
    """
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    return comment + ("\n".join(_block(data, 0)) if _is_block(data) else _scalar(data)) + "\n"


def yaml_documents(documents: list[dict[str, Any]], *, head: str = "") -> str:
    """Write several documents into one text, parted by ``---``."""
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    return comment + "---\n".join(yaml_text(document) for document in documents)


def _is_block(data: Any) -> bool:
    return isinstance(data, Mapping | list | tuple) and bool(data)


def _block(data: Any, depth: int) -> list[str]:
    indent = "  " * depth
    lines = []
    if isinstance(data, Mapping):
        for key, value in data.items():
            if _is_block(value):
                lines += [f"{indent}{_scalar(key)}:", *_block(value, depth + 1)]
            else:
                lines.append(f"{indent}{_scalar(key)}: {_scalar(value)}")
        return lines
    for item in data:
        if _is_block(item):
            first, *rest = _block(item, depth + 1)
            lines += [f"{indent}- {first.lstrip(' ')}", *rest]
        else:
            lines.append(f"{indent}- {_scalar(item)}")
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else _quoted(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    return json.dumps(value)


def _quoted(value: str) -> str:
    # JSON's escapes are YAML's too, but JSON leaves some characters alone that YAML refuses or folds.
    return "".join(
        char if char.isprintable() else (f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
        for char in json.dumps(value, ensure_ascii=False)
    )

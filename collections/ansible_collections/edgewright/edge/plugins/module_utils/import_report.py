"""What became of every field of a source that a virtual machine is imported from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET
    from collections.abc import Iterable

KEPT: Final = "kept"
CHANGED: Final = "changed"
DROPPED: Final = "dropped"


class ImportReport:
    """Collects one outcome for each field.

    Args:
        fields: names of all fields of the source, in their order. Those that nobody speaks of are dropped.
        rest: why those are.
    """

    def __init__(self, fields: Iterable[str] = (), *, rest: str = "") -> None:
        self._rest = rest
        self._told: dict[str, tuple[str, str] | None] = dict.fromkeys(fields)

    def kept(self, field: str, why: str) -> None:
        """Say that a field is in the model as the source has it; ``why`` names the model's key."""
        self._told[field] = (KEPT, why)

    def changed(self, field: str, why: str) -> None:
        """Say that the model has something else than the source says, or something that the source does not say."""
        self._told[field] = (CHANGED, why)

    def dropped(self, field: str, why: str) -> None:
        """Say that nothing in the model comes from a field."""
        self._told[field] = (DROPPED, why)

    def silent(self, field: str) -> bool:
        """Tell whether nobody has spoken of a field yet."""
        return self._told.get(field) is None

    def as_list(self) -> list[dict[str, str]]:
        """Return a line for every field: ``field``, ``outcome`` (``kept``, ``changed`` or ``dropped``) and ``why``."""
        lines = []
        for field, told in self._told.items():
            outcome, why = told or (DROPPED, self._rest)
            lines.append({"field": field, "outcome": outcome, "why": why})
        return lines


class XmlReport(ImportReport):
    """A report about an XML document: its fields are the texts, attributes and empty elements.

    A field is named by its path without namespaces: ``domain/devices/disk[2]/target@bus``; the number counts siblings
    of the same name from 1, and is left out where there is one.
    """

    def __init__(self, root: ET.Element, *, rest: str) -> None:
        self._paths: dict[int, str] = {}
        self._root = root  # keeps the elements, whose identities are the keys
        super().__init__(self._enumerate(root), rest=rest)

    def _enumerate(self, root: ET.Element) -> list[str]:
        fields: list[str] = []
        waiting = [(root, local_name(root.tag))]
        while waiting:
            element, path = waiting.pop()
            self._paths[id(element)] = path
            fields += fields_of(element, path)
            children = [child for child in element if isinstance(child.tag, str)]
            names = [local_name(child.tag) for child in children]
            seen: dict[str, int] = {}
            below = []
            for child, name in zip(children, names, strict=True):
                seen[name] = seen.get(name, 0) + 1
                number = f"[{seen[name]}]" if names.count(name) > 1 else ""
                below.append((child, f"{path}/{name}{number}"))
            waiting += reversed(below)
        return fields

    def path(self, element: ET.Element, attribute: str = "") -> str:
        """Return the name of an element's text, or of one of its attributes."""
        path = self._paths[id(element)]
        return f"{path}@{attribute}" if attribute else path

    def keep(self, element: ET.Element | None, why: str, *, attribute: str = "") -> None:
        """Say that an element's text, or one of its attributes, is kept."""
        if element is not None:
            self.kept(self.path(element, attribute), why)

    def change(self, element: ET.Element, why: str, *, attribute: str = "") -> None:
        """Say that an element's text, or one of its attributes, is changed."""
        self.changed(self.path(element, attribute), why)

    def drop(self, element: ET.Element, why: str) -> None:
        """Say that everything in an element, of which nobody has spoken yet, is dropped."""
        for below in element.iter():
            if id(below) in self._paths:
                for field in fields_of(below, self._paths[id(below)]):
                    if self.silent(field):
                        self.dropped(field, why)


def local_name(tag: str) -> str:
    """Return an element's or attribute's name without its namespace."""
    return tag.rpartition("}")[2]


def fields_of(element: ET.Element, path: str) -> list[str]:
    """Return the fields of one element: its text, or its being there when it has nothing else, and its attributes."""
    own = [f"{path}@{local_name(attribute)}" for attribute in element.attrib]
    if (element.text or "").strip() or not (own or len(element)):
        own.insert(0, path)
    return own

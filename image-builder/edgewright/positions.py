"""Where in the inventory's files a value was written, as Ansible's loader recorded it.

ansible-core tags every key, string, number, mapping and list it loads with an ``Origin`` (absolute path, line, column;
``ansible._internal._datatag._tags``), and templating keeps the tag of a value that is passed on unchanged. Booleans and
nulls cannot carry a tag: their place is that of their key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KeyPath = tuple[str | int, ...]

_KEY_PART = re.compile(r"\[(\d+)\]|\[['\"]([^'\"]+)['\"]\]|([^.\[\]]+)")


@dataclass(frozen=True, order=True)
class Position:
    """A place in a file; line and column start at 1, 0 stands for unknown."""

    path: Path
    line: int = 0
    column: int = 0

    def relative_to(self, folder: Path) -> str:
        """Write it as ``group_vars/all.yml:14``, relative to the folder if it lies below."""
        path = self.path
        if path.is_relative_to(folder):
            path = path.relative_to(folder)
        return f"{path}:{self.line}" if self.line else str(path)


def parse_key_path(text: str) -> KeyPath:
    """Turn ``edge_virtual_machines[2].disks[0].bus`` into its parts; the inverse of ``format_key_path``."""
    return tuple(
        int(match[1]) if match[1] is not None else match[2] if match[2] is not None else match[3]
        for match in _KEY_PART.finditer(text)
    )


def format_key_path(path: KeyPath) -> str:
    """Write key parts as ``edge_virtual_machines[2].disks[0].bus``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[^.\[\]]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


def origin_of(value: Any) -> Position | None:
    """Return the place that Ansible recorded for a loaded key or value, if it did."""
    from ansible._internal._datatag._tags import Origin  # ansible is heavy: only what reads inventories pays for it

    origin = Origin.get_tag(value)
    if origin is None or not origin.path:
        return None
    return Position(Path(origin.path), origin.line_num or 0, origin.col_num or 0)


class PositionIndex:
    """Positions of one host's variables, by key path."""

    def __init__(self) -> None:
        self._by_path: dict[KeyPath, Position] = {}
        self._key_of_value: dict[Position, Position] = {}

    def learn_keys(self, raw: Mapping[str, Any]) -> None:
        """Remember for each value, as loaded, the place of its key: where a reader looks for ``key: value``."""
        for _, key, value in _walk((), raw):
            written, keyed = origin_of(value), origin_of(key)
            if written and keyed and written.path == keyed.path:
                self._key_of_value.setdefault(written, keyed)

    def record(self, path: KeyPath, value: Any, key: Any = None) -> None:
        """Remember where the (templated) value at ``path`` came from; ``key`` is the mapping key it stands under."""
        written = origin_of(value)
        place = self._key_of_value.get(written, written) if written else origin_of(key)
        if place:
            self._by_path[path] = place

    def find(self, path: KeyPath) -> Position | None:
        """Return the place of the value at ``path``, or of the nearest thing around it."""
        while path:
            if place := self._by_path.get(path):
                return place
            path = path[:-1]
        return None


def _walk(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield (*path, str(key)), key, item
            yield from _walk((*path, str(key)), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk((*path, index), item)

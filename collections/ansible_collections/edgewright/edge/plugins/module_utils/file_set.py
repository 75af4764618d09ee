"""A set of configuration files as plain data, and the difference between what is wanted and what is there."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Entry:
    """One path of a file system, as it is or as it should be.

    Attributes:
        path: absolute.
        kind: ``file``, ``directory``, ``link`` or ``absent``.
        content: bytes of a file, target of a link, else empty.
        mode: permission bits of a file or directory.
        owner: user name of a file or directory.
        group: group name of a file or directory.
        keep: a directory that is there already may have any mode, owner and group.
    """

    path: str
    kind: str
    content: bytes = b""
    mode: int = 0
    owner: str = "root"
    group: str = "root"
    keep: bool = False

    def describe(self, *, private: bool = False) -> str:
        """Return what a diff shows of it: one head line, then the content of a file.

        Of programs and archives only the size is told, and of a file only that it is there if ``private``.
        """
        if self.kind == "link":
            return f"link to {self.content.decode()}\n"
        if self.kind == "absent":
            return ""
        head = f"{self.kind} {stat.filemode(self.mode)[1:]} {self.owner}:{self.group}\n"
        if self.kind != "file":
            return head
        if private:
            return f"{head}content that is not shown\n"
        if b"\0" in self.content:
            return f"{head}{len(self.content)} bytes that are no text\n"
        return head + self.content.decode(errors="backslashreplace")

    @property
    def is_private(self) -> bool:
        """Whether nobody but its owner may read the file."""
        return self.kind == "file" and not self.mode & (stat.S_IRGRP | stat.S_IROTH)


Look = Callable[[str], Entry]


def changes(wanted: Iterable[Entry], look: Look) -> list[tuple[Entry, Entry]]:
    """Return what must change, as (is, should be), in the order of ``wanted``: folders first, removals last.

    Args:
        wanted: what should be; a path may come once only.
        look: tells what is at a path.
    """
    order = {"directory": 0, "file": 1, "link": 2, "absent": 3}
    found = []
    for entry in sorted(wanted, key=lambda entry: (order[entry.kind], entry.path if entry.kind == "directory" else "")):
        now = look(entry.path)
        if now != replace(entry, keep=False) and not (entry.keep and now.kind == entry.kind):
            found.append((now, entry))
    return found


def left_over(names: Iterable[str], pattern: str, keep: Sequence[str]) -> list[str]:
    """Return the names that match a pattern (fnmatch) and are not to be kept, sorted."""
    return sorted(name for name in names if fnmatchcase(name, pattern) and name not in keep)

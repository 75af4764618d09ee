"""Sources that need no network, and the files of the inventory's folder among them."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

_LOCAL = ("file:", "modelpack:")


def needs_no_pin(source: str) -> bool:
    """Tell whether a source is a recipe of this project, which has nothing to pin but its own packages."""
    return source.startswith("build:")


def is_local(source: str) -> bool:
    """Tell whether a source lies in the inventory's folder, where it may change: a lock looks at it each time."""
    return source.startswith(_LOCAL)


def local_file(source: str, where: str, inventory: Path) -> Path:
    """Return the path of a ``file:`` source.

    Raises:
        EdgeError: it leaves the inventory's folder, or there is no such file.
    """
    written = source.removeprefix("file:")
    path = inventory / written
    if not written or Path(written).is_absolute() or ".." in Path(written).parts:
        expected = "a path relative to the inventory's folder, without '..'"
        raise EdgeError(Problem(where, "the file lies outside the inventory's folder", repr(source), expected))
    if not path.is_file():
        raise EdgeError(
            Problem(where, "there is no such file", str(path), remedy="Put it there, or correct the source.")
        )
    return path

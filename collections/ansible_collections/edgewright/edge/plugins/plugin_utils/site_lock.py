"""The lock of a site, ``site.lock.yml``, as plugins read it on the controller."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

if TYPE_CHECKING:
    from pathlib import Path


def read_lock(path: Path) -> object:
    """Return a lock's YAML; it is read once for all tasks of a process, and again when it was written since.

    Raises:
        OSError: there is no such file.
        EdgeError: it cannot be read.
    """
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _read(path: Path, _stamp: int) -> object:
    try:
        with path.open("rb") as stream:
            # The C parser, where PyYAML has it, is ten times as fast: a lock names hundreds of packages.
            return yaml.load(stream, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both are safe)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        problem = Problem(str(path), f"cannot be read ({error})", remedy="Run 'edgewright lock' again.")
        raise EdgeError(problem) from error

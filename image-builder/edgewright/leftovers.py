"""What the cache and output folders hold that can be deleted: each thing with its size, and its safe removal.

Only what has the shape that this program gives its own files counts as removable (a stage's output is
``stages/<name>/<32 hex digits>``, see ``stages.stage``; the store's layout is in ``store``), so that a folder named by
mistake loses nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHEDIR_TAG = "CACHEDIR.TAG"
_STAGE_KEY = re.compile(r"[0-9a-f]{32}")
_EVIDENCE = ("SHA256SUMS", "manifest.json", ".edgewright-build.json")
# Days that a finished stage is kept for after its last use: a site that is built once a month finds its parts again.
KEPT_DAYS = 40
_DAY = 86400


@dataclass(frozen=True)
class Leftover:
    """One thing that can be deleted.

    Attributes:
        kind: ``stage``, ``scratch``, ``store`` or ``output``.
        path: the folder or file.
        lock: the lock file whose holder is using it, if it has one.
    """

    kind: str
    path: Path
    lock: Path | None = None

    def size(self) -> int:
        """Return the bytes it takes on the disk (holes in sparse files take none)."""
        return allocated(self.path)

    def as_dict(self, size: int) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        return {"kind": self.kind, "path": str(self.path), "bytes": size}


def checked_cache(root: Path) -> Path | None:
    """Return the cache folder if it is one, ``None`` if there is none.

    Raises:
        EdgeError: the folder is not one that this program made, or far too general to be a cache.
    """
    folder = root.expanduser().resolve()
    home = Path.home().resolve()
    if folder == Path(folder.anchor) or home == folder or home.is_relative_to(folder):
        raise EdgeError(
            Problem(
                str(root),
                "this cannot be a cache folder, nothing was deleted",
                found=f"{folder}, which holds everything or your home",
                remedy="Give the folder that builds used with --cache or $EDGEWRIGHT_CACHE.",
            )
        )
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not (folder / CACHEDIR_TAG).is_file():
        raise EdgeError(
            Problem(
                str(root),
                "this is no cache folder of edgewright, nothing was deleted",
                found=f"no {CACHEDIR_TAG} in it",
                remedy="Give the folder that builds used with --cache or $EDGEWRIGHT_CACHE.",
            )
        )
    return folder


def stages(cache: Path) -> Iterator[Leftover]:
    """Find outputs of stages, and scratch folders of runs that were killed."""
    for path in sorted((cache / "stages").glob("*/*")):
        if path.is_dir() and not path.is_symlink() and _STAGE_KEY.fullmatch(path.name):
            yield Leftover("stage", path, path.with_suffix(".lock"))
    for path in sorted((cache / "tmp").glob("*")):
        if path.is_dir() and not path.is_symlink():
            yield Leftover("scratch", path, path)


def unused_stages(cache: Path, days: float) -> Iterator[Leftover]:
    """Find outputs of stages that no build has used for so many days, by the date of their lock files."""
    oldest = time.time() - days * _DAY
    for leftover in stages(cache):
        if leftover.kind == "stage" and leftover.lock and _last_use(leftover.lock, leftover.path) < oldest:
            yield leftover


def _last_use(lock: Path, output: Path) -> float:
    try:
        return lock.stat().st_mtime
    except FileNotFoundError:
        return output.lstat().st_mtime


def store(cache: Path) -> Iterator[Leftover]:
    """Find the downloads, the unfinished ones too, and apt's state, which comes from the network as well."""
    if (cache / "apt").is_dir():
        yield Leftover("store", cache / "apt")
    folder = cache / "store"
    lock = folder / "partial" / "lock"
    for path in (folder / "sha256", folder / "control"):
        if path.is_dir() and not path.is_symlink():
            yield Leftover("store", path, lock)
    for path in sorted((folder / "partial").glob("*")):
        if path.is_file() and path != lock:
            yield Leftover("store", path, lock)


def outputs(folder: Path, site: str) -> Iterator[Leftover]:
    """Find what ``build`` and ``seed`` write for a site: the image and its evidence, nothing else that lies beside."""
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            ours = path.name in _EVIDENCE or path.name in {f"{site}.raw", f"{site}.raw.bmap", f"{site}.spdx.json"}
            if ours and path.is_file() and not path.is_symlink():
                yield Leftover("output", path)
    seed = folder.absolute().parent / f"{site}.seed.tar"
    if seed.is_file() and not seed.is_symlink():
        yield Leftover("output", seed)


def remove(leftover: Leftover, scratch: Path) -> bool:
    """Delete it; return ``False``, and delete nothing, while a running build uses it.

    A folder is first moved to ``scratch`` (same file system): an interrupted deletion leaves no half folder under
    a name that a later build would trust.

    Raises:
        ToolError: its files belong to other ids and the program that deletes those failed.
    """
    with _unused(leftover.lock) as unused:
        if not unused:
            return False
        if leftover.path.is_file():
            leftover.path.unlink()
            return True
        scratch.mkdir(exist_ok=True)
        grave = Path(tempfile.mkdtemp(prefix="clean-", dir=scratch))
        leftover.path.rename(grave / leftover.path.name)
        try:
            shutil.rmtree(grave)
        except PermissionError:
            from edgewright.stages.stage import remove_tree

            remove_tree(grave)  # an unpacked tree: its files belong to other ids
        return True


@contextlib.contextmanager
def _unused(lock: Path | None) -> Iterator[bool]:
    """Hold the lock of a thing for as long as the block lasts; say whether it could be had at once."""
    if lock is None or not lock.exists():
        yield True
        return
    descriptor = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def allocated(path: Path) -> int:
    """Return the bytes a file, or a folder and all below it, takes on the disk; hard links count once."""
    seen: set[tuple[int, int]] = set()

    def used(entry: Path) -> int:
        try:
            status = entry.lstat()
        except OSError:
            return 0
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            return 0
        seen.add(identity)
        return status.st_blocks * 512

    total = used(path)
    if path.is_dir() and not path.is_symlink():
        for parent, folders, files in os.walk(path):
            total += sum(used(Path(parent) / name) for name in (*folders, *files))
    return total

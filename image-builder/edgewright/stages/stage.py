"""What a build stage is, and how its output is kept.

Layout: ``<cache>/stages/<name>/<key>/``. The key is the SHA-256 of everything the output depends on, so a folder of
that name *is* the output: there is no index that could disagree with it. A stage writes to ``<cache>/tmp/…`` and the
finished folder is renamed into place, so a half-made output never has a name that anybody looks up; what a killed run
leaves in ``tmp`` is removed by the next one. Two runs that need the same output wait for each other on a lock file
(``<cache>/stages/<name>/<key>.lock``, flock(2), released by the kernel when its holder dies).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.tools.process import ToolError
from edgewright.tools.sandbox import as_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgewright.paths import Cache

# Raised when a stage's own code changes what it writes for the same inputs.
FORMAT = 4


@dataclass(frozen=True)
class Context:
    """What every stage gets to run with.

    Attributes:
        cache: where outputs and scratch folders lie.
        epoch: seconds since 1970, for everything that wants a date.
        log: the file for what programs say.
    """

    cache: Cache
    epoch: int
    log: Path


class Stage:
    """One build stage.

    A subclass has a ``name``, says in ``inputs`` what its output depends on (plain data; other stages by their key),
    which stages it ``needs``, and writes its output into an empty folder in ``run``.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    @property
    def label(self) -> str:
        """The stage's name, with what it is for where there are several."""
        return self.name

    def needs(self) -> Sequence[Stage]:
        """Return the stages whose outputs this one reads."""
        return ()

    def inputs(self) -> Mapping[str, Any]:
        """Return what the output depends on besides ``needs``: JSON-able data only."""
        raise NotImplementedError

    def run(self, context: Context, out: Path) -> None:
        """Write the output into the empty folder ``out``."""
        raise NotImplementedError

    def key(self) -> str:
        """Return the SHA-256 (hex) of all inputs: the stage's name, its own data and the keys of what it needs."""
        if "_key" not in self.__dict__:
            data = {
                "format": FORMAT,
                "stage": self.name,
                "inputs": self.inputs(),
                "needs": [stage.key() for stage in self.needs()],
            }
            text = json.dumps(data, sort_keys=True, separators=(",", ":"))
            self.__dict__["_key"] = hashlib.sha256(text.encode()).hexdigest()
        key: str = self.__dict__["_key"]
        return key

    def output(self, cache: Cache) -> Path:
        """Return the folder that holds, or will hold, the output."""
        return cache.stages / self.name / self.key()[:32]

    def is_built(self, cache: Cache) -> bool:
        """Say whether the output is there; only finished outputs ever are."""
        return self.output(cache).is_dir()

    def note_use(self, cache: Cache) -> None:
        """Date the output's lock file: stages that nobody has used for long are collected (see ``leftovers``)."""
        with contextlib.suppress(OSError):  # a cache that may only be read is good to build from all the same
            self.output(cache).with_suffix(".lock").touch()

    def build(self, context: Context, *, rebuild: bool = False) -> bool:
        """Make the output unless it is there already; return whether it was made.

        Raises:
            ToolError: a program of the stage failed; nothing is left behind.
            EdgeError: an input is not usable.
        """
        final = self.output(context.cache)
        final.parent.mkdir(parents=True, exist_ok=True)
        with _locked(final.with_suffix(".lock")):
            if final.is_dir() and not rebuild:
                return False
            with scratch_folder(context.cache, self.name) as scratch:
                out = scratch / "out"
                out.mkdir(mode=0o755)
                self.run(context, out)
                if final.is_dir():
                    # Half a deleted folder must not keep a name that is looked up.
                    final.rename(scratch / "distrusted")
                out.rename(final)
        return True


@contextlib.contextmanager
def scratch_folder(cache: Cache, name: str) -> Iterator[Path]:
    """Make a folder for its owner alone, which goes with the block; after a kill it goes with the next run."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache.tmp))
    holder = _hold(scratch)
    try:
        yield scratch
    finally:
        remove_tree(scratch)
        os.close(holder)


_locks_of_this_process: dict[Path, threading.Lock] = {}
_locks_guard = threading.Lock()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with _locks_guard:
        mine = _locks_of_this_process.setdefault(path, threading.Lock())
    with mine, path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _hold(folder: Path) -> int:
    """Keep a lock on a scratch folder for as long as this process lives."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def remove_tree(folder: Path) -> None:
    """Delete a folder whose files may belong to the ids of a tree."""
    if folder.exists():
        as_root(["rm", "-rf", "--one-file-system", folder], cleaning=True)


def remove_leftovers(cache: Cache) -> int:
    """Delete scratch folders whose run was killed; return how many. Those of running builds are locked, and stay."""
    removed = 0
    for folder in cache.tmp.iterdir():
        if not folder.is_dir():
            continue
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            # What a killed builder's programs still write to can be removed the next time.
            with contextlib.suppress(ToolError):
                remove_tree(folder)
                removed += 1
        finally:
            os.close(descriptor)
    return removed


def digest_of_files(folder: Path, *, patterns: Sequence[str] = ("**/*",), exclude: Sequence[str] = ()) -> str:
    """Return one SHA-256 (hex) over the names, modes and bytes of the files below ``folder``.

    Args:
        folder: where to look; what does not exist counts as empty.
        patterns: globs relative to it.
        exclude: globs (``PurePath.match``) of files to pass over, byte-compiled Python always.
    """
    total = hashlib.sha256()
    skip = ("*.pyc", *exclude)
    files = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    for path in sorted(files):
        relative = path.relative_to(folder)
        if any(relative.match(pattern) for pattern in skip):
            continue
        mode = "x" if path.stat().st_mode & 0o100 else "-"
        total.update(f"{relative}\0{mode}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


@dataclass
class Built:
    """What a run of the engine did: the labels of the stages it made and of those it found made."""

    made: list[str] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)

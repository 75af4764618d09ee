"""Which QEMU boots a site's image: the one in its lock, so that it is the same everywhere, else this machine's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.lockfile import Lock
from edgewright.pipeline import epoch_of, usual_modes
from edgewright.stages.emulator_tree import TREE, EmulatorTree
from edgewright.stages.stage import Context
from edgewright.store import Store
from edgewright.tools import emulator
from edgewright.tools.process import ToolError

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.paths import Cache
    from edgewright.reporter import Reporter
    from edgewright.tools.emulator import Emulator


def emulator_of(lock_path: Path | None, cache: Cache, reporter: Reporter) -> Emulator:
    """Return the QEMU of a site's lock, unpacked at its first use; this machine's own where that cannot be had.

    Args:
        lock_path: the lock; ``None``, or a file that is not there, for an image without its inventory.
        cache: where its packages are, and where it is unpacked.
        reporter: is told which one it is, and why.

    Raises:
        EdgeError: the lock is not one; or there is no other QEMU either.
    """
    lock = Lock.load(lock_path) if lock_path and lock_path.is_file() else Lock()
    if TREE not in lock.trees:
        return _own(reporter, "no lock names another one")
    store = Store(cache.store)
    tree = EmulatorTree(lock, store)
    if not tree.is_built(cache) and not all(store.has(package.digest) for package in lock.tree(TREE)):
        return _own(reporter, "that of the lock has not been fetched")
    try:
        if not tree.is_built(cache):
            with reporter.step(tree.title), usual_modes():
                tree.build(Context(cache, epoch_of(lock), reporter.run_log))
        program = tree.program(cache)
        reporter.detail(f"{program.version()} of the lock")
    except ToolError as error:
        # No user namespaces, or a cache from where nothing may be run.
        reporter.warning(f"The QEMU of the lock does not run here: {str(error).splitlines()[0]}")
        reporter.detail(str(error))
        return _own(reporter, "that of the lock does not run")
    tree.note_use(cache)
    return program


def _own(reporter: Reporter, why: str) -> Emulator:
    program = emulator.installed()
    reporter.detail(f"{program.version()} of this machine: {why}")
    return program

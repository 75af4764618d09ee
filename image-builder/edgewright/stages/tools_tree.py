"""The tools tree: a pinned Debian 13 that holds every program the later stages run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.stages.stage import Context, Stage
from edgewright.tools.mmdebstrap import make_tree
from edgewright.tools.sandbox import Mount, Sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.lockfile import Lock
    from edgewright.store import Store


def packages_of(lock: Lock, tree: str) -> list[list[str]]:
    """Return what a tree is made of, for a stage's key: name and digest of each package, and what was asked for."""
    return [[package.name, package.digest] for package in lock.tree(tree)] + [list(lock.trees[tree].requested)]


@dataclass
class ToolsTree(Stage):
    """``<out>/tree``: the programs of the builder."""

    lock: Lock
    store: Store

    name: ClassVar[str] = "tools-tree"
    title: ClassVar[str] = "Tools tree (mmdebstrap)"

    def inputs(self) -> Mapping[str, Any]:
        """The locked packages, and the date that the sandbox gives to all that is made in it."""
        return {"packages": packages_of(self.lock, "tools"), "date": self.lock.date}

    def run(self, context: Context, out: Path) -> None:
        """Unpack and configure them."""
        make_tree(
            self.lock,
            "tools",
            self.store,
            out / "tree",
            epoch=context.epoch,
            scratch=out.parent,
            log=context.log,
        )

    def sandbox(self, context: Context, *mounts: Mount) -> Sandbox:
        """Return a sandbox in which the programs can be run."""
        return Sandbox(self.output(context.cache) / "tree", context.epoch, mounts)

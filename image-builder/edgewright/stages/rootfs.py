"""The node's root as packages: what every node of the site has, before any role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.paths import node_dir
from edgewright.stages.stage import Context, Stage, digest_of_files
from edgewright.stages.tools_tree import packages_of
from edgewright.tools.mmdebstrap import make_tree
from edgewright.tools.sandbox import Sandbox, bind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.lockfile import Lock
    from edgewright.store import Store


@dataclass
class Rootfs(Stage):
    """``<out>/tree``: Debian packages and this project's own files for an image-built node (``node/root``)."""

    lock: Lock
    store: Store

    name: ClassVar[str] = "rootfs"
    title: ClassVar[str] = "Node root (mmdebstrap)"

    def inputs(self) -> Mapping[str, Any]:
        """The locked packages, the files of ``node/root``, and the date of all files in it."""
        return {
            "date": self.lock.date,
            "packages": packages_of(self.lock, "node"),
            "files": digest_of_files(node_dir() / "root"),
            "script": digest_of_files(node_dir(), patterns=("rootfs.sh",)),
        }

    def run(self, context: Context, out: Path) -> None:
        """Unpack and configure the packages, then lay out the read-only root."""
        tree = out / "tree"
        make_tree(self.lock, "node", self.store, tree, epoch=context.epoch, scratch=out.parent, log=context.log)
        sandbox = Sandbox(tree, context.epoch, (bind(node_dir(), "/run/node"),))
        sandbox.run(["sh", "/run/node/rootfs.sh"], log=context.log)

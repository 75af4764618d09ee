"""The read-only root: one erofs with the installed tree, all node layers, the container store; its dm-verity hashes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.edgewright.edge.plugins.module_utils.node_index import index_text

from edgewright.stages.stage import Context, Stage
from edgewright.tools.sandbox import as_root, bind, empty

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.site import Site
    from edgewright.stages.image_registry import ImageRegistry
    from edgewright.stages.image_store import ImageStore
    from edgewright.stages.install import Install
    from edgewright.stages.node_layers import NodeLayer
    from edgewright.stages.tools_tree import ToolsTree

# Folders of the root that something else is mounted on, or that the UKI holds (the kernel).
_COVERED = ("/var", "/boot", "/dev", "/proc", "/sys", "/run", "/tmp", "/mnt", "/media")  # noqa: S108 - paths in the image


def stable_uuid(key: str, what: str) -> str:
    """Return a UUID that follows from a stage's key: random in looks, the same at every build."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"edgewright:{what}:{key}"))


@dataclass
class RootImage(Stage):
    """``<out>/{root.erofs,root.verity,roothash}``; the root hash is hexadecimal SHA-256."""

    site: Site
    install: Install
    layers: tuple[NodeLayer, ...]
    store: ImageStore | ImageRegistry
    tools: ToolsTree
    version: str

    name: ClassVar[str] = "root-image"
    title: ClassVar[str] = "Verified root (erofs, dm-verity)"

    def needs(self) -> tuple[Stage, ...]:
        """Everything that goes into the root, and the tools."""
        return (self.install, *self.layers, self.store, self.tools)

    def inputs(self) -> Mapping[str, Any]:
        """The image's name and version, and who is who."""
        return {"site": self.site.name, "version": self.version, "index": self._index()}

    def _index(self) -> str:
        return index_text({host.name: host.variables for host in self.site.hosts})

    def run(self, context: Context, out: Path) -> None:
        """Lay the parts over the installed root, and make the file system from that view: nothing is copied twice."""
        scratch = out.parent
        nodes = scratch / "nodes"
        nodes.mkdir(mode=0o755)
        for layer in self.layers:
            as_root(["cp", "-a", layer.output(context.cache) / "layer", nodes / layer.host.name], log=context.log)
        (nodes / "index").write_text(self._index(), encoding="utf-8")
        tree = self.install.output(context.cache) / "tree"
        release = scratch / "os-release"
        release.write_text(self._os_release(tree), encoding="utf-8")
        stamp = f"touch -h -d @{context.epoch}"
        as_root(["sh", "-c", f'{stamp} "$@"', "stamp", nodes / "index", nodes, release], log=context.log)
        root = "/run/root"
        sandbox = self.tools.sandbox(
            context,
            bind(tree, root),
            *(empty(root + folder) for folder in _COVERED),
            bind(nodes, f"{root}/usr/lib/edgewright/nodes"),
            bind(self.store.output(context.cache) / self.store.folder, root + self.store.target),
            bind(release, f"{root}/usr/lib/os-release"),
            bind(out, "/run/out"),
        )
        # An empty cover has today's date; --mkfs-time keeps the dates of all others: byte-compiled Python needs them.
        covered = " ".join(f"{root}{folder}" for folder in _COVERED)
        sandbox.run(["sh", "-c", f'touch -d @{context.epoch} {covered} && exec "$@"', "mkfs", *self._mkfs(context)])
        sandbox.run(
            [
                "veritysetup",
                "format",
                f"--salt={self.key()}",
                f"--uuid={stable_uuid(self.key(), 'verity')}",
                "--root-hash-file=/run/out/roothash",
                "/run/out/root.erofs",
                "/run/out/root.verity",
            ],
            log=context.log,
        )

    def _mkfs(self, context: Context) -> list[str]:
        """Return the command that makes the file system.

        lz4 without its slow mode: six times as fast to make as lz4hc for a sixth more space, and as fast to read.
        """
        options = ["--quiet", "-zlz4", f"-T{context.epoch}", "--mkfs-time", f"-U{stable_uuid(self.key(), 'erofs')}"]
        return ["mkfs.erofs", *options, "/run/out/root.erofs", "/run/root"]

    def _os_release(self, tree: Path) -> str:
        """Add the image's name and version to Debian's os-release (os-release(5), IMAGE_ID and IMAGE_VERSION)."""
        text = (tree / "usr/lib/os-release").read_text(encoding="utf-8")
        return f"{text}IMAGE_ID=edgewright-{self.site.name}\nIMAGE_VERSION={self.version}\n"

"""The read-only container store of the node: every image of the site, unpacked, used in place and never imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.paths import node_dir
from edgewright.stages.stage import Context, Stage, digest_of_files
from edgewright.tools.sandbox import as_root, bind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.stages.containers import ContainerImage
    from edgewright.stages.tools_tree import ToolsTree


@dataclass
class ImageStore(Stage):
    """``<out>/storage``: an additional image store for podman (containers-storage.conf(5))."""

    images: tuple[ContainerImage, ...]
    tools: ToolsTree

    name: ClassVar[str] = "image-store"
    title: ClassVar[str] = "Container store (skopeo)"
    # The output's folder, and where it is in the root.
    folder: ClassVar[str] = "storage"
    target: ClassVar[str] = "/usr/lib/edgewright/containers/storage"

    def needs(self) -> tuple[Stage, ...]:
        """The images, and the tools tree for its skopeo."""
        return (*self.images, self.tools)

    def inputs(self) -> Mapping[str, Any]:
        """The script that makes the store the same at every build."""
        return {"script": digest_of_files(node_dir(), patterns=("image-store.py",))}

    def run(self, context: Context, out: Path) -> None:
        """Unpack each image with skopeo, then take out what is random or a date."""
        storage = out / "storage"
        storage.mkdir(mode=0o755)
        for image in self.images:
            layout = image.output(context.cache) / "oci"
            sandbox = self.tools.sandbox(context, bind(layout, "/run/oci"), bind(storage, "/run/storage"))
            # containers-transports(5): [driver@graphroot+runroot]; the run root is scratch.
            target = f"containers-storage:[overlay@/run/storage+/run/scratch]{image.reference}"
            sandbox.run(
                ["skopeo", "--insecure-policy", "copy", f"oci:/run/oci:{image.reference}", target], log=context.log
            )
        sandbox = self.tools.sandbox(context, bind(storage, "/run/storage"), bind(node_dir(), "/run/node"))
        sandbox.run(["python3", "/run/node/image-store.py", "/run/storage"], log=context.log)
        as_root(["chmod", "0755", storage], log=context.log)

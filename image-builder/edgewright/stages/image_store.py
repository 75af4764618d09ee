"""The read-only container store of the node: every image of the site, unpacked, used in place and never imported."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.paths import node_dir
from edgewright.stages.stage import Context, Stage, digest_of_files
from edgewright.tools.sandbox import as_root, bind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.lockfile import Lock
    from edgewright.pins import Image
    from edgewright.stages.containers import ContainerImage
    from edgewright.stages.tools_tree import ToolsTree
    from edgewright.store import Store

_VERSION = "Directory Transport Version: 1.1\n"


@dataclass
class ImageStore(Stage):
    """``<out>/storage``: an additional image store for podman (containers-storage.conf(5)).

    ``left_out`` are pinned images that only a disk comes from.
    """

    lock: Lock
    store: Store
    images: tuple[ContainerImage, ...]
    tools: ToolsTree
    left_out: frozenset[str] = frozenset()

    name: ClassVar[str] = "image-store"
    title: ClassVar[str] = "Container store (skopeo)"
    # The output's folder, and where it is in the root.
    folder: ClassVar[str] = "storage"
    target: ClassVar[str] = "/usr/lib/edgewright/containers/storage"

    def needs(self) -> tuple[Stage, ...]:
        """The images, and the tools tree for its skopeo."""
        return (*self.images, self.tools)

    def inputs(self) -> Mapping[str, Any]:
        """The pinned images, and the script that makes the store the same at every build."""
        return {
            "images": {name: list(image.digests) for name, image in self._pinned()},
            "script": digest_of_files(node_dir(), patterns=("image-store.py",)),
        }

    def run(self, context: Context, out: Path) -> None:
        """Unpack each image with skopeo, then take out what is random or a date."""
        storage = out / "storage"
        storage.mkdir(mode=0o755)
        for image in self.images:
            layout = image.output(context.cache) / "oci"
            self._unpack(context, layout, f"oci:/run/image:{image.reference}", image.reference, storage)
        for reference, pinned in self._pinned():
            folder = out.parent / "image"
            _write_folder(pinned, self.store, folder)
            self._unpack(context, folder, "dir:/run/image", reference, storage)
            shutil.rmtree(folder)
        sandbox = self.tools.sandbox(context, bind(storage, "/run/storage"), bind(node_dir(), "/run/node"))
        sandbox.run(["python3", "/run/node/image-store.py", "/run/storage"], log=context.log)
        as_root(["chmod", "0755", storage], log=context.log)

    def _pinned(self) -> list[tuple[str, Image]]:
        return [(name, image) for name, image in sorted(self.lock.images.items()) if name not in self.left_out]

    def _unpack(self, context: Context, image: Path, source: str, reference: str, storage: Path) -> None:
        sandbox = self.tools.sandbox(context, bind(image, "/run/image"), bind(storage, "/run/storage"))
        # containers-transports(5): [driver@graphroot+runroot]; the run root is scratch.
        target = f"containers-storage:[overlay@/run/storage+/run/scratch]{reference}"
        sandbox.run(["skopeo", "--insecure-policy", "copy", source, target], log=context.log)


def _write_folder(image: Image, store: Store, folder: Path) -> None:
    """Write an image of any media types as skopeo's ``dir:`` has it: its manifest, and blobs by their digests.

    What an OCI layout has to have of OCI's media types only, this folder may have of Docker's too.
    """
    folder.mkdir()
    (folder / "version").write_text(_VERSION, encoding="ascii")
    (folder / "manifest.json").hardlink_to(store.path(image.manifest))
    for blob in image.blobs:
        (folder / blob.digest.removeprefix("sha256:")).hardlink_to(store.path(blob.digest))

"""The read-only registry of a k3s node: every container image of the site, to be pulled again at any time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.registry_layout import ServedImage, write_registry
from edgewright.stages.stage import Context, Stage
from edgewright.tools.sandbox import as_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edgewright.lockfile import Lock
    from edgewright.pins import Image
    from edgewright.stages.containers import ContainerImage
    from edgewright.store import Store


@dataclass
class ImageRegistry(Stage):
    """``<out>/registry``: what docker-registry serves on the node's loopback interface (see ``registry_layout``).

    ``left_out`` are pinned images that only a disk comes from, which is on the state partition already.
    """

    lock: Lock
    store: Store
    images: tuple[ContainerImage, ...]
    left_out: frozenset[str] = frozenset()

    name: ClassVar[str] = "image-registry"
    title: ClassVar[str] = "Container registry"
    # The output's folder, and where it is in the root.
    folder: ClassVar[str] = "registry"
    target: ClassVar[str] = "/usr/lib/edgewright/registry"

    def needs(self) -> tuple[Stage, ...]:
        """The images that this project makes itself."""
        return self.images

    def inputs(self) -> Mapping[str, Any]:
        """The pinned images (a digest stands for all that it names), and the date of all files in it."""
        images = {reference: list(image.digests) for reference, image in self._served()}
        return {"images": images, "date": self.lock.date}

    def run(self, context: Context, out: Path) -> None:
        """Lay out pinned and own images."""
        registry = out / "registry"
        registry.mkdir(mode=0o755)
        write_registry(registry, [*self._pinned(), *self._own(context)])
        stamp = f'find "$1" -exec touch -h -d @{context.epoch} {{}} +'
        as_root(["sh", "-c", stamp, "stamp", registry], log=context.log)

    def _served(self) -> list[tuple[str, Image]]:
        return [(name, image) for name, image in sorted(self.lock.images.items()) if name not in self.left_out]

    def _pinned(self) -> Iterator[ServedImage]:
        for reference, image in self._served():
            repository, _, tag = reference.partition("@")[0].rpartition(":")
            manifests = [*([image.index] if image.index else []), image.manifest]
            yield ServedImage(
                repository,
                tag,
                {digest: self.store.path(digest) for digest in manifests},
                {blob.digest: self.store.path(blob.digest) for blob in image.blobs},
            )

    def _own(self, context: Context) -> Iterator[ServedImage]:
        for image in self.images:
            layout = image.output(context.cache) / "oci"
            index = json.loads((layout / "index.json").read_bytes())
            digest = index["manifests"][0]["digest"]
            manifest = json.loads(_blob(layout, digest).read_bytes())
            blobs = [entry["digest"] for entry in (manifest["config"], *manifest["layers"])]
            repository, _, tag = image.reference.rpartition(":")
            yield ServedImage(
                repository, tag, {digest: _blob(layout, digest)}, {blob: _blob(layout, blob) for blob in blobs}
            )


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")

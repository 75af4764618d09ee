"""Disks out of container images: what KubeVirt calls container disks, made files of a node."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.edgewright.edge.plugins.module_utils.disk_image import HEAD, image_format, image_info

from edgewright.container_disk import extract_disk
from edgewright.image_manifest import read_manifest
from edgewright.stages.stage import Context, Stage
from edgewright.tools.sandbox import bind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.pins import Image
    from edgewright.stages.tools_tree import ToolsTree
    from edgewright.store import Store


@dataclass
class ContainerDisk(Stage):
    """``<out>/disk``: the raw disk in a pinned image, whatever format it has there."""

    image: Image
    store: Store
    tools: ToolsTree

    name: ClassVar[str] = "container-disk"
    title: ClassVar[str] = "Container disk"

    @property
    def label(self) -> str:
        """Disks are told apart by their image."""
        return f"{self.name} {self.image.reference}"

    def needs(self) -> tuple[Stage, ...]:
        """The tools tree, which has qemu-img."""
        return (self.tools,)

    def inputs(self) -> Mapping[str, Any]:
        """The manifest's digest stands for all that it names."""
        return {"manifest": self.image.manifest}

    def run(self, context: Context, out: Path) -> None:
        """Take the disk out of its layer and make it raw.

        Raises:
            EdgeError: there is no disk in the image, or one that is a part of another.
        """
        manifest = read_manifest(self.store.path(self.image.manifest).read_bytes(), self.image.reference)
        work = out.parent / "work"
        work.mkdir()
        unpacked = work / "disk"
        extract_disk([self.store.path(layer.digest) for layer in manifest.layers], self.image.reference, unpacked)
        with unpacked.open("rb") as file:
            form = image_format(file.read(HEAD))
        if form == "raw":
            unpacked.rename(out / "disk")
            return
        sandbox = self.tools.sandbox(context, bind(work, "/run/work"), bind(out, "/run/out"))
        told = sandbox.run(["qemu-img", "info", "--output=json", "-f", form, "/run/work/disk"], log=context.log)
        image_info(json.loads(told), where=f"image {self.image.reference}")
        command = ["qemu-img", "convert", "-f", form, "-O", "raw", "/run/work/disk", "/run/out/disk"]
        sandbox.run(command, log=context.log)

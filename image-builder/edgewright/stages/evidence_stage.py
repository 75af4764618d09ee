"""The last stage: the image under its name, and beside it what lets others check it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.stages import evidence
from edgewright.stages.stage import Context, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.stages.containers import ContainerImage
    from edgewright.stages.disk import Disk
    from edgewright.stages.guests import GuestDisk


@dataclass
class Evidence(Stage):
    """``<out>/<site>.raw`` with its checksums, block map, bill of materials and manifest."""

    disk: Disk
    images: tuple[ContainerImage, ...]
    guests: tuple[GuestDisk, ...]

    name: ClassVar[str] = "evidence"
    title: ClassVar[str] = "Evidence (checksums, block map, SBOM, manifest)"

    def needs(self) -> tuple[Stage, ...]:
        """The disk, and what the bill of materials names."""
        return (self.disk, *self.images, *self.guests)

    def inputs(self) -> Mapping[str, Any]:
        """The lock's text, which the manifest has a digest of; the disk's key says all the rest."""
        return {"lock": hashlib.sha256(self.disk.lock.to_text().encode()).hexdigest()}

    def run(self, context: Context, out: Path) -> None:
        """Give the image its name (a link: it is not copied here) and write what lies beside it."""
        root = self.disk.root
        image = out / f"{root.site.name}.raw"
        image.hardlink_to(self.disk.output(context.cache) / "disk.raw")
        lock = self.disk.lock
        facts = evidence.Facts(
            site=root.site.name,
            version=root.version,
            created=context.epoch,
            lock=lock,
            roothash=(root.output(context.cache) / "roothash").read_text(encoding="ascii").strip(),
            stages={stage.label: stage.key() for stage in _all(self.disk)},
            nodes=[{"name": host.name, **host.variables.get("edge_node", {})} for host in root.site.hosts],
            tools={package.name: package.version for package in lock.tree("tools")},
            containers={image.recipe: _image_digest(image, context) for image in self.images},
            guests={guest.recipe: evidence.file_digest(guest.output(context.cache) / "disk") for guest in self.guests},
        )
        evidence.write(image, facts)


def _image_digest(image: ContainerImage, context: Context) -> str:
    """Return the digest of an image's manifest (OCI image-spec, image-layout.md)."""
    index = json.loads((image.output(context.cache) / "oci" / "index.json").read_text(encoding="utf-8"))
    digest: str = index["manifests"][0]["digest"]
    return digest


def _all(stage: Stage) -> list[Stage]:
    """Return a stage and everything below it, each once."""
    found = {stage.label: stage}
    for needed in stage.needs():
        found |= {below.label: below for below in _all(needed)}
    return list(found.values())

"""What the builder makes that a node reached over SSH needs too: guest disks and container archives, in the store.

``<store>/built/<kind>/<name>`` holds the digest of what ``build:<kind>/<name>`` last came to, and
``<store>/built/disks/<digest of a manifest>`` that of the disk in a container image; the bytes are in the store like
any other artifact's. Ansible's lookup ``edgewright.edge.artifact`` finds them there.
"""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_pin import built_disk
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import DOCKER

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.pipeline import Pipeline
    from edgewright.stages.stage import Context


def publish(plan: Pipeline, context: Context) -> dict[str, str]:
    """Put every guest disk and container image of a built site into the store; return source → ``sha256:<hex>``.

    A container image becomes an archive of its OCI layout, which ``podman load`` and ``skopeo`` read
    (containers-transports(5), ``oci-archive``).
    """
    published = {}
    places = {}
    for unpacked in plan.container_disks:
        source = f"{DOCKER}{unpacked.image.reference}"
        with (unpacked.output(context.cache) / "disk").open("rb") as stream:
            published[source] = plan.disk.store.adopt_stream(stream)[0]
        places[source] = built_disk(unpacked.image.manifest)
    for guest in plan.guests:
        with (guest.output(context.cache) / "disk").open("rb") as stream:
            published[f"build:guests/{guest.recipe}"] = plan.disk.store.adopt_stream(stream)[0]
    for image in plan.images:
        archive = context.cache.tmp / f"{image.recipe}.{os.getpid()}.tar"
        try:
            _archive(image.output(context.cache) / "oci", archive, context.epoch)
            with archive.open("rb") as stream:
                published[f"build:containers/{image.recipe}"] = plan.disk.store.adopt_stream(stream)[0]
        finally:
            archive.unlink(missing_ok=True)
    for source, digest in published.items():
        _remember(context.cache.store / "built" / places.get(source, source.removeprefix("build:")), digest)
    return published


def _archive(layout: Path, archive: Path, epoch: int) -> None:
    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = epoch
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(layout.rglob("*")):
            tar.add(path, arcname=str(path.relative_to(layout)), recursive=False, filter=plain)


def _remember(path: Path, digest: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(digest + "\n", encoding="ascii")
    fresh.replace(path)

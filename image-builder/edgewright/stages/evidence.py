"""What lies beside an image, so that others can check it: checksums, block map, bill of materials, build manifest.

Pure functions of the image and of facts about its build; nothing here depends on the clock, the host or the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from edgewright import __version__, blockmap, sbom, significance
from edgewright.tools import esp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgewright.lockfile import Lock

_PIECE = 4 * 1024**2
MANIFEST_FORMAT = 1


@dataclass(frozen=True)
class Facts:
    """What is known of a build and cannot be seen in the image.

    Attributes:
        site: name of the site.
        version: the image's version.
        created: SOURCE_DATE_EPOCH of the build, in seconds.
        lock: what it was made from.
        roothash: dm-verity root hash of root A, hexadecimal.
        stages: stage name → key.
        nodes: every inventory host with what it is recognised by (``name``, and its ``edge_node``).
        tools: program → version, of the tools tree.
        containers: container name → digest of its image, or empty.
        guests: guest name → digest of its disk, or empty.
    """

    site: str
    version: str
    created: int
    lock: Lock
    roothash: str
    stages: Mapping[str, str] = field(default_factory=dict)
    nodes: Sequence[Mapping[str, Any]] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    containers: Mapping[str, str] = field(default_factory=dict)
    guests: Mapping[str, str] = field(default_factory=dict)


def write(image: Path, facts: Facts) -> dict[str, Path]:
    """Write ``<image>.bmap``, ``<site>.spdx.json``, ``manifest.json`` and ``SHA256SUMS`` beside the image.

    Returns the paths by file name. The checksums come last: where they are, everything they name is complete.

    Raises:
        EspError: the image has no partition table.
        ToolError: one of its file systems cannot be read.
    """
    folder = image.parent
    digest = file_digest(image)
    contents = sbom.Contents(
        facts.site, facts.version, image.name, digest, facts.created, facts.lock, facts.containers, facts.guests
    )
    texts = {
        f"{image.name}.bmap": blockmap.make(image, significance.meant(image)).to_xml(),
        f"{facts.site}.spdx.json": sbom.to_json(contents),
        "manifest.json": manifest(facts, image.name, digest, image.stat().st_size, esp.partitions(image)),
    }
    digests = {name: "sha256:" + hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    texts["SHA256SUMS"] = checksums({image.name: digest, **digests})
    for name, text in texts.items():
        fresh = folder / f".{name}.{os.getpid()}"
        try:
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(folder / name)
        finally:
            fresh.unlink(missing_ok=True)
    return {name: folder / name for name in texts}


def manifest(facts: Facts, image: str, digest: str, size: int, partitions: Sequence[esp.Partition]) -> str:
    """Return the build manifest: how this image came to be, and how to tell that it is the one.

    ``size`` and the partitions' ``start`` and ``size`` are in bytes.
    """
    data = {
        "format": MANIFEST_FORMAT,
        "site": facts.site,
        "version": facts.version,
        "source_date_epoch": facts.created,
        "image": {"file": image, "digest": digest, "size": size},
        "roothash": facts.roothash,
        "partitions": [asdict(partition) for partition in partitions],
        "nodes": sorted((dict(node) for node in facts.nodes), key=lambda node: str(node.get("name"))),
        "lock": "sha256:" + hashlib.sha256(facts.lock.to_text().encode()).hexdigest(),
        "stages": dict(sorted(facts.stages.items())),
        "containers": dict(sorted(facts.containers.items())),
        "guests": dict(sorted(facts.guests.items())),
        "builder": {"name": "edgewright", "version": __version__, "tools": dict(sorted(facts.tools.items()))},
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def checksums(digests: Mapping[str, str]) -> str:
    """Return the text of SHA256SUMS, which ``sha256sum --check`` reads; ``digests`` is file name → ``sha256:<hex>``."""
    return "".join(f"{digest.removeprefix('sha256:')}  {name}\n" for name, digest in sorted(digests.items()))


def file_digest(path: Path) -> str:
    """Return ``sha256:<hex>`` of a file; a sparse file's holes are hashed without reading them."""
    digest = hashlib.sha256()
    zeros = bytes(_PIECE)
    size, position = path.stat().st_size, 0
    with path.open("rb", buffering=0) as stream:
        for start, length in [*blockmap.data_extents(stream.fileno(), size), (size, 0)]:
            for gap in range(position, start, _PIECE):
                digest.update(zeros[: min(_PIECE, start - gap)])
            position = start + length
            for offset in range(start, position, _PIECE):
                digest.update(os.pread(stream.fileno(), min(_PIECE, position - offset), offset))
    return f"sha256:{digest.hexdigest()}"

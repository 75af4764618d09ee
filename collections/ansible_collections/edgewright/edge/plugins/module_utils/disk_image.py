"""Disk images as their first and last bytes show them: which format, and which other files they would read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

HEAD: Final = 65536
"""How many first bytes ``image_format`` and ``extents`` look at."""
TAIL: Final = 512
_MOST_SNAPSHOTS: Final = 4096
_MAGIC: Final = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
)
_DESCRIPTOR: Final = re.compile(rb"\s*(#[^\n]*\n\s*)*# Disk Descriptor ?File", re.IGNORECASE)
_EXTENT: Final = re.compile(
    r'^\s*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(?P<kind>[A-Z]+)(?:\s+"(?P<file>[^"]*)")?', re.MULTILINE
)


@dataclass(frozen=True)
class ImageInfo:
    """What ``qemu-img info`` says of an image: format, bytes the guest sees, bytes it takes on disk."""

    format: str
    virtual_size: int
    actual_size: int


def image_format(head: bytes, tail: bytes = b"") -> str:
    """Return QEMU's name of the format: ``qcow2``, ``vmdk``, ``vhdx``, ``vpc`` (VHD), ``vdi``, else ``raw``.

    Args:
        head: the first bytes.
        tail: the last 512 bytes, where a VHD of fixed size has its only mark.
    """
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    if _DESCRIPTOR.match(head[:2048]):
        return "vmdk"
    return "vpc" if tail[:8] == b"conectix" else "raw"


def extents(head: bytes, *, where: str) -> list[str]:
    """Return the files that a VMDK's separate descriptor names; none for every other image.

    Raises:
        EdgeError: one is not a plain name beside the descriptor: an image must not make us read other files.
    """
    if not _DESCRIPTOR.match(head[:2048]):
        return []
    text = head.decode("latin-1")
    found = [match for match in _EXTENT.finditer(text) if match["kind"] != "ZERO"]
    for match in found:
        name = match["file"] or ""
        if (
            not re.fullmatch(r"[^/\\:\x00-\x1f]+", name)
            or name in {".", ".."}
            or match["kind"]
            not in {
                "FLAT",
                "SPARSE",
                "VMFS",
                "VMFSSPARSE",
                "SESPARSE",
            }
        ):
            raise EdgeError(
                Problem(
                    where,
                    "names an extent that is no file beside it",
                    found=repr(name),
                    remedy="Copy all files of the disk into one folder, and name them so.",
                )
            )
    if not found:
        raise EdgeError(Problem(where, "is a VMDK descriptor without extents", remedy="Copy the disk again."))
    return [match["file"] for match in found]


def image_info(info: dict[str, Any], *, where: str) -> ImageInfo:
    """Read what ``qemu-img info --output=json`` prints.

    Raises:
        EdgeError: the image reads other images (a backing file, an external data file), is encrypted, or has so many
            snapshots that QEMU, which reads all of them whenever it opens the image, would be busy for minutes.
    """
    specific = info.get("format-specific", {}).get("data", {})
    for key, found in (
        ("a backing file", info.get("full-backing-filename") or info.get("backing-filename")),
        ("a data file outside", specific.get("data-file")),
    ):
        if found:
            raise EdgeError(
                Problem(
                    where,
                    f"has {key}, and is no whole disk by itself",
                    found=repr(found),
                    remedy="Where both are: merge its snapshots, or flatten it with 'qemu-img convert -O qcow2'.",
                )
            )
    if info.get("encrypted"):
        raise EdgeError(Problem(where, "is encrypted", remedy="Decrypt it where its key is, then import it."))
    if (snapshots := len(info.get("snapshots", []))) > _MOST_SNAPSHOTS:
        raise EdgeError(
            Problem(
                where,
                "has too many snapshots in it",
                found=str(snapshots),
                expected=f"at most {_MOST_SNAPSHOTS}",
                remedy="Delete them ('qemu-img snapshot -d'). If it never had them, it is damaged: copy it again.",
            )
        )
    return ImageInfo(str(info.get("format", "")), int(info["virtual-size"]), int(info.get("actual-size", 0)))

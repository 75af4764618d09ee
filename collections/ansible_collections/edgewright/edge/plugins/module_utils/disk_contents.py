"""What can be seen in a disk without starting it: partitions, EFI system partition, file systems, family of the OS.

UEFI 2.10 (5.2, 5.3 and 13.3) for partition tables and the fallback boot loader; each file system's own superblock.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.fat_directory import FatFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[int, int], bytes]

_SECTOR: Final = 512
_MOST_PARTITIONS: Final = 128
_ESP: Final = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
_WINDOWS_TYPES: Final = frozenset({"e3c9e316-0b5c-4db8-817d-f92df00215ae", "de94bba4-06d1-4d40-a16a-bfd50179d6ac"})
_LINUX_TYPES: Final = frozenset(
    {
        "0fc63daf-8483-4772-8e79-3d69d8477de4",  # Linux file system data
        "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",  # Linux root, x86-64
        "e6d6d379-f507-44c2-a23c-238f2a3df928",  # Linux LVM
        "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f",  # Linux swap
    }
)
_BIOS_BOOT: Final = "21686148-6449-6e6f-744e-656564454649"
_MBR_EXTENDED: Final = frozenset({0x05, 0x0F, 0x85})
_SIGNATURES: Final = (
    (3, b"NTFS    ", "ntfs"),
    (3, b"EXFAT   ", "exfat"),
    (0, b"XFSB", "xfs"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0x218, b"LVM2 001", "lvm2"),
    (0x18, b"LVM2 001", "lvm2"),
    (0x438, b"\x53\xef", "ext"),
    (0x52, b"FAT32   ", "fat"),
    (0x36, b"FAT1", "fat"),
    (0x36, b"FAT     ", "fat"),
    (0x1_0040, b"_BHRfS_M", "btrfs"),
    (0x8001, b"CD001", "iso9660"),
    (0x55C, b"\x19\x54\x01\x19", "ufs"),
    (0x1_055C, b"\x19\x54\x01\x19", "ufs"),
    (0xFF6, b"SWAPSPACE2", "swap"),
)
_LOOK: Final = 0x1_0800
_FAMILIES: Final = {
    "ntfs": "windows",
    "xfs": "linux",
    "luks": "linux",
    "lvm2": "linux",
    "ext": "linux",
    "btrfs": "linux",
    "swap": "linux",
    "ufs": "bsd",
}
_FALLBACKS: Final = frozenset({"BOOTX64.EFI", "BOOTIA32.EFI", "BOOTAA64.EFI"})


@dataclass(frozen=True)
class Partition:
    """A partition: begin and length in bytes, its type (GUID, or two hex digits), and the file system in it."""

    start: int
    size: int
    type: str
    file_system: str


@dataclass(frozen=True)
class DiskContents:
    """What a disk shows.

    Attributes:
        partition_table: ``gpt``, ``mbr``, or ``none``.
        partitions: in the table's order.
        esp: whether there is an EFI system partition.
        fallback_loader: whether that has the loader which firmware starts without any entry of its own.
        bios_bootable: whether there is code in the first sector, which a BIOS starts.
        os_family: ``windows``, ``linux``, ``bsd``, or ``unknown``.
    """

    partition_table: str
    partitions: tuple[Partition, ...]
    esp: bool
    fallback_loader: bool
    bios_bootable: bool
    os_family: str

    @property
    def firmware(self) -> str:
        """``uefi`` where there is an EFI system partition and nothing for a BIOS to start; else ``bios``."""
        return "uefi" if self.esp and (self.fallback_loader or not self.bios_bootable) else "bios"


def disk_contents(read: Read, size: int) -> DiskContents:
    """Look at a disk.

    Args:
        read: gives so many bytes from an offset, both in bytes; fewer, or none, at the end. It is asked for a few
            pieces of some ten KiB.
        size: bytes of the disk.
    """
    first = read(0, _SECTOR)
    signed = first[510:512] == b"\x55\xaa"
    found = _gpt(read, size) if signed or size > 2 * _SECTOR else None
    table = "gpt" if found is not None else "none"
    if found is None:
        found = _mbr(read, first, size) if signed and not _file_system(first) else []
        table = "mbr" if found else "none"
    partitions = tuple(
        Partition(start, length, kind, _file_system(read(start, min(_LOOK, length)))) for start, length, kind in found
    )
    esps = [part for part in partitions if part.type in {_ESP, "ef"}]
    kinds = {part.type for part in partitions}
    bare = _file_system(read(0, min(_LOOK, size))) if table == "none" else ""
    return DiskContents(
        table,
        partitions,
        bool(esps),
        any(_has_fallback(read, part.start) for part in esps),
        # A protective MBR alone has no code; a BIOS boots GPT disks by a partition made for that.
        bool(signed and any(first[:440]) and (table != "gpt" or _BIOS_BOOT in kinds or not esps)),
        _family([*(part.file_system for part in partitions), bare], kinds),
    )


def _gpt(read: Read, size: int) -> list[tuple[int, int, str]] | None:
    header, sector = b"", _SECTOR
    for sector in (512, 4096):
        header = read(sector, _SECTOR)
        if header[:8] == b"EFI PART" and len(header) == _SECTOR:
            break
    else:
        return None
    entries, count, length = struct.unpack_from("<QII", header, 72)
    if not 128 <= length <= 4096 or entries * sector >= size:
        return []
    found = []
    content = read(entries * sector, min(count, _MOST_PARTITIONS) * length)
    for offset in range(0, len(content) - 127, length):
        kind = uuid.UUID(bytes_le=content[offset : offset + 16])
        first, last = struct.unpack_from("<QQ", content, offset + 32)
        if kind.int and first <= last and first * sector < size:
            found.append((first * sector, (last - first + 1) * sector, str(kind)))
    return found


def _mbr(read: Read, first: bytes, size: int) -> list[tuple[int, int, str]]:
    found = []
    for kind, start, length in _entries(first):
        if kind in _MBR_EXTENDED:
            found += _logical(read, start * _SECTOR, size)
        elif kind and length and start * _SECTOR < size:
            found.append((start * _SECTOR, length * _SECTOR, f"{kind:02x}"))
    return found


def _entries(sector: bytes) -> list[tuple[int, int, int]]:
    """Return (type, first sector, sectors) of the four entries of a partition table."""
    made = []
    for offset in range(446, 510, 16):
        start, length = struct.unpack_from("<II", sector, offset + 8)
        made.append((sector[offset + 4], start, length))
    return made


def _logical(read: Read, extended: int, size: int) -> list[tuple[int, int, str]]:
    found: list[tuple[int, int, str]] = []
    at = extended
    for _ in range(_MOST_PARTITIONS):
        sector = read(at, _SECTOR) if at < size else b""
        if sector[510:512] != b"\x55\xaa":
            break
        (kind, start, length), (_, following, _), *_ = _entries(sector)
        if kind and length and at + start * _SECTOR < size:
            found.append((at + start * _SECTOR, length * _SECTOR, f"{kind:02x}"))
        if not following:
            break
        at = extended + following * _SECTOR
    return found


def _file_system(head: bytes) -> str:
    return next((name for offset, mark, name in _SIGNATURES if head[offset : offset + len(mark)] == mark), "")


def _has_fallback(read: Read, start: int) -> bool:
    try:
        return bool(_FALLBACKS & FatFileSystem(read, start).names("EFI", "BOOT"))
    except (ValueError, struct.error):
        return False


def _family(file_systems: list[str], kinds: set[str]) -> str:
    seen = {family for name in file_systems if (family := _FAMILIES.get(name))}
    if kinds & _WINDOWS_TYPES:
        seen.add("windows")
    if kinds & _LINUX_TYPES:
        seen.add("linux")
    # A guest with both starts Linux's boot loader as a rule; what it needs from its home is what Windows needs.
    return next((family for family in ("windows", "linux", "bsd") if family in seen), "unknown")

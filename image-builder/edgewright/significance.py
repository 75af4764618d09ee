"""Which zeros of a disk image are meant, so that they must reach a medium that held something else before.

A block map leaves out what is zero. On a medium with a past that is wrong where zeros carry meaning: a free entry of
a FAT, a zero block of a verified root, an empty bitmap. It is right where nobody looks: free clusters, the empty
slot of the next update, what lies behind the end of a file system. Each file system is asked in its own terms; one that
is not known is taken whole, so that a mistake costs time and not data.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, BinaryIO

from edgewright import blockmap
from edgewright.tools import esp
from edgewright.tools.process import run
from edgewright.tools.qemu import find_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Extent = tuple[int, int]  # offset and size in bytes

# blkid(8) finds old file systems by magic numbers, the farthest of which (btrfs) lies 64 KiB + 64 bytes in; an empty
# slot must not look like the file system that was there before.
_SIGNATURES = 128 * 1024
_PIECE = 4 * 1024**2
_TABLE = 1024**2  # everything in front of the first partition: protective MBR, GPT


def meant(image: Path) -> list[Extent]:
    """Return the extents of ``image`` whose zeros matter; nothing but the whole image if it has no partition table.

    Raises:
        ToolError: dumpe2fs cannot read a partition that looks like ext4.
        EdgeError: sfdisk or dumpe2fs is missing.
    """
    size = image.stat().st_size
    try:
        partitions = esp.partitions(image)
    except esp.EspError:
        return [(0, size)]
    first = min((part.start for part in partitions), default=size)
    # The backup table is 33 sectors at the end (UEFI 2.10, 5.3.2); a sector may be 4096 bytes.
    extents = [(0, min(first, _TABLE)), (size - 33 * 4096, 33 * 4096)]
    with image.open("rb") as stream:
        for part in partitions:
            extents += of_partition(stream, image, part.start, part.size)
    return extents


def of_partition(stream: BinaryIO, image: Path, start: int, size: int) -> list[Extent]:
    """Return the extents that matter of one partition at byte ``start``."""
    stream.seek(start)
    head = stream.read(min(size, _SIGNATURES))
    for recognised, extents in _FILE_SYSTEMS:
        if recognised(head):
            return [(start + offset, length) for offset, length in extents(head, stream, image, start) if length]
    if _is_empty(stream, start, size):
        return [(start, min(size, _SIGNATURES))]
    return [(start, size)]


def _is_erofs(head: bytes) -> bool:
    return head[1024:1028] == b"\xe2\xe1\xf5\xe0"


def _erofs(head: bytes, _stream: BinaryIO, _image: Path, _start: int) -> list[Extent]:
    """Take an erofs whole: its length is in its superblock (Linux fs/erofs/erofs_fs.h: blkszbits, blocks)."""
    (bits,) = struct.unpack_from("<B", head, 1024 + 12)
    (blocks,) = struct.unpack_from("<I", head, 1024 + 36)
    return [(0, blocks << bits)]


def _is_verity(head: bytes) -> bool:
    return head[:8] == b"verity\0\0"


def _verity(_head: bytes, _stream: BinaryIO, _image: Path, _start: int) -> list[Extent]:
    """Add nothing: a block of hashes is never all zero (the hash of a zero block is not), and nothing else is read."""
    return []


def _is_fat(head: bytes) -> bool:
    return head[510:512] == b"\x55\xaa" and (head[82:87] == b"FAT32" or head[54:58] == b"FAT1")


def _fat(head: bytes, stream: BinaryIO, _image: Path, start: int) -> list[Extent]:
    """Take the tables, the root folder and every cluster in use (Microsoft FAT specification 1.03, sections 3, 4)."""
    sector, per_cluster, reserved, tables, root_entries = struct.unpack_from("<HBHBH", head, 11)
    (table16,) = struct.unpack_from("<H", head, 22)
    (table32,) = struct.unpack_from("<I", head, 36)
    (total16,), (total32,) = struct.unpack_from("<H", head, 19), struct.unpack_from("<I", head, 32)
    table = (table16 or table32) * sector
    data = reserved * sector + tables * table + -(-root_entries * 32 // sector) * sector
    cluster = per_cluster * sector
    count = ((total16 or total32) * sector - data) // cluster
    stream.seek(start + reserved * sector)
    used = _used_clusters(stream.read(table), count)
    return [(0, data), *((data + number * cluster, cluster) for number in used)]


def _used_clusters(table: bytes, count: int) -> Iterator[int]:
    """Yield the clusters in use, counted from 0; the width of an entry follows from their number alone."""
    for number in range(count):
        entry = number + 2
        if count >= 65525:
            value = struct.unpack_from("<I", table, 4 * entry)[0] & 0x0FFFFFFF
        elif count >= 4085:
            (value,) = struct.unpack_from("<H", table, 2 * entry)
        else:
            value = struct.unpack_from("<H", table, entry * 3 // 2)[0]
            value = value >> 4 if entry % 2 else value & 0xFFF
        if value:
            yield number


def _is_ext(head: bytes) -> bool:
    return head[1080:1082] == b"\x53\xef"


def _ext(_head: bytes, _stream: BinaryIO, image: Path, start: int) -> list[Extent]:
    """Take all that is not free, as dumpe2fs(8) lists it (its file names take ``?offset=``, libext2fs unix_io.c)."""
    text = run([find_program("dumpe2fs", "e2fsprogs"), f"{image}?offset={start}"], env={"LC_ALL": "C"}).decode(
        errors="replace"
    )
    size = int(re.findall(r"^Block size:\s+(\d+)", text, re.MULTILINE)[0])
    count = int(re.findall(r"^Block count:\s+(\d+)", text, re.MULTILINE)[0])
    free = [
        (int(first), int(last or first))
        for line in re.findall(r"^  Free blocks: (.*)$", text, re.MULTILINE)
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", line)
    ]
    extents, position = [], 0
    for first, last in sorted(free):
        extents.append((position * size, (first - position) * size))
        position = last + 1
    return [*extents, (position * size, (count - position) * size)]


def _is_empty(stream: BinaryIO, start: int, size: int) -> bool:
    for first, length in blockmap.data_extents(stream.fileno(), start + size, start):
        for offset in range(first, first + length, _PIECE):
            stream.seek(offset)
            if stream.read(min(_PIECE, first + length - offset)).strip(b"\0"):
                return False
    return True


_FILE_SYSTEMS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes, BinaryIO, Path, int], list[Extent]]], ...] = (
    (_is_erofs, _erofs),
    (_is_verity, _verity),
    (_is_fat, _fat),
    (_is_ext, _ext),
)

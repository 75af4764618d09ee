"""Names in a folder of a FAT file system, from a few sectors (Microsoft, FAT32 File System Specification 1.03)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[int, int], bytes]

_ENTRY: Final = 32
_LONG_NAME: Final = 0x0F
_FOLDER: Final = 0x10
_MOST_CLUSTERS: Final = 256


class FatFileSystem:
    """A FAT12, FAT16 or FAT32 file system.

    Args:
        read: gives so many bytes from an offset in bytes; fewer at the end.
        start: where the file system begins, in bytes.

    Raises:
        ValueError: there is no FAT file system.
    """

    def __init__(self, read: Read, start: int) -> None:
        self._read = read
        sector = read(start, 512)
        if len(sector) < 512 or sector[510:] != b"\x55\xaa":
            raise ValueError("no boot sector")
        self._sector, self._cluster = struct.unpack_from("<HB", sector, 11)
        reserved, copies, entries, small, _, fat16 = struct.unpack_from("<HBHHBH", sector, 14)
        large, fat32 = struct.unpack_from("<II", sector, 32)
        if self._sector not in (512, 1024, 2048, 4096) or not self._cluster or not copies or not reserved:
            raise ValueError("no FAT parameters")
        fat = fat16 or fat32
        self._table = start + reserved * self._sector
        self._root = self._table + copies * fat * self._sector
        self._root_size = entries * _ENTRY
        self._data = self._root + -(-self._root_size // self._sector) * self._sector
        clusters = ((small or large) * self._sector - (self._data - start)) // (self._sector * self._cluster)
        self._bits = 12 if clusters < 4085 else 16 if clusters < 65525 else 32
        self._root_cluster = struct.unpack_from("<I", sector, 44)[0] if not fat16 else 0

    def names(self, *folders: str) -> set[str]:
        """Return the short names (as ``BOOTX64.EFI``) in a folder, which ``folders`` lead to from the root."""
        entries = dict(self._entries(self._root_content()))
        for folder in folders:
            cluster, is_folder = entries.get(folder.upper(), (0, False))
            if not is_folder:
                return set()
            entries = dict(self._entries(self._chain(cluster)))
        return set(entries)

    def _root_content(self) -> bytes:
        return self._chain(self._root_cluster) if self._root_cluster else self._read(self._root, self._root_size)

    def _entries(self, content: bytes) -> Iterator[tuple[str, tuple[int, bool]]]:
        for offset in range(0, len(content) - _ENTRY + 1, _ENTRY):
            entry = content[offset : offset + _ENTRY]
            if entry[0] == 0:
                return
            if entry[0] == 0xE5 or entry[11] == _LONG_NAME:
                continue
            base, extension = (part.decode("latin-1").rstrip() for part in (entry[:8], entry[8:11]))
            high, low = struct.unpack_from("<H", entry, 20)[0], struct.unpack_from("<H", entry, 26)[0]
            name = f"{base}.{extension}" if extension else base
            yield name.upper(), (high << 16 | low, bool(entry[11] & _FOLDER))

    def _chain(self, cluster: int) -> bytes:
        content, size = b"", self._sector * self._cluster
        for _ in range(_MOST_CLUSTERS):
            if cluster < 2 or cluster >= (1 << min(self._bits, 28)) - 16:
                break
            content += self._read(self._data + (cluster - 2) * size, size)
            cluster = self._next(cluster)
        return content

    def _next(self, cluster: int) -> int:
        if self._bits == 32:
            raw = self._read(self._table + cluster * 4, 4)
            return int.from_bytes(raw, "little") & 0x0FFFFFFF
        if self._bits == 16:
            return int.from_bytes(self._read(self._table + cluster * 2, 2), "little")
        pair = int.from_bytes(self._read(self._table + cluster * 3 // 2, 2), "little")
        return pair >> 4 if cluster & 1 else pair & 0xFFF

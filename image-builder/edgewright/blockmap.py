"""Block maps (bmap 2.0): which blocks of a disk image matter, with a checksum of every range.

The file is what bmaptool reads and writes (Debian package bmap-tools, bmaptools/BmapCreate.py and BmapCopy.py).
bmaptool takes a sparse file's holes for what does not matter, which depends on the file system that the image happens
to lie on, and on who copied it. Here, content decides: a block matters when it is not all zero, or when
``edgewright.significance`` says that its zeros are meant.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BLOCK_SIZE = 4096
_READ = 4 * 1024**2
_ZEROS = bytes(_READ)
_SUPPORTED_MAJOR = ("1", "2")
_CHECKSUMS = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}


@dataclass(frozen=True)
class Range:
    """Blocks ``first`` to ``last``, both included; ``checksum`` is the hexadecimal digest of their bytes, or empty."""

    first: int
    last: int
    checksum: str = ""


@dataclass(frozen=True)
class BlockMap:
    """The blocks of an image that must be written; sizes in bytes, ranges ascending and apart from each other."""

    image_size: int
    block_size: int
    ranges: tuple[Range, ...]
    checksum_type: str = "sha256"

    @property
    def blocks(self) -> int:
        """How many blocks the image has; the last may be partial."""
        return -(-self.image_size // self.block_size)

    @property
    def mapped_blocks(self) -> int:
        """How many of them must be written."""
        return sum(part.last - part.first + 1 for part in self.ranges)

    @property
    def mapped_size(self) -> int:
        """How many bytes must be written."""
        return sum(size for _, size in self.extents())

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, size) in bytes of every range."""
        for part in self.ranges:
            offset = part.first * self.block_size
            yield offset, min((part.last + 1) * self.block_size, self.image_size) - offset

    def hasher(self) -> hashlib._Hash:
        """Return a fresh hash of the kind that the ranges' checksums are."""
        return _CHECKSUMS[self.checksum_type]()

    def to_xml(self) -> str:
        """Write it as bmaptool does; the same map is always the same bytes."""
        rows = "\n".join(f'        <Range chksum="{part.checksum}"> {_span(part)} </Range>' for part in self.ranges)
        text = _TEMPLATE.format(
            map=self, percent=100 * self.mapped_blocks / max(1, self.blocks), zeros="0" * 64, rows=rows
        )
        return text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest(), 1)

    @classmethod
    def from_xml(cls, text: str, where: str = "bmap") -> BlockMap:
        """Read any bmap of version 1.3 to 2.x that carries checksums, and check the file's own.

        Raises:
            EdgeError: not a bmap, damaged, or of a later major version.
        """
        return _Reader(text, where).read()


_TEMPLATE = """<?xml version="1.0" ?>
<!-- Block map of a disk image: the ranges of blocks that must be written, each with its checksum. Blocks that are not
     listed may hold anything. `bmaptool copy` and `edgewright flash` understand it. -->
<bmap version="2.0">
    <!-- Image size in bytes -->
    <ImageSize> {map.image_size} </ImageSize>

    <!-- Size of a block in bytes -->
    <BlockSize> {map.block_size} </BlockSize>

    <!-- Count of blocks in the image file -->
    <BlocksCount> {map.blocks} </BlocksCount>

    <!-- Count of mapped blocks: {percent:.1f} % -->
    <MappedBlocksCount> {map.mapped_blocks} </MappedBlocksCount>

    <!-- Type of checksum used in this file -->
    <ChecksumType> {map.checksum_type} </ChecksumType>

    <!-- Checksum of this file, calculated with zeros in its own place -->
    <BmapFileChecksum> {zeros} </BmapFileChecksum>

    <BlockMap>
{rows}
    </BlockMap>
</bmap>
"""


class _Reader:
    """Reads one bmap; a class only so that every complaint names the file."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where

    def fail(self, what: str, found: str = "", expected: str = "") -> EdgeError:
        remedy = "Take the block map that was made together with the image."
        return EdgeError(Problem(self.where, what, found, expected, remedy))

    def read(self) -> BlockMap:
        try:
            # The file comes from the user's own disk; expat, as Python has it since 3.8, bounds entity expansion.
            root = ElementTree.fromstring(self.text)  # noqa: S314 - see above
        except ElementTree.ParseError as error:
            raise self.fail("not a block map", str(error), "bmap XML") from error
        version = root.get("version", "")
        if root.tag != "bmap" or version.partition(".")[0] not in _SUPPORTED_MAJOR:
            raise self.fail("not a block map that can be read", f"<{root.tag} version={version!r}>", "bmap version 2.0")
        kind = self.word(root, "ChecksumType", "sha1").lower()
        if kind not in _CHECKSUMS:
            raise self.fail("unknown checksum type", kind, " or ".join(_CHECKSUMS))
        self.check_own(root, kind)
        attribute = "chksum" if root.find("BlockMap/Range[@chksum]") is not None else "sha1"
        ranges = tuple(self.range(element, attribute) for element in root.iterfind("BlockMap/Range"))
        found = BlockMap(self.number(root, "ImageSize"), self.number(root, "BlockSize"), ranges, kind)
        self.check(found, self.number(root, "MappedBlocksCount"))
        return found

    def word(self, root: ElementTree.Element, name: str, default: str | None = None) -> str:
        text = root.findtext(name, default)
        if text is None:
            raise self.fail(f"<{name}> is missing")
        return text.strip()

    def number(self, root: ElementTree.Element, name: str) -> int:
        text = self.word(root, name)
        if not text.isascii() or not text.isdigit():
            raise self.fail(f"<{name}> is not a number", repr(text))
        return int(text)

    def check_own(self, root: ElementTree.Element, kind: str) -> None:
        given = self.word(root, "BmapFileChecksum", root.findtext("BmapFileSHA1", "")).lower()
        blank = self.text.replace(given, "0" * len(given), 1) if given else self.text
        actual = _CHECKSUMS[kind](blank.encode()).hexdigest()
        if given != actual:
            raise self.fail("the block map is damaged: its own checksum does not match", actual, given or "a checksum")

    def range(self, element: ElementTree.Element, attribute: str) -> Range:
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", element.text or "")
        if not match:
            raise self.fail("not a range of blocks", repr(element.text), "FIRST-LAST")
        return Range(int(match[1]), int(match[2] or match[1]), element.get(attribute, "").lower())

    def check(self, found: BlockMap, mapped: int) -> None:
        if found.block_size < 512 or found.block_size & (found.block_size - 1):
            raise self.fail("impossible block size", str(found.block_size), "a power of two from 512")
        end = -1
        for part in found.ranges:
            if part.first <= end or part.last < part.first or part.last >= found.blocks:
                raise self.fail("ranges overlap, go backwards or leave the image", _span(part))
            end = part.last
        if mapped != found.mapped_blocks:
            raise self.fail("the count of mapped blocks is wrong", str(mapped), str(found.mapped_blocks))


def make(image: Path, meant: Iterable[tuple[int, int]] = ()) -> BlockMap:
    """Make the map of ``image``: its blocks that are not zero, and those that ``meant`` (offset, size) touches.

    Reads the image once, but for its holes.
    """
    size = image.stat().st_size
    wanted = bytearray(-(-size // BLOCK_SIZE))
    for offset, length in meant:
        first, end = offset // BLOCK_SIZE, -(-min(offset + length, size) // BLOCK_SIZE)
        wanted[first:end] = b"\1" * max(0, end - first)
    with image.open("rb", buffering=0) as stream:
        for offset, length in data_extents(stream.fileno(), size):
            _mark(stream.fileno(), offset, length, wanted)
        ranges = []
        for match in re.finditer(rb"\x01+", wanted):
            first, end = match.start() * BLOCK_SIZE, min(match.end() * BLOCK_SIZE, size)
            digest = hashlib.sha256()
            for offset in range(first, end, _READ):
                digest.update(os.pread(stream.fileno(), min(_READ, end - offset), offset))
            ranges.append(Range(match.start(), match.end() - 1, digest.hexdigest()))
    return BlockMap(size, BLOCK_SIZE, tuple(ranges))


def data_extents(file: int, size: int, offset: int = 0) -> Iterator[tuple[int, int]]:
    """Yield (offset, size) of what is not a hole in front of byte ``size``, in whole blocks.

    Only to save reading, never to decide: where holes are is up to the file system (lseek(2), SEEK_DATA).
    """
    while offset < size:
        try:
            start = os.lseek(file, offset, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole up to the end
            return
        end = os.lseek(file, start, os.SEEK_HOLE)
        start -= start % BLOCK_SIZE
        if start >= size:
            return
        offset = min(size, -(-end // BLOCK_SIZE) * BLOCK_SIZE)
        yield start, offset - start


def _mark(file: int, offset: int, length: int, wanted: bytearray) -> None:
    """Mark the blocks that hold anything but zeros."""
    end = offset + length
    while offset < end:
        piece = os.pread(file, min(_READ, end - offset), offset)
        if not piece:
            return
        if piece != _ZEROS[: len(piece)]:
            for inner in range(0, len(piece), BLOCK_SIZE):
                block = piece[inner : inner + BLOCK_SIZE]
                if block != _ZEROS[: len(block)]:
                    wanted[(offset + inner) // BLOCK_SIZE] = 1
        offset += len(piece)


def _span(part: Range) -> str:
    return str(part.first) if part.first == part.last else f"{part.first}-{part.last}"

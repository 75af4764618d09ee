"""Write an image onto a medium so that an interrupted write never looks like a finished one, and read it back.

Order: the partition tables of what was there are wiped; everything but the image's own tables is written, flushed, and
read back past every cache; only then the tables are written. Firmware finds nothing to boot before that.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.flash_source import PIECE, Piece, Segment, Source, segments
from edgewright.tools.process import ToolError

if TYPE_CHECKING:
    import hashlib
    from pathlib import Path

    from edgewright.blockmap import BlockMap
    from edgewright.reporter import Reporter

_MIB = 1024**2
_BLKRRPART, _BLKFLSBUF = 0x125F, 0x1261  # linux/fs.h
_ALIGN = 4096  # the largest logical sector there is; O_DIRECT needs offsets and sizes in whole sectors


class FlashError(ToolError):
    """The medium does not give back what was written to it."""

    def __init__(self, target: Path, what: str) -> None:
        self.what = f"{target}: {what}"
        super().__init__(["flash", str(target)], 1, "", "The medium is worn out or false: use another.")

    def __str__(self) -> str:
        return f"{self.what}. {self.hint}"


@dataclass(frozen=True)
class Written:
    """What was done: bytes written, seconds spent writing (flush included), seconds spent reading back."""

    size: int
    writing: float
    verifying: float


def held_back(image_size: int) -> tuple[tuple[int, int], ...]:
    """Return the extents that make a medium look complete: both GPTs (UEFI 2.10, 5.3: first and last 34 sectors)."""
    tail = max(_MIB, (image_size - 34 * _ALIGN) // _ALIGN * _ALIGN)
    return ((0, min(_MIB, image_size)), *([(tail, image_size - tail)] if tail < image_size else []))


def write(image: Path, target: Path, blockmap: BlockMap, reporter: Reporter, *, verify: bool = True) -> Written:
    """Write ``image`` onto the block device ``target``, which must be free and large enough.

    Raises:
        EdgeError: the device is in use, or the image does not match its map.
        FlashError: read back, something is different.
        OSError: the device fails.
    """
    with Medium(target) as medium:
        medium.wipe()
        try:
            written = _write(image, medium, blockmap, reporter, verify=verify)
        except BaseException:
            with suppress(OSError):
                medium.wipe()
            reporter.warning(f"{target} is incomplete and will not boot.")
            raise
        medium.reread_partitions(reporter)
    return written


def write_file(image: Path, target: Path, blockmap: BlockMap, reporter: Reporter, *, verify: bool = True) -> Written:
    """Write ``image`` as a sparse file, which has its name only when it is complete; raises as ``write`` does."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with fresh.open("xb") as stream:
            stream.truncate(blockmap.image_size)
        with Medium(fresh, direct=False) as medium:
            written = _write(image, medium, blockmap, reporter, verify=verify)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    return written


def _write(image: Path, medium: Medium, blockmap: BlockMap, reporter: Reporter, *, verify: bool) -> Written:
    plan = segments(blockmap, held_back(blockmap.image_size))
    started = time.monotonic()
    held: list[tuple[int, bytes]] = []
    done = 0
    with Source(image, blockmap, plan) as source:
        for piece in source.pieces():
            if piece.held:
                held.append((piece.offset, piece.buffer[: piece.size]))
            else:
                medium.put(piece)
            done += piece.size
            source.give_back(piece)
            reporter.progress("writing", done, blockmap.mapped_size)
        medium.flush()
        writing = time.monotonic() - started
        if verify:
            _verify(medium, blockmap, plan, source.digests, reporter)
    verifying = time.monotonic() - started - writing
    for offset, content in held:
        medium.put(_piece(offset, content))
    medium.flush()
    if verify and any(medium.get(offset, len(content)) != content for offset, content in held):
        raise FlashError(medium.path, "the partition table reads back differently from what was written")
    return Written(blockmap.mapped_size, writing, verifying)


def _verify(medium: Medium, blockmap: BlockMap, plan: list[Segment], digests: list[bytes], reporter: Reporter) -> None:
    total, done = sum(segment.size for segment in plan if not segment.held), 0
    medium.drop_caches()
    for segment, expected in zip(plan, digests, strict=True):
        if segment.held:
            continue
        digest = blockmap.hasher()
        for offset in range(segment.offset, segment.offset + segment.size, PIECE):
            size = min(PIECE, segment.offset + segment.size - offset)
            medium.hash(offset, size, digest)
            done += size
            reporter.progress("verifying", done, total)
        if digest.digest() != expected:
            where = f"bytes {segment.offset} to {segment.offset + segment.size - 1}"
            raise FlashError(medium.path, f"{where} read back differently from what was written")


def _piece(offset: int, content: bytes) -> Piece:
    buffer = mmap.mmap(-1, -(-len(content) // _ALIGN) * _ALIGN)
    buffer[: len(content)] = content
    return Piece(offset, len(content), buffer, held=True)


class Medium:
    """An open block device (or file), claimed for this process alone, written and read past the page cache.

    Raises:
        EdgeError: something on it is mounted or otherwise claimed, or the user may not write to it.
    """

    def __init__(self, path: Path, *, direct: bool = True) -> None:
        self.path = path
        # O_EXCL without O_CREAT, on a block device: fails while any of it is in use, and keeps others out.
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_EXCL if path.is_block_device() else 0)
        try:
            self._file, self.direct = _open(path, flags, direct=direct)
        except OSError as error:
            raise _explain(path, error) from error
        self._buffer = mmap.mmap(-1, PIECE)
        self.size = os.lseek(self._file, 0, os.SEEK_END)

    def wipe(self) -> None:
        """Erase the partition tables and signatures of what was there, before anything else is written."""
        end = self.size - self.size % _ALIGN
        for offset in {0, max(0, end - _MIB)}:
            self.put(_piece(offset, bytes(min(_MIB, end - offset))))
        self.flush()

    def put(self, piece: Piece) -> None:
        """Write one piece; what is missing to a whole sector at the image's end is written as zeros."""
        size = piece.size
        if self.direct and size % _ALIGN:
            size = min(-(-size // _ALIGN) * _ALIGN, self.size - piece.offset)
            piece.buffer[piece.size : size] = bytes(size - piece.size)
        with memoryview(piece.buffer)[:size] as view:
            done = 0
            while done < size:
                done += os.pwrite(self._file, view[done:], piece.offset + done)

    def get(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at ``offset``."""
        content = bytearray()
        while len(content) < size:
            part = min(PIECE, size - len(content))
            self._fill(offset + len(content), part)
            content += self._buffer[:part]
        return bytes(content)

    def hash(self, offset: int, size: int, digest: hashlib._Hash) -> None:
        """Read up to ``PIECE`` bytes at ``offset`` and add them to ``digest``."""
        self._fill(offset, size)
        with memoryview(self._buffer)[:size] as view:
            digest.update(view)

    def _fill(self, offset: int, size: int) -> None:
        padded = min(-(-size // _ALIGN) * _ALIGN, self.size - offset) if self.direct else size
        done = 0
        with memoryview(self._buffer)[:padded] as view:
            while done < size:
                count = os.preadv(self._file, [view[done:]], offset + done)
                if count == 0:
                    raise FlashError(self.path, f"reading ends at byte {offset + done}")
                done += count

    def flush(self) -> None:
        """Wait until the medium itself has everything."""
        os.fsync(self._file)

    def drop_caches(self) -> None:
        """Forget what the kernel remembers of the medium, so that reading means reading the medium."""
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
        if self.path.is_block_device() and os.geteuid() == 0:
            fcntl.ioctl(self._file, _BLKFLSBUF)

    def reread_partitions(self, reporter: Reporter) -> None:
        """Let the kernel see the new partitions."""
        try:
            fcntl.ioctl(self._file, _BLKRRPART)
        except OSError as error:
            # A loop device without partitions (EINVAL) has nothing to reread.
            if error.errno != errno.EINVAL:
                reporter.warning(
                    f"The kernel still shows the old partitions ({error.strerror}): plug {self.path} in again."
                )

    def close(self) -> None:
        """Release the device."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path, flags: int, *, direct: bool) -> tuple[int, bool]:
    if direct:
        try:
            return os.open(path, flags | os.O_DIRECT), True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    return os.open(path, flags), False


def _explain(path: Path, error: OSError) -> EdgeError:
    remedies = {
        errno.EBUSY: "Something on it is in use: unmount it, and close what has it open.",
        errno.EACCES: "Run the same command with sudo.",
        errno.EPERM: "Run the same command with sudo.",
        errno.EROFS: "It is write-protected: move its switch, or use another medium.",
    }
    return EdgeError(
        Problem(str(path), "cannot be opened for writing", error.strerror or "", "", remedies.get(error.errno or 0, ""))
    )

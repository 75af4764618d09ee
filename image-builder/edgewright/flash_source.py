"""The reading half of flashing: what must be written, in order, in pieces, with every checksum checked on the way."""

from __future__ import annotations

import mmap
import os
import queue
import subprocess
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.tools.qemu import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgewright.blockmap import BlockMap

PIECE = 4 * 1024**2
_BUFFERS = 6  # 24 MiB: enough to keep both sides busy, too little to matter
_TICK = 0.5  # seconds after which a waiting thread looks whether it is still wanted


@dataclass(frozen=True)
class Segment:
    """A stretch of bytes of one mapped range, all of it either ``held`` back until everything else is safe, or not."""

    offset: int
    size: int
    range: int
    held: bool


@dataclass
class Piece:
    """A stretch of a segment in a page-aligned ``buffer``, of which ``size`` bytes count; give it back after use."""

    offset: int
    size: int
    buffer: mmap.mmap
    held: bool


def segments(blockmap: BlockMap, held: tuple[tuple[int, int], ...]) -> list[Segment]:
    """Cut the mapped ranges where ``held`` extents (offset, size) begin and end."""
    cuts = sorted({edge for offset, size in held for edge in (offset, offset + size)})
    found = []
    for number, (offset, size) in enumerate(blockmap.extents()):
        edges = [offset, *(cut for cut in cuts if offset < cut < offset + size), offset + size]
        for first, last in pairwise(edges):
            inside = any(begin <= first < begin + length for begin, length in held)
            found.append(Segment(first, last - first, number, inside))
    return found


def is_compressed(image: Path) -> bool:
    """Whether the image must be decompressed while it is read."""
    return image.suffix == ".zst"


@dataclass
class Source:
    """A thread that reads the image ahead of the writer. Use as a context manager; ``pieces`` once.

    After the last piece, ``digests`` has a digest for every segment, in their order.
    """

    image: Path
    blockmap: BlockMap
    segments: list[Segment]
    digests: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._unpacker: subprocess.Popen[bytes] | None = None
        self._free: queue.Queue[mmap.mmap] = queue.Queue()
        self._full: queue.Queue[Piece | BaseException | None] = queue.Queue()
        for _ in range(_BUFFERS):
            self._free.put(mmap.mmap(-1, PIECE))
        self._thread = threading.Thread(target=self._run, name="flash-source", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        # The thread may be waiting for a pipe that never says anything again; the end of the decompressor wakes it.
        if self._unpacker:
            self._unpacker.kill()
        self._thread.join()

    def pieces(self) -> Iterator[Piece]:
        """Yield every piece in ascending order.

        Raises:
            EdgeError: the image is not the one that the map describes.
            OSError: it cannot be read.
        """
        while (item := self._full.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def give_back(self, piece: Piece) -> None:
        """Let the thread use the piece's buffer again."""
        self._free.put(piece.buffer)

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                self._read(self._open(stack))
            self._full.put(None)
        except _StoppedError:
            pass
        except BaseException as error:  # carried to the thread that writes, and raised there
            self._full.put(error)

    def _read(self, stream: _Stream) -> None:
        whole = self.blockmap.hasher()
        for number, segment in enumerate(self.segments):
            following = self.segments[number + 1].range if number + 1 < len(self.segments) else -1
            own = self.blockmap.hasher()
            for offset in range(segment.offset, segment.offset + segment.size, PIECE):
                size = min(PIECE, segment.offset + segment.size - offset)
                buffer = self._buffer()
                view = memoryview(buffer)[:size]
                stream.fill(view, offset)
                own.update(view)
                whole.update(view)
                view.release()
                self._full.put(Piece(offset, size, buffer, segment.held))
            self.digests.append(own.digest())
            if following != segment.range:
                self._check(segment.range, whole.hexdigest())
                whole = self.blockmap.hasher()

    def _open(self, stack: ExitStack) -> _Stream:
        if not is_compressed(self.image):
            stream = stack.enter_context(self.image.open("rb", buffering=0))
            return _Stream(self.image, stream.fileno(), seekable=True)
        words = [find_program("zstd", "zstd"), "-dcq", "--", str(self.image)]
        process = stack.enter_context(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE))
        self._unpacker = process
        stack.callback(process.kill)
        if self._stop.is_set() or process.stdout is None:
            raise _StoppedError
        return _Stream(self.image, process.stdout.fileno(), seekable=False)

    def _check(self, number: int, found: str) -> None:
        part = self.blockmap.ranges[number]
        if part.checksum and part.checksum != found:
            what = f"the image is damaged: blocks {part.first} to {part.last} do not match the block map"
            remedy = "Build or copy the image again. Nothing that could boot was written."
            raise EdgeError(Problem(str(self.image), what, found, part.checksum, remedy))

    def _buffer(self) -> mmap.mmap:
        while not self._stop.is_set():
            try:
                return self._free.get(timeout=_TICK)
            except queue.Empty:
                continue
        raise _StoppedError


class _StoppedError(Exception):
    """The writer wants no more."""


class _Stream:
    """Fills buffers from an open file, by position if it has any, else by reading up to there."""

    def __init__(self, image: Path, file: int, *, seekable: bool) -> None:
        self._image = image
        self._file = file
        self._seekable = seekable
        self._position = 0
        self._skip = bytearray(1024**2)

    def fill(self, view: memoryview, offset: int) -> None:
        while not self._seekable and self._position < offset:
            self._position += self._some(memoryview(self._skip)[: offset - self._position], self._position)
        done = 0
        while done < len(view):
            done += self._some(view[done:], offset + done)
        self._position = offset + done

    def _some(self, view: memoryview, offset: int) -> int:
        count = os.preadv(self._file, [view], offset) if self._seekable else os.readv(self._file, [view])
        if count == 0:
            what = "the image ends before its block map does, or cannot be decompressed"
            raise EdgeError(Problem(str(self._image), what, f"{offset} bytes", "", "Build or copy the image again."))
        return count

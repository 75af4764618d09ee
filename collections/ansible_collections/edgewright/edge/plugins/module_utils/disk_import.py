"""Making a site's disk from a source's: verified, converted, whole or not there.

What is made goes under a partial name (``.<disk>.partial``) first, and is renamed when all of it is right and on the
medium. Beside a finished disk, ``<disk>.import.json`` says what it was made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils import qemu_image
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.gzip_stream import decompressed
from ansible_collections.edgewright.edge.plugins.module_utils.medium import flush
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import MIB, bytes_text
from ansible_collections.edgewright.edge.plugins.module_utils.vm_manifest import Digest, mismatch
from ansible_collections.edgewright.edge.plugins.module_utils.vm_source import Content, source_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ansible_collections.edgewright.edge.plugins.module_utils.qemu_image import SourceImage
    from ansible_collections.edgewright.edge.plugins.module_utils.vm_source import Piece

    Progress = Callable[[float], None]

_CHUNK: Final = 4 * MIB
# What an image may be larger than the disk in it: its tables and headers, and markers of compressed grains.
_OVERHEAD: Final = 64 * MIB
_SPARE: Final = 64 * MIB
# A qcow2 image has 8 bytes of tables and 2 of reference counts for each cluster of 64 KiB.
_TABLES: Final = 64 * 1024 // 16
_FLUSH_EVERY: Final = 0.2


@dataclass
class DiskImport:
    """One disk to make.

    Attributes:
        content: what it is made of.
        target: path of the finished disk.
        form: ``qcow2`` or ``raw``.
        manifest: digests of the package's files; ``None`` where there are none.
    """

    content: Content
    target: Path
    form: str
    manifest: Mapping[str, Digest] | None = None
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def partial(self) -> Path:
        """Where it grows."""
        return self.target.with_name(f".{self.target.name}.partial")

    @property
    def assembled(self) -> Path:
        """Where a source in several pieces, or a compressed one, is put together."""
        return self.target.with_name(f".{self.target.name}.source.partial")

    @property
    def stamp(self) -> Path:
        """What says which source the finished disk was made of."""
        return self.target.with_name(f"{self.target.name}.import.json")

    def finished(self) -> dict[str, Any] | None:
        """Return what the stamp says, when the disk is there and was made of this very source.

        A source file whose size and time are those of the import is not read again; otherwise its digest decides.

        Raises:
            EdgeError: there is a disk of something else.
        """
        if not self.target.exists():
            return None
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
            same = stamp["format"] == self.form and len(stamp["files"]) == len(self.content.pieces)
            same = same and stamp["capacity"] == self.content.disk.capacity
            same = same and all(
                _same(piece, file) for piece, file in zip(self.content.pieces, stamp["files"], strict=True)
            )
        except (OSError, ValueError, KeyError, TypeError):
            same = False
        if not same:
            raise EdgeError(
                Problem(
                    str(self.target),
                    "is there already, and was not made of this source",
                    remedy="Import under another name, or move it away; 'force' replaces it.",
                )
            )
        return dict(stamp)

    def most_space(self) -> int | None:
        """Return how many bytes making it takes however full it is; ``None`` where its capacity is not known."""
        capacity = self.content.disk.capacity
        if self.content.plain and self.content.pieces:
            return None if capacity is None else capacity + capacity // _TABLES + _OVERHEAD
        return self.space()

    def space(self) -> int:
        """Return how many bytes making it takes with what is in it; QEMU reads all tables of the source for that.

        Raises:
            EdgeError: the source cannot be read.
        """
        if not self.content.pieces:
            return MIB
        if self.content.plain:
            return self.content.image().measure(self.form)
        packed = sum(piece.size for piece in self.content.pieces)
        capacity = self.content.disk.capacity or 0
        return capacity + (capacity + _OVERHEAD if self.content.disk.gzip else packed)

    def assemble(self) -> None:
        """Put a source that QEMU cannot read where it is into one file, if this is one.

        Raises:
            EdgeError: it decompresses to more than its disk can be, or is damaged.
        """
        if self.content.plain or not self.content.pieces:
            return
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.assembled.unlink(missing_ok=True)
        try:
            descriptor = os.open(self.assembled, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                for block in self._blocks():
                    file.write(block)
        except BaseException:
            self.assembled.unlink(missing_ok=True)
            raise

    def image(self) -> SourceImage | None:
        """Return the image to convert; ``None`` for a disk that begins empty, or one that was not put together.

        Raises:
            EdgeError: it is no image that may be read.
        """
        if not self.content.pieces:
            return None
        if self.content.plain:
            return self.content.image()
        return source_image(self.assembled, 0, 0, self.content.disk.format) if self.assembled.exists() else None

    def fits(self, image: SourceImage) -> int:
        """Return the bytes the guest is to see: what the envelope says, or what the image itself says.

        Raises:
            EdgeError: the image says more than the envelope.
        """
        size = image.info().virtual_size
        capacity = self.content.disk.capacity
        if capacity is not None and size > capacity:
            raise EdgeError(
                Problem(
                    str(image.path),
                    "is a larger disk than its description says",
                    found=bytes_text(size),
                    expected=bytes_text(capacity),
                    remedy="Do not trust this package; export it again.",
                )
            )
        return max(size, capacity or 0)

    def convert(self, size: int, progress: Progress) -> None:
        """Make the disk under its partial name, and verify what it was made of; a failure leaves nothing of it.

        Args:
            size: bytes the guest is to see.
            progress: is told percents.

        Raises:
            EdgeError: the source is damaged, not what the manifest says, or cannot be converted.
        """
        hashing = _Hashing(self.content.pieces, self.manifest or {})
        self.target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.partial.unlink(missing_ok=True)
            # The partial file's permissions are what QEMU keeps: a disk holds a guest's secrets.
            os.close(os.open(self.partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            hashing.start()
            image = self.image()
            if image is None:
                qemu_image.create(self.partial, self.form, size)
            else:
                with _flushing(self.partial):
                    qemu_image.convert(image, self.partial, self.form, progress)
                if image.info().virtual_size < size:
                    qemu_image.resize(self.partial, self.form, size)
            files = hashing.results()
            self._made = {"format": self.form, "capacity": self.content.disk.capacity, "size": size, "files": files}
        except BaseException:
            self.discard()
            raise
        finally:
            hashing.stop()
            self.assembled.unlink(missing_ok=True)

    def commit(self) -> dict[str, Any]:
        """Give the converted disk its name, once it is on the medium, and return its stamp."""
        # The old stamp goes first: there is never one beside a disk that it is not of.
        self.stamp.unlink(missing_ok=True)
        flush(self.partial.parent)
        flush(self.partial)
        self.partial.replace(self.target)
        _write(self.stamp, json.dumps(self._made, indent=2) + "\n")
        return self._made

    def discard(self) -> None:
        """Remove what is not finished."""
        self.partial.unlink(missing_ok=True)
        self.assembled.unlink(missing_ok=True)

    def _blocks(self) -> Iterator[bytes]:
        raw = (block for piece in self.content.pieces for block in _read(piece))
        if not self.content.disk.gzip:
            yield from raw
            return
        yield from decompressed(raw, (self.content.disk.capacity or 0) + _OVERHEAD, self.content.disk.file)


class _Hashing(threading.Thread):
    """Takes the digests of pieces while they are converted; hashing does not hold Python's lock."""

    def __init__(self, pieces: tuple[Piece, ...], manifest: Mapping[str, Digest]) -> None:
        super().__init__(daemon=True)
        self._pieces = pieces
        self._manifest = manifest
        self._files: list[dict[str, Any]] = []
        self._problems = Problems()
        self._failure: OSError | None = None
        self._halt = threading.Event()

    def run(self) -> None:
        """Read all pieces."""
        try:
            for piece in self._pieces:
                self._hash(piece)
        except OSError as error:
            self._failure = error

    def results(self) -> list[dict[str, Any]]:
        """Return name, size, time and SHA-256 of each piece.

        Raises:
            EdgeError: all that are not what the manifest says, or could not be read.
        """
        self.join()
        if self._failure is not None:
            raise EdgeError(Problem("source", f"cannot be read ({self._failure})")) from self._failure
        self._problems.raise_if_any()
        return self._files

    def stop(self) -> None:
        """Stop reading."""
        self._halt.set()
        if self.ident is not None:
            self.join()

    def _hash(self, piece: Piece) -> None:
        expected = self._manifest.get(piece.name)
        own = hashlib.sha256()
        told = own if expected is None or expected.algorithm == "sha256" else _hash_of(expected.algorithm)
        for block in _read(piece):
            if self._halt.is_set():
                return
            own.update(block)
            if told is not own:
                told.update(block)
        if expected is not None and told.hexdigest() != expected.value:
            self._problems.extend(mismatch(piece.name, expected, told.hexdigest(), where=str(piece.path)))
        self._files.append({**_identity(piece), "sha256": own.hexdigest()})


@contextmanager
def _flushing(path: Path) -> Iterator[None]:
    """Bring a file that grows to the medium meanwhile: else the conversion is done, and the medium has yet to begin.

    What is there leaves the page cache, so that it need not be cleared for what comes, and workloads keep theirs.
    QEMU's own way past the page cache (``-t none``) takes longer where the medium is not much faster than QEMU.
    """
    done = threading.Event()
    descriptor = os.open(path, os.O_RDONLY)

    def keep_flushing() -> None:
        # What fails here fails again when the finished disk is synced, and is told then.
        with suppress(OSError):
            while not done.wait(_FLUSH_EVERY):
                os.fdatasync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    thread = threading.Thread(target=keep_flushing, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        os.close(descriptor)


def free_space(folder: Path) -> int:
    """Return the bytes free for us where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def enough_space(disks: Sequence[DiskImport], folder: Path) -> None:
    """Check that there is room for disks in a folder.

    Raises:
        EdgeError: there is not, or a source cannot be read.
    """
    free = free_space(folder)
    most = [disk.most_space() for disk in disks]
    if None not in most and sum(filter(None, most)) + _SPARE <= free:
        return
    needed = sum(disk.space() for disk in disks)
    if needed + _SPARE > free:
        raise EdgeError(
            Problem(
                str(folder),
                "has too little free space for the disks",
                found=f"{free / MIB:.0f} MiB",
                expected=f"{(needed + _SPARE) / MIB:.0f} MiB",
                remedy="Make room, or choose another folder in 'dest'.",
            )
        )


def _hash_of(algorithm: str) -> Any:
    return hashlib.new(algorithm, usedforsecurity=False)


def _read(piece: Piece) -> Iterator[bytes]:
    left = piece.size
    with piece.path.open("rb") as file:
        file.seek(piece.offset)
        while left and (block := file.read(min(_CHUNK, left))):
            left -= len(block)
            yield block


def _identity(piece: Piece) -> dict[str, Any]:
    state = piece.path.stat()
    return {"name": piece.name, "size": piece.size, "offset": piece.offset, "mtime_ns": state.st_mtime_ns}


def _same(piece: Piece, file: dict[str, Any]) -> bool:
    if piece.size != file["size"]:
        return False
    if all(file.get(key) == value for key, value in _identity(piece).items()):
        return True
    digest = hashlib.sha256()
    for block in _read(piece):
        digest.update(block)
    return bool(digest.hexdigest() == file["sha256"])


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    flush(temporary)
    temporary.replace(path)
    flush(path.parent)

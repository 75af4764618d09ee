"""The content-addressed store: every file from outside, under the digest of its bytes.

Layout below the store's root::

    sha256/ab/abcdef…        a whole, verified file, read-only (0444); its name is its SHA-256
    control/ab/abcdef….txt   what was read out of the .deb with that digest (derived: may be deleted at any time)
    partial/abcdef….part     a download under way or cut off; resumable, never trusted before its digest was checked
    partial/abcdef….image/   the layers of the container image whose manifest has that digest, under way or cut off;
                             ``blobs/sha256/<hex>`` are whole files, but checked again before they are taken
    partial/tmp-…            any other file being written
    partial/lock             held shared by whoever writes, exclusively by whoever cleans

Crash model. A name below ``sha256/`` appears only by ``rename``, after the digest of all bytes was checked and the
file was synced (then its folder): what has a final name is whole, after Ctrl-C, ``kill -9`` and a power cut alike. So
``has`` is a look at the name and costs nothing; ``verify`` reads the bytes again, for media that are not trusted. All
that an interruption can leave lies in ``partial/``: ``*.part`` files and ``*.image`` folders are taken up by the next
download of that digest, ``tmp-*`` files are deleted by the next ``clean_leftovers`` that finds nobody writing.

Concurrent processes. Every writer holds ``partial/lock`` shared. A ``.part`` file or ``.image`` folder is held
exclusively (flock) by the one that fills it; a second process that wants the same digest waits for it, and then finds
the file in the store. The lock is on the file, not on its name, so whoever gets it checks that the name still stands
for that file. Two writers of the same digest that do not know of each other (``add_file``) both rename the same bytes
to the same name, which is harmless. flock is dropped by the kernel with the process: there are no stale locks.

Files are copied in, never linked: a hard link would let a later write to the original change the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Protocol

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_CHUNK = 1 << 20


class Readable(Protocol):
    """Anything that gives its bytes piece by piece, and ``b""`` at the end."""

    def read(self, size: int = ..., /) -> bytes:
        """Return the next bytes."""
        ...


def digest_of_stream(stream: Readable, also: Callable[[bytes], object] = lambda _: None) -> tuple[str, int]:
    """Read a stream to its end, feeding each chunk to ``also``; return its digest (``sha256:<hex>``) and its size."""
    hasher = hashlib.sha256()
    size = 0
    while chunk := stream.read(_CHUNK):
        hasher.update(chunk)
        also(chunk)
        size += len(chunk)
    return f"sha256:{hasher.hexdigest()}", size


def digest_of_file(path: Path) -> tuple[str, int]:
    """Return the digest and the size in bytes of a file."""
    with path.open("rb") as stream:
        return digest_of_stream(stream)


def mismatch(what: str, expected: str, found: str, remedy: str) -> EdgeError:
    """Return the error for bytes that are not those pinned."""
    return EdgeError(Problem(what, "the bytes are not those pinned in the lock", found, expected, remedy))


class Store:
    """A content-addressed store below ``root`` (made when needed). Digests are ``sha256:<hex>``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._partial = root / "partial"

    def path(self, digest: str) -> Path:
        """Return where the file with this digest lies, whether or not it is there.

        Raises:
            ValueError: not a digest (the lock's reader refuses such a thing with file and line).
        """
        return self._named("sha256", digest, "")

    def control_path(self, digest: str) -> Path:
        """Return where the control data of the .deb with this digest is kept."""
        return self._named("control", digest, ".txt")

    def _named(self, folder: str, digest: str, suffix: str) -> Path:
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise ValueError(f"not a digest: {digest!r}")
        return self.root / folder / match[1][:2] / f"{match[1]}{suffix}"

    def has(self, digest: str) -> bool:
        """Tell whether the file is in the store (it is then whole: see the crash model)."""
        return self.path(digest).is_file()

    def all_digests(self) -> list[str]:
        """Return the digests of all files in the store, sorted."""
        found = (self.root / "sha256").glob("??/*")
        return sorted(digest for path in found if _DIGEST.fullmatch(digest := f"sha256:{path.name}"))

    def partial_path(self, digest: str) -> Path:
        """Return where a download of this digest is collected."""
        return self._partial / f"{self.path(digest).name}.part"

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store against cleaning while something is written."""
        self._partial.mkdir(parents=True, exist_ok=True)
        with (self._partial / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    @contextlib.contextmanager
    def partial(self, digest: str) -> Iterator[BinaryIO]:
        """Hold the ``.part`` file of a digest alone, opened for reading and writing, for as long as the block lasts.

        Waits while another process fills it. Check ``has`` first thing inside the block.
        """
        path = self.partial_path(digest)
        with self.writing():
            while True:
                with contextlib.ExitStack() as stack:
                    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                    stream = stack.enter_context(os.fdopen(descriptor, "r+b"))
                    fcntl.flock(stream, fcntl.LOCK_EX)
                    if _is_still(path, stream.fileno()):
                        yield stream
                        return

    def commit_partial(self, digest: str, stream: BinaryIO, found: str) -> Path:
        """Give a ``.part`` file held by ``partial`` its final name, if its digest ``found`` is right; else delete it.

        Raises:
            EdgeError: the bytes are not those of ``digest``; nothing is kept.
        """
        part = self.partial_path(digest)
        if found != digest:
            part.unlink()
            raise mismatch(part.name, digest, found, "Nothing was kept.")
        stream.flush()
        return self._publish(stream, part, self.path(digest))

    def discard_partial(self, digest: str) -> None:
        """Delete a ``.part`` file held by ``partial``."""
        self.partial_path(digest).unlink(missing_ok=True)

    def _publish(self, stream: IO[bytes], temporary: Path, final: Path) -> Path:
        os.fchmod(stream.fileno(), 0o444)
        os.fsync(stream.fileno())
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(final)
        folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return final

    def add_file(self, source: Path, digest: str) -> Path:
        """Copy a file into the store.

        Raises:
            EdgeError: its bytes are not those of ``digest``; nothing is kept.
        """
        with source.open("rb") as stream:
            return self.add_stream(stream, digest, str(source))

    def add_stream(self, stream: Readable, digest: str, name: str) -> Path:
        """Copy a stream into the store; ``name`` is what an error calls it.

        Raises:
            EdgeError: its bytes are not those of ``digest``; nothing is kept.
        """
        if self.has(digest):
            return self.path(digest)
        with self._temporary() as temporary:
            found, _ = digest_of_stream(stream, temporary.write)
            if found != digest:
                raise mismatch(name, digest, found, "If the new content is right, run 'edgewright lock --upgrade'.")
            temporary.flush()
            return self._publish(temporary, Path(temporary.name), self.path(digest))

    def adopt_stream(self, stream: Readable) -> tuple[str, int]:
        """Copy a stream of unknown digest into the store; return its digest and size in bytes."""
        with self._temporary() as temporary:
            digest, size = digest_of_stream(stream, temporary.write)
            temporary.flush()
            if not self.has(digest):
                self._publish(temporary, Path(temporary.name), self.path(digest))
        return digest, size

    def add_control(self, digest: str, text: str) -> None:
        """Keep the control data of a .deb."""
        with self._temporary() as temporary:
            temporary.write(text.encode())
            temporary.flush()
            self._publish(temporary, Path(temporary.name), self.control_path(digest))

    @contextlib.contextmanager
    def workspace(self, digest: str) -> Iterator[Path]:
        """Hold alone the folder in which the layers of an image (``digest``: its manifest's) are collected.

        Waits while another process fills it. It is deleted at the end of the block, and kept if the block raises.
        """
        path = self._partial / f"{self.path(digest).name}.image"
        with self.writing():
            while True:
                path.mkdir(exist_ok=True)
                try:
                    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                except FileNotFoundError:  # whoever held it is done with it
                    continue
                with contextlib.ExitStack() as stack:
                    stack.callback(os.close, descriptor)
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                    if _is_still(path, descriptor):
                        try:
                            yield path
                        except BaseException:
                            with contextlib.suppress(OSError):
                                path.rmdir()  # nothing came
                            raise
                        shutil.rmtree(path)
                        return

    def collected(self) -> int:
        """Return the bytes that lie in workspaces and are not yet in the store."""
        size = 0
        for folder, _, names in os.walk(self._partial):
            if ".image" not in folder:
                continue
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    found = (Path(folder) / name).lstat()
                    size += found.st_size if found.st_nlink == 1 else 0  # what is linked is in the store
        return size

    def take(self, path: Path, digest: str) -> bool:
        """Move a file of the same file system into the store if its bytes are those of ``digest``; else delete it."""
        with path.open("rb") as stream:
            found, _ = digest_of_stream(stream)
            if found == digest:
                self._publish(stream, path, self.path(digest))
                return True
        path.unlink()
        return False

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[IO[bytes]]:
        with self.writing():
            stream = tempfile.NamedTemporaryFile(dir=self._partial, prefix="tmp-", delete=False)  # noqa: SIM115 - closed below
            try:
                yield stream
            finally:
                stream.close()
                Path(stream.name).unlink(missing_ok=True)

    def verify(self, digest: str) -> None:
        """Read a file again.

        Raises:
            EdgeError: it is missing or its bytes changed since they were stored.
        """
        path = self.path(digest)
        if not path.is_file():
            raise EdgeError(Problem(str(path), "this is not in the store", remedy="Run 'edgewright fetch'."))
        found, _ = digest_of_file(path)
        if found != digest:
            raise mismatch(str(path), digest, found, "The disk changed it: run 'edgewright fetch --verify'.")

    def discard(self, digest: str) -> None:
        """Take a file out of the store."""
        self.path(digest).unlink(missing_ok=True)
        self.control_path(digest).unlink(missing_ok=True)

    def clean_leftovers(self, *, downloads: bool = False) -> int:
        """Delete what interrupted writers left, unless somebody is writing; return the bytes that were freed.

        Cut-off downloads are kept, to be resumed, unless ``downloads`` is set.
        """
        self._partial.mkdir(parents=True, exist_ok=True)
        freed = 0
        with (self._partial / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            for path in sorted(self._partial.iterdir()):
                if path.name.startswith("tmp-") or (downloads and path.suffix == ".part"):
                    freed += path.stat().st_size
                    path.unlink()
                elif downloads and path.suffix == ".image":
                    freed += sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
                    shutil.rmtree(path)
        return freed


def _is_still(path: Path, descriptor: int) -> bool:
    held = os.fstat(descriptor)
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)

"""Writing what a site's lock pins into a folder or an archive (the form is in ``transfer``)."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tarfile
from typing import TYPE_CHECKING, BinaryIO

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.exits import NeedsNetworkError
from edgewright.store import digest_of_file, digest_of_stream
from edgewright.transfer import MARKER, Entry, SiteContents, content_path, marker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.reporter import Reporter
    from edgewright.store import Store

PIECE = 2 << 30  # bytes; FAT has no file of 4 GiB
_CHUNK = 1 << 20
_SPARE = 16 << 20


def contents_of(site: str, lock: Path, digests: Mapping[str, str], store: Store) -> SiteContents:
    """Return what to export for a site, its lock file included; that is put into the store.

    Args:
        site: its name.
        lock: its lock file.
        digests: digest to name of all that the lock pins.
        store: where all of it must be.

    Raises:
        NeedsNetworkError: something is not in the store; all of it.
    """
    remedy = "Run 'edgewright fetch' where there is a network."
    lacking = sorted({name for digest, name in digests.items() if not store.has(digest)})
    if lacking:
        raise NeedsNetworkError([Problem(name, "this is not in the store", remedy=remedy) for name in lacking])
    with lock.open("rb") as stream:
        digest, size = store.adopt_stream(stream)
    files = [Entry(each, store.path(each).stat().st_size, name) for each, name in sorted(digests.items())]
    return SiteContents(site, digest, (Entry(digest, size, lock.name), *files))


def write_folder(contents: SiteContents, store: Store, folder: Path, reporter: Reporter, piece: int = PIECE) -> int:
    """Write an export into a folder, beside the sites that it has; return the bytes that were written.

    What an earlier run wrote is read again and kept if it is right. The index of the site comes last.

    Raises:
        EdgeError: the folder holds something else, the disk is too small, or the store is damaged.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARKER).is_file())):
        expected = "a folder that is empty, not there, or an export"
        remedy = f"Give a folder of its own, such as {folder / 'edgewright'}."
        raise EdgeError(Problem(str(folder), "this folder holds something else", expected=expected, remedy=remedy))
    folder.mkdir(parents=True, exist_ok=True)
    done = written = 0
    total = sum(each.size for each in contents.files)
    todo = []
    for entry in contents.files:
        reporter.progress("compare", done, total)
        if not _is_there(folder / content_path(entry.digest), entry, piece):
            todo.append(entry)
        done += entry.size
    _check_space(folder, sum(each.size for each in todo))
    _write(folder / MARKER, marker())
    for entry in todo:
        reporter.progress("export", written, sum(each.size for each in todo))
        _copy(store, entry, folder / content_path(entry.digest), piece)
        written += entry.size
    _write(folder / contents.path, contents.to_bytes())
    return written


def write_archive(contents: SiteContents, store: Store, file: Path, reporter: Reporter) -> int:
    """Write an export as a tar archive, the same bytes for the same contents; return the bytes of its files.

    Raises:
        EdgeError: the archive is there already, the disk is too small or takes no file of that size, or the store is
            damaged. Nothing is left then.
    """
    if file.exists():
        remedy = "Remove it, or give another name. (A folder can be added to, and an interrupted export to it goes on.)"
        raise EdgeError(Problem(str(file), "the archive is there already", remedy=remedy))
    file.parent.mkdir(parents=True, exist_ok=True)
    total = sum(each.size for each in contents.files)
    _check_space(file.parent, total)
    partial = file.with_name(f".{file.name}.partial")
    try:
        with partial.open("wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for name, raw in ((MARKER, marker()), (contents.path, contents.to_bytes())):
                    archive.addfile(_member(name, len(raw)), io.BytesIO(raw))
                done = 0
                for entry in sorted(contents.files, key=lambda each: each.digest):
                    reporter.progress("export", done, total)
                    _add(archive, store, entry)
                    done += entry.size
            stream.flush()
            os.fsync(stream.fileno())
        partial.rename(file)
    except OSError as error:
        if error.errno == errno.EFBIG:
            remedy = "Export into a folder instead: there large files are written in pieces."
            raise EdgeError(Problem(str(file), "the file system takes no file of this size", remedy=remedy)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)
    return total


def _is_there(path: Path, entry: Entry, piece: int) -> bool:
    if entry.size <= piece:
        return path.is_file() and digest_of_file(path) == (entry.digest, entry.size)
    hasher = hashlib.sha256()
    for index in range(-(-entry.size // piece)):
        part = path.with_name(f"{path.name}.{index:03}")
        if not part.is_file():
            return False
        with part.open("rb") as stream:
            digest_of_stream(stream, hasher.update)
    return f"sha256:{hasher.hexdigest()}" == entry.digest


def _copy(store: Store, entry: Entry, path: Path, piece: int) -> None:
    """Copy a file, in pieces if it is large; a piece gets its name when the whole was read and is right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = (
        [path]
        if entry.size <= piece
        else [path.with_name(f"{path.name}.{n:03}") for n in range(-(-entry.size // piece))]
    )
    temporary = [name.with_name(f"{name.name}.tmp") for name in names]
    hasher = hashlib.sha256()
    try:
        with store.path(entry.digest).open("rb") as source:
            for part in temporary:
                with part.open("wb") as stream:
                    _pour(source, stream, piece, hasher)
        if f"sha256:{hasher.hexdigest()}" != entry.digest:
            raise _damaged(entry)
        for part, name in zip(temporary, names, strict=True):
            part.replace(name)
    finally:
        for part in temporary:
            part.unlink(missing_ok=True)


def _pour(source: BinaryIO, stream: BinaryIO, most: int, hasher: hashlib._Hash) -> None:
    left = most
    while left and (data := source.read(min(_CHUNK, left))):
        stream.write(data)
        hasher.update(data)
        left -= len(data)
    stream.flush()
    os.fsync(stream.fileno())


def _add(archive: tarfile.TarFile, store: Store, entry: Entry) -> None:
    with store.path(entry.digest).open("rb") as source:
        watched = _Watched(source)
        archive.addfile(_member(content_path(entry.digest), entry.size), watched)
        if f"sha256:{watched.hasher.hexdigest()}" != entry.digest:
            raise _damaged(entry)


class _Watched(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.hasher = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self.hasher.update(data)
        return data


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member


def _damaged(entry: Entry) -> EdgeError:
    what = "the disk changed it in the store"
    return EdgeError(Problem(entry.name, what, expected=entry.digest, remedy="Run 'edgewright fetch --verify'."))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        found, expected = f"{free / 1e6:.0f} MB free", f"{(needed + _SPARE) / 1e6:.0f} MB"
        raise EdgeError(Problem(str(folder), "there is not enough free space", found, expected, "Use a larger medium."))

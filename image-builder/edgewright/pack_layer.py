"""The files of a model pack's archive (tar, also compressed), read one after the other and never unpacked.

An archive can be made to do harm to whoever believes it: names that lead out of the folder, links, devices, files with
holes that are larger than any disk, headers that claim gigabytes, compression that makes much out of little. Nothing
here is written by a name or a size of the archive, and what is decompressed has a limit.
"""

from __future__ import annotations

import contextlib
import gzip
import subprocess
import tarfile
import zlib
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Protocol, TypeVar, cast

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.tools.qemu import find_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Result = TypeVar("Result")

_MIB = 1 << 20
# Weights hardly compress (model-spec, docs/spec.md, "Guidance on Layers"); a hundred times is zeros.
_MOST_TIMES = 100
_ALWAYS_ALLOWED = 64 * _MIB
# No header is so long; a file is read in smaller pieces.
_LONGEST_READ = 16 * _MIB
_MOST_FILES = 100_000
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
_REMEDY = "Do not trust this pack: make or copy it again."


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_files(
    path: Path, form: str, wanted: str, where: str, take: Callable[[IO[bytes]], Result]
) -> list[tuple[str, Result]]:
    """Give the open content of the wanted file to ``take``, of every file if ``wanted`` is empty.

    Args:
        path: the archive.
        form: ``tar``, ``tar+gzip`` or ``tar+zstd``.
        wanted: path in the archive.
        where: who asks for it, for errors.
        take: reads a file to its end.

    Returns:
        Path in the archive and what ``take`` returned, of each such file.

    Raises:
        EdgeError: the archive is damaged or would do harm; nothing after that is read.
    """
    try:
        with _decompressed(path, form) as source:
            most = _MOST_TIMES * path.stat().st_size + _ALWAYS_ALLOWED
            # Everything that tarfile does with it is there.
            forward = _Forward(source, most, where)
            with tarfile.TarFile(fileobj=cast("IO[bytes]", forward), mode="r") as archive:
                found = [(name, take(content)) for name, content in _files(archive, wanted, where)]
            # One that is cut off or damaged behind its last file is told, too.
            while forward.read(_MIB):
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise EdgeError(Problem(where, f"the pack's {form} archive is damaged ({error})", remedy=_REMEDY)) from None
    else:
        return found


def _files(archive: tarfile.TarFile, wanted: str, where: str) -> Iterator[tuple[str, IO[bytes]]]:
    seen: set[str] = set()
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined] # it would keep all that it has read
        name = _name(member.name, where)
        if member.isdir():
            continue
        if name in seen:
            raise EdgeError(Problem(where, "the pack's archive has a file twice", name, remedy=_REMEDY))
        seen.add(name)
        if len(seen) > _MOST_FILES:
            found = f"more than {_MOST_FILES}"
            raise EdgeError(Problem(where, "the pack's archive has too many files", found, remedy=_REMEDY))
        if wanted and name != wanted:
            continue
        content = archive.extractfile(member) if member.type in _PLAIN and not member.issparse() else None
        if content is None:
            what = "the pack's archive has no plain file there, but a link, a device or a file with holes"
            raise EdgeError(Problem(where, what, name, remedy=_REMEDY))
        yield name, content


def _name(written: str, where: str) -> str:
    path = PurePosixPath(written)
    if path.is_absolute() or ".." in path.parts:
        what = "the pack's archive has a path that leads out of it"
        raise EdgeError(Problem(where, what, repr(written)[:200], remedy=_REMEDY))
    return str(path)


@contextlib.contextmanager
def _decompressed(path: Path, form: str) -> Iterator[_Readable]:
    if form == "tar+zstd":
        words = [find_program("zstd", "zstd"), "-dcq", "--", str(path)]
        # What it has to say of the archive, its exit code says too.
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            output = cast("IO[bytes]", process.stdout)
            try:
                yield output
                if process.wait():
                    raise EOFError("zstd cannot decompress it")
            finally:
                process.kill()
        return
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(path.open("rb"))
        yield stack.enter_context(gzip.GzipFile(fileobj=stream)) if form == "tar+gzip" else stream


class _Forward:
    """A stream that is read once, from its beginning on, up to a limit; as much of a file as ``tarfile`` needs."""

    def __init__(self, stream: _Readable, most: int, where: str) -> None:
        self._stream = stream
        self._most = most
        self._where = where
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        while self._position < position and self.read(min(_MIB, position - self._position)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise EdgeError(
                Problem(self._where, "the pack's archive has a header that lies", f"{size} bytes", remedy=_REMEDY)
            )
        pieces = []
        while size and (piece := self._stream.read(size)):
            pieces.append(piece)
            size -= len(piece)
            self._position += len(piece)
            if self._position > self._most:
                found = f"more than {self._most} bytes"
                what = f"the pack's archive decompresses to more than {_MOST_TIMES} times its size"
                raise EdgeError(Problem(self._where, what, found, remedy=_REMEDY))
        return b"".join(pieces)

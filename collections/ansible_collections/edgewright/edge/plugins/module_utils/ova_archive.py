"""An OVA: an OVF package in a tar file (DSP0243, 5.3), looked at without unpacking anything."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems

if TYPE_CHECKING:
    from typing import BinaryIO

MOST_MEMBERS: Final = 1000
_LONGEST_HEADER: Final = 65536
_EXTENSIONS: Final = frozenset({tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE})
_KINDS: Final = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_LONGLINK: "a link",
    tarfile.GNUTYPE_SPARSE: "a sparse member",
    tarfile.CONTTYPE: "a contiguous file",
}


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name, where its content begins, and how many bytes that has."""

    name: str
    offset: int
    size: int


class _Header(tarfile.TarInfo):
    """A header that is refused at once when it is damaged, or when reading on would need much memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        # Nothing, or a block of zeros, is the end of an archive: tarfile's own error says so.
        if len(buf) in {0, tarfile.BLOCKSIZE} and not any(buf):
            return super().frombuf(buf, encoding, errors)
        try:
            header = super().frombuf(buf, encoding, errors)
        except (tarfile.HeaderError, ValueError) as error:
            # tarfile takes a damaged header after the first for the end of the archive.
            raise _DamagedError(str(error)) from None
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > _LONGEST_HEADER):
            raise _DamagedError(f"a header of {header.size} bytes")
        return header


class _DamagedError(Exception):
    """An archive that is not read on."""


def members(archive: BinaryIO, size: int, *, where: str) -> dict[str, Member]:
    """Return the files of an archive by name, in their order; nothing is written anywhere.

    Args:
        archive: the tar file, uncompressed, at any position.
        size: its bytes.
        where: its path, for errors.

    Raises:
        EdgeError: damaged or cut off; and all members that are no plain files, leave the folder, share a name, or
            reach beyond the archive's end.
    """
    found: list[tarfile.TarInfo] = []
    archive.seek(0)
    try:
        with tarfile.open(fileobj=archive, mode="r:", tarinfo=_Header) as reader:
            for header in reader:
                found.append(header)
                if len(found) > MOST_MEMBERS:
                    break
    except (
        _DamagedError,
        tarfile.TarError,
        ValueError,
        OverflowError,
        EOFError,
        OSError,
        KeyError,
        IndexError,
    ) as error:
        raise EdgeError(
            Problem(where, f"is not a whole tar archive ({error})", remedy="Copy the package again.")
        ) from None
    problems = Problems()
    if len(found) > MOST_MEMBERS:
        problems.add(where, "has too many members", expected=f"{MOST_MEMBERS} at most")
    taken: dict[str, Member] = {}
    for header in found:
        if header.isdir():
            problems.add(where, "has a folder in it; an OVA has files only", found=repr(header.name))
            continue
        if what := _wrong(header, size, taken):
            problems.add(where, what, found=repr(header.name), remedy="Do not trust this archive; export it again.")
            continue
        taken[header.name] = Member(header.name, header.offset_data, header.size)
    if not found:
        problems.add(where, "has no files in it")
    problems.raise_if_any()
    return taken


def _wrong(header: tarfile.TarInfo, size: int, taken: dict[str, Any]) -> str:
    """Return what a member is refused for; nothing when it may be read."""
    if not header.isreg() or header.issparse() or header.type in _KINDS:
        return f"has {_KINDS.get(header.type, 'a member of a strange kind')} in it"
    if not plain_name(header.name):
        return "has a member whose name leaves the folder"
    if header.name in taken:
        return "has two members of one name"
    if header.size < 0 or header.offset_data + header.size > size:
        return "is cut off: a member ends beyond the archive's end"
    return ""


def plain_name(name: str) -> bool:
    """Tell whether a name stays in the folder of its package: relative, without ``..``, scheme or odd characters."""
    path = PurePosixPath(name)
    return bool(
        name
        and name.isprintable()
        and not path.is_absolute()
        and ".." not in path.parts
        and "\\" not in name
        and ":" not in name
        and str(path) == name
        and name != "."
    )

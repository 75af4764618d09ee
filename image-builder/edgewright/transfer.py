"""The form in which artifacts cross an air gap: a folder (on a stick, say) or one tar archive of the same files.

Layout::

    edgewright-artifacts.json      what this is: ``{"format": 1}``
    sites/<hex>.json               what one site's lock pins; ``<hex>`` is the lock's SHA-256 (see ``SiteContents``)
    sha256/ab/abcdef…              one file, its name is its SHA-256; locks are among them
    sha256/ab/abcdef….000 .001 …   the same in pieces of 2 GiB, if it is larger: FAT ends at 4 GiB

All names are short and in lower case, without colons, so that FAT and exFAT take them. Several sites share the files
that they have in common. Nothing in here is trusted: a file is taken only if its bytes have the digest of its name, and
which digests a site is built from its lock says, which lies in the inventory.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgewright.store import Readable

FORMAT = 1
MARKER = "edgewright-artifacts.json"
_MARKER_TEXT = json.dumps({"format": FORMAT}) + "\n"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SITE_FILE = re.compile(r"sites/[0-9a-f]{64}\.json")
_CONTENT_FILE = re.compile(r"sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})(\.[0-9]{3})?")
_FOLDER = re.compile(r"sites|sha256(/[0-9a-f]{2})?")
_LONGEST_INDEX = 64 << 20  # bytes


@dataclass(frozen=True)
class Entry:
    """One file: ``digest`` is ``sha256:<hex>``, ``size`` in bytes, ``name`` is for people."""

    digest: str
    size: int
    name: str


@dataclass(frozen=True)
class SiteContents:
    """What one site's lock pins, the lock itself included (``lock`` is its digest)."""

    site: str
    lock: str
    files: tuple[Entry, ...]

    @property
    def path(self) -> str:
        """Where this lies in an export."""
        return f"sites/{self.lock.removeprefix('sha256:')}.json"

    def to_bytes(self) -> bytes:
        """Return the index as a file: the same bytes for the same content."""
        files = [{"digest": each.digest, "size": each.size, "name": each.name} for each in self.files]
        data = {"format": FORMAT, "site": self.site, "lock": self.lock, "files": files}
        return (json.dumps(data, indent=1, ensure_ascii=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, raw: bytes, where: str) -> SiteContents:
        """Read an index.

        Raises:
            EdgeError: it is damaged, or of another format; ``where`` is the file.
        """
        try:
            data: Any = json.loads(raw)
            if data["format"] != FORMAT:
                found = repr(data["format"])[:50]
                remedy = "Use the release of edgewright that wrote it."
                raise EdgeError(Problem(where, "the export has another format", found, str(FORMAT), remedy))
            files = tuple(Entry(each["digest"], each["size"], each["name"]) for each in data["files"])
            contents = cls(data["site"], data["lock"], files)
            good = isinstance(contents.site, str) and _is_digest(contents.lock)
            for each in files:
                good = good and _is_digest(each.digest) and type(each.size) is int and isinstance(each.name, str)
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            raise EdgeError(Problem(where, "the index is damaged", remedy="Export it again."))
        return contents


def marker() -> bytes:
    """Return the file that says what an export is."""
    return _MARKER_TEXT.encode()


def content_path(digest: str) -> str:
    """Return where a file lies in an export."""
    value = digest.removeprefix("sha256:")
    return f"sha256/{value[:2]}/{value}"


class Export(Protocol):
    """An export that is read."""

    name: str
    sites: tuple[SiteContents, ...]

    def open(self, entry: Entry) -> contextlib.AbstractContextManager[Readable | None]:
        """Open a file, pieces joined; ``None`` if it is not there."""
        ...


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Export]:
    """Open an export: a folder or an archive.

    Raises:
        EdgeError: there is none, it is damaged, or the archive has members that no export has (a path out of it, a
            link, a device); all of them. Nothing was read of its files then.
    """
    if path.is_dir():
        yield _FolderExport(path)
    elif path.is_file():
        try:
            archive = tarfile.open(path, "r:")  # noqa: SIM115 - closed below
        except (tarfile.TarError, EOFError) as error:
            raise _no_export(path, f"a file that is no tar archive ({error})") from None
        with archive:
            yield _ArchiveExport(path, archive)
    else:
        raise _no_export(path, "nothing")


class _FolderExport:
    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder
        if not (folder / MARKER).is_file():
            raise _no_export(folder, f"a folder without {MARKER}")
        problems = Problems()
        sites = []
        for path in sorted((folder / "sites").glob("*.json")):
            if _SITE_FILE.fullmatch(f"sites/{path.name}"):
                with problems.collecting():
                    sites.append(SiteContents.from_bytes(path.read_bytes(), str(path)))
        problems.raise_if_any()
        self.sites = _some(sites, folder)

    @contextlib.contextmanager
    def open(self, entry: Entry) -> Iterator[Readable | None]:
        path = self._folder / content_path(entry.digest)
        pieces = [path] if path.is_file() else _numbered(path)
        if not pieces:
            yield None
            return
        with contextlib.ExitStack() as stack:
            yield _Joined(stack.enter_context(piece.open("rb")) for piece in pieces)


class _ArchiveExport:
    def __init__(self, path: Path, archive: tarfile.TarFile) -> None:
        self.name = str(path)
        self._archive = archive
        problems = Problems()
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            for member in archive:
                self._check(member, problems)
        except (tarfile.TarError, EOFError) as error:
            problems.add(self.name, f"the archive is damaged ({error})", remedy="Export it again.")
        problems.raise_if_any()
        if MARKER not in self._members:
            raise _no_export(path, f"an archive without {MARKER}")
        sites = []
        for name, member in sorted(self._members.items()):
            if _SITE_FILE.fullmatch(name):
                with problems.collecting():
                    sites.append(SiteContents.from_bytes(self._read(member), f"{path}: {name}"))
        problems.raise_if_any()
        self.sites = _some(sites, path)

    def _check(self, member: tarfile.TarInfo, problems: Problems) -> None:
        name = member.name
        known = name == MARKER or _SITE_FILE.fullmatch(name) or _CONTENT_FILE.fullmatch(name)
        if (known and member.isfile()) or (_FOLDER.fullmatch(name) and member.isdir()):
            self._members[name] = member
            return
        kind = "file" if member.isfile() else "folder" if member.isdir() else "link" if member.issym() else "member"
        remedy = "Do not use it: edgewright writes no such archive."
        problems.add(self.name, f"the archive has a {kind} that no export has", found=repr(name)[:200], remedy=remedy)

    def _read(self, member: tarfile.TarInfo) -> bytes:
        stream = self._archive.extractfile(member) if member.size <= _LONGEST_INDEX else None
        return stream.read() if stream else b""

    @contextlib.contextmanager
    def open(self, entry: Entry) -> Iterator[Readable | None]:
        name = content_path(entry.digest)
        names = [name] if name in self._members else []
        while not names or names[-1] != name:  # pieces
            piece = f"{name}.{len(names):03}"
            if piece not in self._members:
                break
            names.append(piece)
        if not names:
            yield None
            return
        streams = (self._archive.extractfile(self._members[each]) for each in names)
        yield _Joined(stream for stream in streams if stream is not None)


class _Joined:
    """Files one after the other, as one stream."""

    def __init__(self, streams: Iterator[Any]) -> None:
        self._streams = streams
        self._current: Any = io.BytesIO()

    def read(self, size: int = 1 << 20, /) -> bytes:
        while not (data := self._current.read(size)):
            following = next(self._streams, None)
            if following is None:
                return b""
            self._current = following
        return bytes(data)


def _numbered(path: Path) -> list[Path]:
    pieces: list[Path] = []
    while (piece := path.with_name(f"{path.name}.{len(pieces):03}")).is_file():
        pieces.append(piece)
    return pieces


def _some(sites: list[SiteContents], path: Path) -> tuple[SiteContents, ...]:
    if not sites:
        remedy = "The export was not finished: run 'edgewright artifacts export' again."
        raise EdgeError(Problem(str(path), "the export has no site in it", remedy=remedy))
    return tuple(sites)


def _no_export(path: Path, found: str) -> EdgeError:
    expected = "a folder or archive that 'edgewright artifacts export' wrote"
    return EdgeError(Problem(str(path), "this is no export of artifacts", found, expected))


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None

"""A site's seed: what is secret of each host, as one tar a host, on its way to the media's FAT partitions.

File: a tar archive with ``<host>.tar`` for each host that has secrets and ``SHA256SUMS`` (sha256sum(1)) of them all:
the very files that a medium gets in its folder ``edgewright/seed``. A host's tar has regular files for root alone and
the folders they lie in, below ``etc/`` and ``var/``. The node checks all of it again (``node/root/…/import-seed``).
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems

from edgewright.tools import esp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = "edgewright/seed"
SUMS = "SHA256SUMS"
_HOST_TAR = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,200})\.tar")


@dataclass(frozen=True)
class SiteSeed:
    """The tars of the hosts that have secrets, by host name."""

    tars: Mapping[str, bytes]

    def files(self) -> dict[str, bytes]:
        """Return what belongs into the medium's folder, by file name; ``SHA256SUMS`` is last."""
        files = {f"{host}.tar": content for host, content in sorted(self.tars.items())}
        sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
        return {**files, SUMS: sums.encode()}

    def write(self, path: Path) -> None:
        """Write the seed's file, for its owner alone; it has its name only when it is complete."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
                    for name, content in self.files().items():
                        _add(archive, name, 0o600, content)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> SiteSeed:
        """Read a seed's file.

        Raises:
            EdgeError: there is none, or it is not what ``write`` has made.
        """
        remedy = "Make it again: edgewright seed -i inventories/<site>."
        if not path.is_file():
            raise EdgeError(Problem(str(path), "no such seed", remedy=remedy))
        files: dict[str, bytes] = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.isreg() else None
                    files[member.name] = stream.read() if stream else b""
        except (tarfile.TarError, EOFError) as error:
            raise EdgeError(Problem(str(path), "not a seed", str(error), "a tar archive", remedy)) from error
        found = cls({match[1]: files[name] for name in files if (match := _HOST_TAR.fullmatch(name))})
        if not found.tars or found.files() != files:
            raise EdgeError(
                Problem(
                    str(path),
                    "the seed is damaged, or none",
                    ", ".join(sorted(files)),
                    f"<host>.tar of each host, and {SUMS} that fits",
                    remedy,
                )
            )
        return found


def pack(changes: Path, host: str, epoch: int) -> bytes | None:
    """Pack what a host's ``seed`` phase changed; the same changes are always the same bytes.

    Args:
        changes: a folder with ``etc`` and ``var`` as far as they were changed; root's files belong to this user.
        host: its name, for errors.
        epoch: the date of everything, in seconds since 1970.

    Returns:
        The tar (pax), or ``None`` when there is no file.

    Raises:
        EdgeError: something that no seed may have: not for root alone, or neither file nor folder. Names only paths.
    """
    problems = Problems()
    files = {path: status for path, status in _entries(changes) if not stat.S_ISDIR(status.st_mode)}
    for path, status in files.items():
        if reason := _unfit(status):
            problems.add(
                f"{host}: the seed phase of a role",
                f"/{path.relative_to(changes)} {reason}",
                expected="a regular file of root with mode 0600",
                remedy="What is no secret belongs to the role's configure phase.",
            )
    folders = {parent for path in files for parent in path.parents if parent.is_relative_to(changes)}
    for path in folders:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if len(path.relative_to(changes).parts) > 1 and mode & ~0o755:
            where = f"{host}: the seed phase of a role"
            problems.add(where, f"/{path.relative_to(changes)} has the mode {mode:04o}", expected="at most 0755")
    problems.raise_if_any()
    if not files:
        return None
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted((*folders, *files), key=lambda path: path.parts):
            name = path.relative_to(changes)
            if len(name.parts) > 1:
                content = None if path in folders else path.read_bytes()
                _add(archive, str(name), stat.S_IMODE(path.lstat().st_mode), content, epoch)
    return target.getvalue()


def paths(tar: bytes) -> list[str]:
    """Return the absolute paths of the files in a host's tar."""
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
        return [f"/{member.name}" for member in archive if member.isreg()]


def place(disk: Path, seed: SiteSeed) -> None:
    """Put the tars into the folder ``edgewright/seed`` of a medium's ESP, and read them back from the medium.

    What an earlier seed has left there goes. ``SHA256SUMS`` comes last: without it a node takes nothing.

    Raises:
        EdgeError: no ESP, no room, or something reads back differently; says what is on the medium then.
    """
    files = seed.files()
    try:
        esp.remove_folder(disk, FOLDER)
        for name, content in files.items():
            esp.write(disk, f"{FOLDER}/{name}", content)
        esp.settle(disk)
        back = {name: esp.read(disk, f"{FOLDER}/{name}") for name in files}
    except esp.EspError as error:
        raise EdgeError(
            Problem("--seed", str(error), "", "", "The image is written, but not the whole seed.")
        ) from error
    # mcopy reports no full disk when it reads what it writes from a pipe.
    if any(len(back[name]) < len(content) for name, content in files.items()):
        need = f"{sum(map(len, files.values()))} bytes"
        raise EdgeError(Problem(str(disk), "the FAT partition has no room for the seed", "", f"{need} free"))
    wrong = [name for name, content in files.items() if back[name] != content]
    if wrong:
        what = f"{', '.join(wrong)} of the seed read back differently from what was written"
        raise EdgeError(Problem(str(disk), what, "", "", "The medium is worn out or false: use another."))


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent) / name
            yield path, path.lstat()


def _unfit(status: os.stat_result) -> str:
    """Say why a file cannot be in a seed; empty when it can."""
    if not stat.S_ISREG(status.st_mode):
        # overlayfs has a character device where something was removed (kernel documentation, "whiteouts").
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "removed, or a device"
        return f"is {kind}"
    if status.st_uid != os.geteuid() or status.st_gid != os.getegid():
        return "does not belong to root"
    if stat.S_IMODE(status.st_mode) & ~0o700:
        return f"has the mode {stat.S_IMODE(status.st_mode):04o}"
    return ""


def _add(archive: tarfile.TarFile, name: str, mode: int, content: bytes | None, epoch: int = 0) -> None:
    """Add a file, or a folder when there is no content, that belongs to root (0:0, without names)."""
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = mode, epoch
    if content is None:
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    else:
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))

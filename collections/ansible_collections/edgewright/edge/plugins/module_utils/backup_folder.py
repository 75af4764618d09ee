"""The folder of a backup in the making: complete under its name, or not there."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils import backup_members, machine_backup
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.medium import flush

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ansible_collections.edgewright.edge.plugins.module_utils.machine_backup import MachineBackup

_PARTIAL = ".partial"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def members(folder: Path) -> list[str]:
    """Return the names of the files in a backup, its manifest not among them.

    Raises:
        EdgeError: something in it is neither a file nor a folder: a link could lead anywhere.
    """
    problems, names = Problems(), []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            problems.add(f"{folder}: {name}", "is not a plain file", remedy=backup_members.ANOTHER)
        elif path.is_file() and name != backup_members.MANIFEST:
            names.append(name)
    problems.raise_if_any()
    return names


def make_passable(folder: Path) -> None:
    """Make a folder, and what is missing above it, that others may pass but not list, whatever the umask."""
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir()
        missing.chmod(0o711)


def read(folder: Path) -> MachineBackup:
    """Return what the manifest of a backup says.

    Raises:
        EdgeError: there is none, or it is wrong; says all of it.
    """
    path = folder / backup_members.MANIFEST
    if not path.is_file() or path.is_symlink():
        remedy = "Give a folder that backup_vms.yml made."
        raise EdgeError(Problem(str(folder), f"has no {backup_members.MANIFEST}", remedy=remedy))
    return machine_backup.from_json(path.read_text(encoding="utf-8", errors="replace"), where=str(folder))


class BackupFolder:
    """Where a backup is made.

    Args:
        directory: folder of the backups.
        planned: the backup.
    """

    def __init__(self, directory: Path, planned: MachineBackup) -> None:
        self._directory = directory
        self._planned = planned
        self.path = directory / planned.name
        self._work = directory / f".{planned.name}{_PARTIAL}"

    def check(self, needed: int, *, by_qemu: bool) -> None:
        """Accept a folder with so many bytes of room, which QEMU's user can reach if QEMU is to write there.

        Raises:
            EdgeError: it is none; says all of it.
        """
        problems = Problems()
        there = next(folder for folder in (self._directory, *self._directory.parents) if folder.exists())
        half_made = sum(path.lstat().st_blocks * 512 for old in self._half_made() for path in old.rglob("*"))
        with problems.collecting():
            free = shutil.disk_usage(there).free + half_made
            machine_backup.check_space(needed, free, where=str(self._directory))
        for folder in (there, *there.parents) if by_qemu else ():
            if not folder.stat().st_mode & 0o001:
                problems.add(
                    str(folder),
                    "cannot be passed by QEMU, which writes the copies of a running machine as its own user",
                    found=f"mode {folder.stat().st_mode & 0o7777:04o}",
                    remedy=f"Run 'chmod o+x {folder}', or give another folder.",
                )
        if self.path.exists():
            problems.add(str(self.path), "is there already", remedy="Try again in a second.")
        problems.raise_if_any()

    def superfluous(self, keep: int) -> list[Path]:
        """Return the machine's backups that are too many once this one is made."""
        present = [path.name for path in self._directory.iterdir()] if self._directory.is_dir() else []
        names = machine_backup.backups_of([*present, self.path.name], self._planned.site, self._planned.machine)
        return [self._directory / name for name in backup_members.superfluous(names, keep, made=self.path.name)]

    def take_back(self) -> None:
        """Own all backups of the machine: a playbook that was killed while it fetched one has left it to its user."""
        owner, group = os.geteuid(), os.getegid()
        names = machine_backup.backups_of(
            [path.name for path in self._directory.iterdir()], self._planned.site, self._planned.machine
        )
        for name in names:
            # The folder first: whoever has it could put a link in a file's place.
            for path in (self._directory / name, *sorted((self._directory / name).rglob("*"))):
                if path.lstat().st_uid != owner:
                    os.chown(path, owner, group, follow_symlinks=False)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs for the same machine out; what they have left half made is gone then.

        Raises:
            EdgeError: one is under way.
        """
        make_passable(self._directory)
        lock = os.open(
            self._directory / f".{self._planned.site}-{self._planned.machine}.lock", os.O_RDWR | os.O_CREAT, 0o600
        )
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EdgeError(
                    Problem(self._planned.machine, "is being backed up already", remedy="Wait for that to end.")
                ) from None
            yield
        finally:
            os.close(lock)

    @contextmanager
    def being_made(self) -> Iterator[Path]:
        """Give an empty folder to fill; what is in it without ``finish`` is gone afterwards."""
        for old in self._half_made():
            shutil.rmtree(old)
        self._work.mkdir(mode=0o700)
        try:
            yield self._work
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def finish(self, consistency: str) -> MachineBackup:
        """Write the manifest, and give the folder its name when all is on the medium."""
        found = {name: digest(self._work / name) for name in members(self._work)}
        made = replace(self._planned, consistency=consistency, members=found)
        (self._work / backup_members.MANIFEST).write_text(made.to_json(), encoding="utf-8")
        for path in [*self._work.rglob("*"), self._work]:
            path.chmod(0o700 if path.is_dir() else 0o600)
            flush(path)
        self._work.rename(self.path)
        flush(self._directory)
        return made

    def remove(self, paths: Iterable[str]) -> None:
        """Remove backups; one that is half removed does not count as one."""
        for path in paths:
            old = self._directory / path
            gone = old.rename(old.with_name(f".{old.name}{_PARTIAL}"))
            shutil.rmtree(gone)

    def _half_made(self) -> list[Path]:
        if not self._directory.is_dir():
            return []
        names = {path.name: path for path in self._directory.glob(f".*{_PARTIAL}")}
        known = machine_backup.backups_of(
            [name[1 : -len(_PARTIAL)] for name in names], self._planned.site, self._planned.machine
        )
        return [names[f".{name}{_PARTIAL}"] for name in known]

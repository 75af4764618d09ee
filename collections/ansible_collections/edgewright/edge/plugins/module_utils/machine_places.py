"""Where a node keeps what a virtual machine has, and how a backup comes to be there instead."""

from __future__ import annotations

import datetime
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils import backup_members, machine_backup, qemu_image
from ansible_collections.edgewright.edge.plugins.module_utils.backup_folder import make_passable
from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_backup import (
    NVRAM_FOLDER,
    TPM_STATE,
    domain_parts,
)
from ansible_collections.edgewright.edge.plugins.module_utils.medium import flush
from ansible_collections.edgewright.edge.plugins.module_utils.qemu_image import SourceImage
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import MIB

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.machine_backup import MachineBackup

_ASIDE: Final = "replaced-by-restore-"
_WORK: Final = ".restore.partial"
UNFINISHED: Final = "restore-unfinished"
"""File beside the disks while they are neither what the machine had nor the backup's; then it must not start."""
_KEPT: Final = 2


@dataclass(frozen=True)
class Place:
    """Where a disk is: its file, its format there, and the number of the user and the group that own it."""

    path: Path
    format: str
    owner: int


class MachinePlaces:
    """The places of one machine.

    Args:
        name: of the machine.
        disks: in the model's order.
        nvram: file of its UEFI variables; ``None`` when it has none, or the runtime keeps them to itself.
        tpm: folder of its TPM's state, likewise.
        libvirt: whether it is a libvirt domain: then what it has besides its disks is known.
    """

    def __init__(
        self,
        name: str,
        disks: list[Place],
        *,
        nvram: Path | None = None,
        tpm: Path | None = None,
        libvirt: bool = False,
    ) -> None:
        self.disks = disks
        self._name = name
        self._nvram = nvram
        self._tpm = tpm
        self._libvirt = libvirt
        first = disks[0].path
        self._home = next((folder for folder in first.parents if folder.name == name), first.parent)

    @classmethod
    def of_domain(cls, xml: str, name: str, state: Path) -> MachinePlaces:
        """Return the places of a libvirt domain.

        Args:
            xml: its definition.
            name: of the machine.
            state: libvirt's folder of state.

        Raises:
            EdgeError: the definition is none, or has disks that are no files.
        """
        parts = domain_parts(xml, where="xml")
        # libvirt's own name for it (qemu_domain.c, qemuDomainNVRAMPathFormat), in Debian's format.
        nvram = Path(parts.nvram) if parts.nvram else state / NVRAM_FOLDER / f"{name}_VARS.fd"
        return cls(
            name,
            [Place(Path(disk.path), disk.format, 0) for disk in parts.disks],
            nvram=nvram if parts.uefi else None,
            tpm=state / TPM_STATE.format(uuid=parts.uuid) if parts.tpm else None,
            libvirt=True,
        )

    def check_fit(self, backup: MachineBackup, site: str, *, where: str) -> None:
        """Accept a backup of this machine as it is declared.

        Raises:
            EdgeError: it is another's, or the machine has changed too much; says all of it.
        """
        machine_backup.check_fit(
            backup,
            site,
            self._name,
            disks=len(self.disks),
            tpm=self._tpm is not None if self._libvirt else None,
            nvram=self._nvram is not None if self._libvirt else None,
            where=where,
        )

    def check_images(self, folder: Path, backup: MachineBackup, *, needed: bool) -> None:
        """Accept images that are whole disks of the size in the manifest, with room for them here.

        Args:
            folder: the backup.
            backup: what its manifest says.
            needed: whether it is an error that there is no ``qemu-img`` to look with.

        Raises:
            EdgeError: one is not, or there is too little room; says all of it.
        """
        if not needed and shutil.which("qemu-img") is None:
            return
        problems, space = Problems(), MIB
        for disk in backup.disks:
            image = SourceImage(folder / disk.member, "qcow2")
            with problems.collecting():
                found = image.info().virtual_size
                space += image.measure("qcow2")
                if found != disk.size:
                    at = str(folder / disk.member)
                    problems.add(at, "is not as large as its manifest says", found=str(found), expected=str(disk.size))
        there = next(place for place in (self._home, *self._home.parents) if place.exists())
        if needed:
            with problems.collecting():
                machine_backup.check_space(space, shutil.disk_usage(there).free, where=str(self._home))
        problems.raise_if_any()

    def check_off(self) -> None:
        """Accept disks that nothing has opened.

        Raises:
            EdgeError: the machine runs.
        """
        problems = Problems()
        for disk in self.disks:
            if disk.path.exists() and qemu_image.in_use(disk.path):
                problems.add(str(disk.path), "is in use", remedy=f"Shut {self._name} down first.")
        problems.raise_if_any()

    def left_out(self, backup: MachineBackup) -> list[str]:
        """Return the members of a backup that have no place here."""
        if self._libvirt:
            return []
        return [*([machine_backup.NVRAM] if machine_backup.NVRAM in backup.members else []), *backup.tpm]

    def put_back(self, folder: Path, backup: MachineBackup, *, keep: bool) -> Path | None:
        """Put a backup that was checked in its place.

        Args:
            folder: the backup.
            backup: what its manifest says.
            keep: whether what was there is kept.

        A mark stays from the first rename until all is done, whatever ends this before; and on a machine that lacks
        a disk, from the beginning. Another restore goes on from there.

        Returns:
            The folder of what was there.

        Raises:
            EdgeError: an image cannot be read, or there is no room.
        """
        work, mark = self._home / _WORK, self._home / UNFINISHED
        _remove(work)
        make_passable(self._home)
        marked = mark.exists()
        if not all(place.path.exists() for place in self.disks):
            _mark(mark, folder)
        work.mkdir(mode=0o700)
        try:
            for number, (disk, place) in enumerate(zip(backup.disks, self.disks, strict=True)):
                self._make(SourceImage(folder / disk.member, "qcow2"), work / str(number), place)
            # All that can fail comes before anything is moved: then there are renames only.
            ready = {work / str(number): place.path for number, place in enumerate(self.disks)}
            ready |= self._make_state(folder, backup)
            for target in ready.values():
                make_passable(target.parent)
            # It may have been started meanwhile.
            self.check_off()
            _mark(mark, folder)
            marked = True
            aside = self._exchange(ready)
            mark.unlink()
            flush(self._home)
        except BaseException:
            if not marked:
                mark.unlink(missing_ok=True)
            raise
        finally:
            for half_made in (work, *map(_beside, filter(None, (self._nvram, self._tpm)))):
                _remove(half_made)
        if aside and not keep:
            shutil.rmtree(aside)
            return None
        # Two, for a restore that was cut short and is run again moves half of its own work away.
        kept = [old.name for old in self._home.glob(f"{_ASIDE}*")]
        for name in backup_members.superfluous(kept, _KEPT, made=aside.name) if aside else ():
            shutil.rmtree(self._home / name)
        return aside

    def _make(self, image: SourceImage, target: Path, place: Place) -> None:
        qemu_image.convert(image, target, place.format, lambda _percent: None)
        target.chmod(0o600)
        os.chown(target, place.owner, place.owner)
        flush(target)

    def _exchange(self, ready: dict[Path, Path]) -> Path | None:
        """Move away what is there, and what was made to its place; returns the folder of what was there."""
        aside = self._move_away()
        for made, target in ready.items():
            made.rename(target)
        for touched in {self._home, *filter(None, [aside]), *(target.parent for target in ready.values())}:
            flush(touched)
        return aside

    def _move_away(self) -> Path | None:
        there = {place.path: f"disk{number}{place.path.suffix}" for number, place in enumerate(self.disks)}
        if self._nvram:
            there[self._nvram] = machine_backup.NVRAM
        if self._tpm:
            there[self._tpm] = machine_backup.TPM_FOLDER.rstrip("/")
        there = {path: name for path, name in there.items() if path.exists()}
        if not there:
            return None
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self._home / f"{_ASIDE}{now}"
        aside.mkdir(mode=0o700)
        for path, name in there.items():
            shutil.move(path, aside / name)
        return aside

    def _make_state(self, folder: Path, backup: MachineBackup) -> dict[Path, Path]:
        """Copy UEFI variables and a TPM's state beside their places; libvirt sets owners when it starts the machine.

        Returns:
            What is to be renamed to what.
        """
        ready: dict[Path, Path] = {}
        if self._nvram and machine_backup.NVRAM in backup.members:
            made = _beside(self._nvram)
            make_passable(made.parent)
            shutil.copyfile(folder / machine_backup.NVRAM, made)
            flush(made)
            ready[made] = self._nvram
        if self._tpm and backup.tpm:
            made = _beside(self._tpm)
            _remove(made)
            make_passable(made)
            for name in backup.tpm:
                shutil.copyfile(folder / name, made / Path(name).name)
                flush(made / Path(name).name)
            flush(made)
            ready[made] = self._tpm
        return ready


def _mark(mark: Path, backup: Path) -> None:
    mark.write_text(f"a restore of {backup.name} was cut off; run playbooks/restore_vm.yml again\n", encoding="utf-8")
    mark.chmod(0o644)
    flush(mark)
    flush(mark.parent)


def _beside(path: Path) -> Path:
    """Return where something is made that is to be renamed to a path."""
    return path.with_name(f".{path.name}.partial")


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

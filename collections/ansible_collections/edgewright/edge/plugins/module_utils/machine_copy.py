"""Copies of what a virtual machine consists of: a libvirt domain, running or not, or disks of a machine that is off."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils import qemu_image
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_backup import TPM_STATE, domain_parts
from ansible_collections.edgewright.edge.plugins.module_utils.machine_backup import (
    DEFINITION,
    NVRAM,
    TPM_FOLDER,
    DiskCopy,
    disk_member,
)
from ansible_collections.edgewright.edge.plugins.module_utils.qemu_image import SourceImage
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import MIB
from ansible_collections.edgewright.edge.plugins.module_utils.running_backup import RunningBackup, not_frozen

# Definition, manifest, UEFI variables and a TPM's state.
_BESIDES: Final = 16 * MIB
_READINGS: Final = 100


class PlainMachine:
    """Disks of a machine that is off. QEMU's locks on them say whether it is, and keep it so while they are copied.

    Args:
        images: its disks, in order.
    """

    running = False

    def __init__(self, images: list[SourceImage]) -> None:
        self._images = images
        self._sizes = self._measured()

    def consistency(self) -> str:
        """Return how the copies would be."""
        return "offline"

    def consistency_made(self, frozen: int) -> str:  # noqa: ARG002 (of the other kind of machine)
        """Return how the copies are, with so many file systems frozen."""
        return "offline"

    def disks(self) -> tuple[DiskCopy, ...]:
        """Return its disks as the manifest names them."""
        return tuple(
            DiskCopy(disk_member(number), image.format, size)
            for number, (image, size) in enumerate(zip(self._images, self._sizes, strict=True))
        )

    def space(self, *, compress: bool) -> int:  # noqa: ARG002 (how much that saves is known afterwards)
        """Return how many bytes the copies take at most."""
        return _BESIDES + sum(image.measure("qcow2") for image in self._images)

    def check(self) -> None:
        """Accept it: a machine that is off can be copied."""

    def abandon(self, folder: Path) -> None:
        """Nothing of an interrupted run goes on by itself."""

    def copy(self, work: Path, *, compress: bool) -> tuple[int, str]:
        """Write the copies into a folder; returns how many file systems were frozen, and why none was."""
        for number, image in enumerate(self._images):
            qemu_image.convert(image, work / disk_member(number), "qcow2", _silent, compress=compress)
        return 0, ""

    def _measured(self) -> list[int]:
        problems, sizes = Problems(), []
        for image in self._images:
            with problems.collecting():
                if not image.path.is_file():
                    raise EdgeError(Problem(str(image.path), "does not exist", remedy="Start the machine once."))
                if qemu_image.in_use(image.path):
                    remedy = "Shut it down first; only on libvirt a running machine can be copied."
                    raise EdgeError(Problem(str(image.path), "is in use: its machine runs", remedy=remedy))
                sizes.append(image.info().virtual_size)
        problems.raise_if_any()
        return sizes


class LibvirtMachine:
    """A libvirt domain.

    Args:
        libvirt: the binding.
        domain: libvirt's handle of it.
        state: libvirt's folder of state.
        freeze: whether its file systems are frozen, see ``RunningBackup.begin``.
    """

    def __init__(self, libvirt: Any, domain: Any, state: Path, *, freeze: str) -> None:
        self._libvirt = libvirt
        self._domain = domain
        self._state = state
        self._freeze = freeze
        self.running = bool(domain.isActive())
        self._definition = str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        self._parts = domain_parts(str(domain.XMLDesc(0)), where=domain.name())
        images = [SourceImage(Path(disk.path), disk.format) for disk in self._parts.disks]
        self._off = None if self.running else PlainMachine(images)

    def consistency(self) -> str:
        """Return how the copies would be."""
        return self.consistency_made(int(self._freeze != "never" and self._hears()))

    def check(self) -> None:
        """Accept a machine that can be copied as was asked for, as far as that can be known before.

        Raises:
            EdgeError: it must be frozen, and nothing in it can be asked to.
        """
        if self.running and self._freeze == "require" and not self._hears():
            raise not_frozen(self._domain.name(), "no guest agent is connected, or it is paused")

    def consistency_made(self, frozen: int) -> str:
        """Return how the copies are, with so many file systems frozen."""
        if not self.running:
            return "offline"
        return "filesystem" if frozen else "crash"

    def disks(self) -> tuple[DiskCopy, ...]:
        """Return its disks as the manifest names them."""
        if self._off:
            return self._off.disks()
        return tuple(
            DiskCopy(disk_member(number), disk.format, int(self._domain.blockInfo(disk.target)[0]))
            for number, disk in enumerate(self._parts.disks)
        )

    def space(self, *, compress: bool) -> int:
        """Return how many bytes the copies take at most, in the making."""
        if self._off:
            return self._off.space(compress=compress)
        # What a disk takes now, for its copy is of now; some for the tables of qcow2.
        sizes = [Path(disk.path).stat().st_blocks * 512 for disk in self._parts.disks]
        copies = sum(size + size // 1000 + MIB for size in sizes)
        return _BESIDES + copies * (2 if compress else 1)

    def abandon(self, folder: Path) -> None:
        """End what an interrupted run has left going, which writes below ``folder``.

        Raises:
            EdgeError: another program is copying the domain.
        """
        if self.running:
            RunningBackup(self._libvirt, self._domain).abandon(folder)

    def copy(self, work: Path, *, compress: bool) -> tuple[int, str]:
        """Write the copies into a folder; returns how many file systems were frozen, and why none was.

        Raises:
            EdgeError: something cannot be copied.
        """
        (work / DEFINITION).write_text(self._definition, encoding="utf-8")
        if self._off:
            frozen = self._off.copy(work, compress=compress)
            self._copy_state(work)
        else:
            frozen = self._copy_running(work, compress=compress)
        return frozen

    def _copy_running(self, work: Path, *, compress: bool) -> tuple[int, str]:
        # Here and not there: QEMU's user may go through this folder and not list it.
        work.chmod(0o711)
        job = RunningBackup(self._libvirt, self._domain)
        targets = {}
        for number, (disk, copied) in enumerate(zip(self._parts.disks, self.disks(), strict=True)):
            path = work / (f"copy{number}.qcow2" if compress else disk_member(number))
            qemu_image.create(path, "qcow2", copied.size)
            targets[disk.target] = str(path)
        try:
            frozen = job.begin(targets, freeze=self._freeze, agent=self._hears())
            self._copy_state(work)
            job.wait()
        except BaseException:
            job.abort(work)
            raise
        for number, name in enumerate(targets.values()):
            # libvirt gave them to QEMU's user for that time.
            os.chown(name, os.geteuid(), os.getegid())
            if compress:
                copy = SourceImage(Path(name), "qcow2")
                qemu_image.convert(copy, work / disk_member(number), "qcow2", _silent, compress=True)
                Path(name).unlink()
        work.chmod(0o700)
        return frozen

    def _hears(self) -> bool:
        # The agent of a machine that is paused cannot answer, and its disks are still anyway.
        return self._parts.agent and self._domain.state()[0] != self._libvirt.VIR_DOMAIN_PAUSED

    def _copy_state(self, work: Path) -> None:
        """Copy UEFI variables and what a TPM has: small files, which are written rarely and not in one go."""
        if self._parts.nvram and Path(self._parts.nvram).is_file():
            (work / NVRAM).write_bytes(_settled(Path(self._parts.nvram)))
        folder = self._state / TPM_STATE.format(uuid=self._parts.uuid)
        if self._parts.tpm and folder.is_dir():
            (work / TPM_FOLDER).mkdir()
            for path in sorted(folder.iterdir()):
                # swtpm writes another file and renames it; what begins with a dot is its lock.
                if path.is_file() and not path.is_symlink() and not path.name.startswith((".", "TMP")):
                    shutil.copyfile(path, work / TPM_FOLDER / path.name)


def _settled(path: Path) -> bytes:
    """Read a file until two readings in a row are the same."""
    before = path.read_bytes()
    for _ in range(_READINGS):
        now = path.read_bytes()
        if now == before:
            return now
        before = now
    raise EdgeError(Problem(str(path), "is written all the time", remedy="Make the backup again."))


def _silent(_percent: float) -> None:
    pass

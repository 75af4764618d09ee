"""libvirt's backup job of a running domain: QEMU copies the disks as they are at one moment while the guest goes on.

Talks to libvirt. In push mode QEMU writes the copies itself and puts nothing between the guest and its disks that would
stay: whatever ends the job, the guest goes on writing where it always did (libvirt.org/formatbackup.html).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.frozen_guest import frozen
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_backup import backup_xml, job_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FREEZE: Final = ("auto", "require", "never")
_PAUSE: Final = 0.2


class RunningBackup:
    """The job of one running domain.

    Args:
        libvirt: the binding.
        domain: libvirt's handle of it.
    """

    def __init__(self, libvirt: Any, domain: Any) -> None:
        self._libvirt = libvirt
        self._domain = domain

    def abandon(self, folder: Path) -> None:
        """End a job that an interrupted run has left, which writes below ``folder``.

        Raises:
            EdgeError: there is a job, and it is somebody else's.
        """
        files = self._files()
        if files is None:
            return
        if not _below(files, folder):
            raise EdgeError(
                Problem(
                    self._domain.name(),
                    "is being backed up by another program",
                    found=", ".join(files) or "a job that writes no file",
                    remedy="Wait until it has ended, or end it with 'virsh domjobabort'.",
                )
            )
        self._end()

    def begin(self, targets: Mapping[str, str], *, freeze: str, agent: bool) -> tuple[int, str]:
        """Start copying disks (name: path of an empty qcow2 image of its size), frozen for the moment that counts.

        Args:
            targets: the images.
            freeze: one of ``FREEZE``.
            agent: whether the guest has an agent to ask.

        Returns:
            How many file systems were frozen, and why none was.

        Raises:
            EdgeError: it must be frozen and cannot.
        """
        job, reuse = backup_xml(targets), self._libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL
        if freeze == "never" or (freeze == "auto" and not agent):
            self._domain.backupBegin(job, None, reuse)
            return 0, "it was not asked for" if freeze == "never" else "no guest agent is connected"
        with frozen(self._libvirt, self._domain) as (count, why):
            if freeze == "require" and not count:
                raise not_frozen(self._domain.name(), why)
            self._domain.backupBegin(job, None, reuse)
        return count, why

    def wait(self) -> None:
        """Wait until all disks are copied.

        Raises:
            EdgeError: the job failed, or was ended, or the machine stopped.
        """
        libvirt = self._libvirt
        try:
            while self._domain.jobStats()["type"] != libvirt.VIR_DOMAIN_JOB_NONE:
                time.sleep(_PAUSE)
            done = self._domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        except libvirt.libvirtError as error:
            done = {"errmsg": str(error)}
        if done.get("type") != libvirt.VIR_DOMAIN_JOB_COMPLETED:
            why = done.get("errmsg") or "the job was ended from outside"
            raise EdgeError(
                Problem(self._domain.name(), f"was not copied to its end: {why}", remedy="Make the backup again.")
            )

    def abort(self, folder: Path) -> None:
        """End the job if it writes below ``folder``, and wait until it has ended.

        What else libvirt may be doing with the machine, and may be why ours could not begin, is not ours to end.
        """
        try:
            files = self._files()
        except self._libvirt.libvirtError:
            # The machine stopped, and the job with it.
            return
        if files is not None and _below(files, folder):
            self._end()

    def _files(self) -> list[str] | None:
        """Return the files that a backup of the domain writes; ``None`` where none is being made."""
        libvirt = self._libvirt
        try:
            return job_files(self._domain.backupGetXMLDesc(), where="backup job")
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_BACKUP:
                return None
            raise

    def _end(self) -> None:
        libvirt = self._libvirt
        try:
            if self._domain.jobStats()["type"] != libvirt.VIR_DOMAIN_JOB_NONE:
                self._domain.abortJob()
            while self._domain.jobStats()["type"] != libvirt.VIR_DOMAIN_JOB_NONE:
                time.sleep(_PAUSE)
        except libvirt.libvirtError:
            # The machine stopped, and the job with it.
            return


def not_frozen(name: str, why: str) -> EdgeError:
    """Return the error that a guest with this name must be frozen and cannot."""
    remedy = "Install and start qemu-guest-agent in the guest, or allow a copy as after a power cut."
    return EdgeError(Problem(name, f"cannot be frozen: {why}", remedy=remedy))


def _below(files: list[str], folder: Path) -> bool:
    return bool(files) and all(path.startswith(f"{folder}/") for path in files)

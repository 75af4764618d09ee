"""Whose job a run may end, by a stand-in for libvirt; Molecule has real jobs of real guests (``virtual_machines``)."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_backup import backup_xml
from ansible_collections.edgewright.edge.plugins.module_utils.running_backup import RunningBackup

OURS = Path("/var/lib/edgewright/vm-backups/.shop-till-20261126T021500Z.partial")


class Libvirt:
    """What of the binding is used."""

    VIR_ERR_NO_DOMAIN_BACKUP = 103
    VIR_DOMAIN_JOB_NONE = 0

    class libvirtError(Exception):  # noqa: N801 - as libvirt calls it
        def __init__(self, code):
            super().__init__(f"error {code}")
            self.code = code

        def get_error_code(self):
            return self.code


class Domain:
    """A machine with a job of some kind: a backup into these files, or another that libvirt shows no files of."""

    def __init__(self, files=(), *, busy=True, stopped=False):
        self.files = files
        self.busy = busy
        self.stopped = stopped
        self.aborted = False

    def name(self):
        return "till"

    def backupGetXMLDesc(self):  # noqa: N802 - as libvirt calls it
        if self.stopped:
            raise Libvirt.libvirtError(55)
        if not self.files:
            raise Libvirt.libvirtError(Libvirt.VIR_ERR_NO_DOMAIN_BACKUP)
        return backup_xml({f"vd{number}": str(path) for number, path in enumerate(self.files)})

    def jobStats(self):  # noqa: N802 - as libvirt calls it
        return {"type": 2 if self.busy else Libvirt.VIR_DOMAIN_JOB_NONE}

    def abortJob(self):  # noqa: N802 - as libvirt calls it
        self.aborted, self.busy = True, False


@pytest.mark.parametrize(
    ("domain", "ended"),
    [
        (Domain([OURS / "disk0.qcow2", OURS / "disk1.qcow2"]), True),
        # Another program saves or copies the machine, which is why our job could not begin.
        (Domain(), False),
        (Domain(["/srv/other/disk0.qcow2"]), False),
        (Domain([OURS / "disk0.qcow2", "/srv/other/disk1.qcow2"]), False),
        (Domain(busy=False), False),
        (Domain(stopped=True), False),
    ],
)
def test_a_run_that_fails_ends_its_own_job_and_no_other(domain, ended):
    RunningBackup(Libvirt, domain).abort(OURS)
    assert domain.aborted == ended


def test_a_job_that_a_run_before_has_left_is_ended_and_anothers_is_told_of():
    left = Domain([OURS / "disk0.qcow2"])
    RunningBackup(Libvirt, left).abandon(OURS.parent)
    assert left.aborted
    others = Domain(["/srv/other/disk0.qcow2"])
    with pytest.raises(EdgeError, match=r"is being backed up by another program; found /srv/other/disk0\.qcow2"):
        RunningBackup(Libvirt, others).abandon(OURS.parent)
    assert not others.aborted
    RunningBackup(Libvirt, Domain()).abandon(OURS.parent)

"""Whose job a run may end, by a stand-in for libvirt; Molecule has real jobs of real guests (``virtual_machines``)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_backup import backup_xml
from ansible_collections.edgewright.edge.plugins.module_utils.running_backup import RunningBackup
from ansible_collections.edgewright.edge.tests.unit.libvirt_stand_in import LIBVIRT, LibvirtError

OURS = Path("/var/lib/edgewright/vm-backups/.shop-till-20261126T021500Z.partial")


def machine(files=(), *, busy=True, stopped=False):
    """A machine with a job of some kind: a backup into these files, or another that libvirt shows no files of."""
    jobs = [2] if busy else []
    aborted = []

    def described():
        if stopped:
            raise LibvirtError(LIBVIRT.VIR_ERR_OPERATION_INVALID)
        if not files:
            raise LibvirtError(LIBVIRT.VIR_ERR_NO_DOMAIN_BACKUP)
        return backup_xml({f"vd{number}": str(path) for number, path in enumerate(files)})

    return SimpleNamespace(
        name=lambda: "till",
        backupGetXMLDesc=described,
        jobStats=lambda: {"type": jobs[-1] if jobs else LIBVIRT.VIR_DOMAIN_JOB_NONE},
        abortJob=lambda: aborted.append(jobs.pop()),
        aborted=aborted,
    )


@pytest.mark.parametrize(
    ("domain", "ended"),
    [
        (machine([OURS / "disk0.qcow2", OURS / "disk1.qcow2"]), True),
        # Another program saves or copies the machine, which is why our job could not begin.
        (machine(), False),
        (machine(["/srv/other/disk0.qcow2"]), False),
        (machine([OURS / "disk0.qcow2", "/srv/other/disk1.qcow2"]), False),
        (machine(busy=False), False),
        (machine(stopped=True), False),
    ],
)
def test_a_run_that_fails_ends_its_own_job_and_no_other(domain, ended):
    RunningBackup(LIBVIRT, domain).abort(OURS)
    assert bool(domain.aborted) == ended


def test_a_job_that_a_run_before_has_left_is_ended_and_anothers_is_told_of():
    left = machine([OURS / "disk0.qcow2"])
    RunningBackup(LIBVIRT, left).abandon(OURS.parent)
    assert left.aborted
    others = machine(["/srv/other/disk0.qcow2"])
    with pytest.raises(EdgeError, match=r"is being backed up by another program; found /srv/other/disk0\.qcow2"):
        RunningBackup(LIBVIRT, others).abandon(OURS.parent)
    assert not others.aborted
    RunningBackup(LIBVIRT, machine()).abandon(OURS.parent)

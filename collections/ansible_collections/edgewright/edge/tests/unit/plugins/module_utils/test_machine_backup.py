"""The manifest of a virtual machine's backup: it says what is in the folder, and whose it is."""

from __future__ import annotations

import datetime
import json

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils import machine_backup
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.machine_backup import DiskCopy, MachineBackup
from hypothesis import given
from hypothesis import strategies as st

A, B = "a" * 64, "b" * 64
BACKUP = MachineBackup(
    "shop",
    "till",
    "shop-01",
    "20261126T021500Z",
    "filesystem",
    (DiskCopy("disk0.qcow2", "raw", 16), DiskCopy("disk1.qcow2", "qcow2", 32)),
    {"disk0.qcow2": A, "disk1.qcow2": A, "domain.xml": B, "nvram.fd": B, "tpm/tpm2-00.permall": A},
)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


def problems(function, *arguments, **named):
    with pytest.raises(EdgeError) as caught:
        function(*arguments, **named)
    return str(caught.value)


def test_it_is_read_as_it_was_written():
    assert machine_backup.from_json(BACKUP.to_json(), where="x") == BACKUP


def test_its_parts_are_known():
    assert BACKUP.name == "shop-till-20261126T021500Z"
    assert BACKUP.tpm == ["tpm/tpm2-00.permall"]


def test_all_that_is_wrong_with_a_manifest_is_told_at_once():
    data = json.loads(BACKUP.to_json())
    del data["node"]
    data |= {"format": 9, "site": "", "consistency": "perfect", "members": {"/etc/x": A}}
    data["disks"][0]["size"] = "16"
    text = problems(machine_backup.from_json, json.dumps(data), where="x")
    for key in ("format", "site", "node", "consistency", "disks", "members"):
        assert f"x: manifest.json: {key}: " in text


@pytest.mark.parametrize("disk", [{}, 1, {"member": 1, "format": "raw", "size": 1}, {"member": "a", "format": "vmdk"}])
def test_a_disk_that_is_none_is_refused(disk):
    data = json.loads(BACKUP.to_json()) | {"disks": [disk]}
    assert "disks: are not images" in problems(machine_backup.from_json, json.dumps(data), where="x")


def test_a_disk_without_a_digest_is_refused():
    members = {name: digest for name, digest in BACKUP.members.items() if name != "disk1.qcow2"}
    data = json.loads(BACKUP.to_json()) | {"members": members}
    backup = machine_backup.from_json(json.dumps(data), where="x")
    assert "x: disk1.qcow2: is a disk without a digest" in problems(
        machine_backup.check_members, backup, members, where="x"
    )


@given(NAMES, NAMES, NAMES, st.dates(datetime.date(1970, 1, 1)))
def test_a_machines_backups_are_told_from_anothers(site, machine, other, day):
    name = f"{site}-{machine}-{day:%Y%m%d}T021500Z"
    names = [name, f".{name}.partial", f"{name}.old", f"{site}-{machine}-{other}x"]
    assert machine_backup.backups_of(names, site, machine) == [name]


def test_a_machine_that_changed_too_much_is_refused_with_every_reason():
    text = problems(machine_backup.check_fit, BACKUP, "plant", "drawer", disks=1, tpm=False, nvram=False, where="x")
    for told in ("another site", "another machine", "another number of disks", "state of a TPM", "UEFI variables"):
        assert told in text
    machine_backup.check_fit(BACKUP, "shop", "till", disks=2, tpm=None, nvram=None, where="x")

"""How a backup takes the place of what a machine has: real images, and the state of a firmware and a TPM."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.machine_backup import DiskCopy, MachineBackup
from ansible_collections.edgewright.edge.plugins.module_utils.machine_places import MachinePlaces, Place

MIB = 1024**2


@pytest.fixture
def backup(tmp_path):
    """A folder with a disk, UEFI variables and a TPM's state, and what its manifest says."""
    folder = tmp_path / "backup"
    (folder / "tpm").mkdir(parents=True)
    (tmp_path / "raw").write_bytes(b"A" * MIB)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", tmp_path / "raw", folder / "disk0.qcow2"]
    subprocess.run(command, check=True)
    (folder / "nvram.fd").write_bytes(b"variables of the backup")
    (folder / "tpm/tpm2-00.permall").write_bytes(b"secrets of the backup")
    members = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("disk0.qcow2", "nvram.fd", "tpm/tpm2-00.permall")
    }
    disks = (DiskCopy("disk0.qcow2", "raw", MIB),)
    return folder, MachineBackup("shop", "till", "shop-01", "20261126T021500Z", "offline", disks, members)


@pytest.fixture
def machine(tmp_path):
    """A machine that has all of that already."""
    disk, nvram, tpm = tmp_path / "till/disk0.img", tmp_path / "nvram/till_VARS.fd", tmp_path / "swtpm/uuid/tpm2"
    for path in (disk, nvram, tpm / "tpm2-00.permall", tpm / "more"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"before")
    return MachinePlaces("till", [Place(disk, "raw", 0)], nvram=nvram, tpm=tpm, libvirt=True)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_disk_and_state_are_the_backups_and_what_was_there_is_kept(backup, machine, tmp_path):
    aside = machine.put_back(*backup, keep=True)
    assert files(tmp_path / "till") == {
        "disk0.img": b"A" * MIB,
        f"{aside.name}/disk0.img": b"before",
        f"{aside.name}/nvram.fd": b"before",
        f"{aside.name}/tpm/more": b"before",
        f"{aside.name}/tpm/tpm2-00.permall": b"before",
    }
    assert files(tmp_path / "nvram") == {"till_VARS.fd": b"variables of the backup"}
    assert files(tmp_path / "swtpm") == {"uuid/tpm2/tpm2-00.permall": b"secrets of the backup"}


def test_a_backup_without_state_leaves_none(backup, machine, tmp_path):
    folder, told = backup
    bare = MachineBackup(**{**vars(told), "members": {"disk0.qcow2": told.members["disk0.qcow2"]}})
    machine.put_back(folder, bare, keep=True)
    assert files(tmp_path / "nvram") == files(tmp_path / "swtpm") == {}


def test_what_cannot_be_made_leaves_the_machine_as_it_was(backup, machine, tmp_path):
    folder, told = backup
    before = {name: files(tmp_path / name) for name in ("till", "nvram", "swtpm")}
    # As if the medium failed: the disk and the variables can be made, the TPM's state cannot.
    (folder / "tpm/tpm2-00.permall").unlink()
    with pytest.raises(FileNotFoundError):
        machine.put_back(folder, told, keep=True)
    assert {name: files(tmp_path / name) for name in ("till", "nvram", "swtpm")} == before
    assert [path.name for path in (tmp_path / "till").iterdir()] == ["disk0.img"]


def test_a_restore_that_is_cut_off_between_its_renames_leaves_a_mark_until_another_is_done(
    backup, machine, tmp_path, monkeypatch
):
    mark = tmp_path / "till" / "restore-unfinished"

    def cut(*_):
        assert mark.exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            machine.put_back(*backup, keep=True)
    assert not (tmp_path / "till" / "disk0.img").exists()
    assert mark.read_text() == "a restore of backup was cut off; run playbooks/restore_vm.yml again\n"
    # One that fails before it moves anything has not mended it either.
    image = (backup[0] / "disk0.qcow2").read_bytes()
    (backup[0] / "disk0.qcow2").write_bytes(b"no image")
    with pytest.raises(EdgeError):
        machine.put_back(*backup, keep=True)
    assert mark.exists()
    (backup[0] / "disk0.qcow2").write_bytes(image)
    machine.put_back(*backup, keep=True)
    assert (tmp_path / "till" / "disk0.img").read_bytes() == b"A" * MIB
    assert not mark.exists()


@pytest.mark.parametrize("blank", [True, False])
def test_a_restore_that_fails_before_it_moves_anything_leaves_no_mark(backup, machine, tmp_path, blank):
    if blank:
        (tmp_path / "till" / "disk0.img").unlink()
    (backup[0] / "disk0.qcow2").write_bytes(b"no image")
    with pytest.raises(EdgeError):
        machine.put_back(*backup, keep=True)
    assert not (tmp_path / "till" / "restore-unfinished").exists()


def test_an_image_that_cannot_be_read_leaves_the_machine_as_it_was(backup, machine, tmp_path):
    folder, told = backup
    (folder / "disk0.qcow2").write_bytes(b"no image")
    with pytest.raises(EdgeError):
        machine.put_back(folder, told, keep=True)
    assert files(tmp_path / "till") == {"disk0.img": b"before"}

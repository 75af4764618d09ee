"""Backups of real guests while they run: one with Debian's agent, a TPM and two disks, and one without any of it.

The guest with the agent counts on both of its disks, one after the other, and has a mark on the first while the agent
holds its file systems still.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import controller
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONSOLE = "/var/log/libvirt/qemu/office-serial.log"
ON_NODE = "/var/lib/edgewright/vm-backups"
DISKS = "/var/lib/edgewright/virtual-machines"
PARTITION = (2048 + 98304) * 512


def virsh(host: Any, command: str) -> str:
    return str(host.check_output(f"LC_ALL=C virsh --connect qemu:///system {command}"))


def console(host: Any) -> str:
    return str(host.file(CONSOLE).content_string)


def wait_for(host: Any, text: str, log: str = CONSOLE, count: int = 1) -> None:
    script = 'timeout 240 sh -c \'until [ "$(grep -cF "$0" "$1")" -ge "$2" ]; do sleep 1; done\' %s %s %s'
    host.check_output(script, text, log, str(count))


def raw(backup: Path, number: int) -> Path:
    """Unpack a disk of a backup on the controller, by another program than made it."""
    target = backup.parent / f"{backup.name}-{number}.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", backup / f"disk{number}.qcow2", target], check=True)
    return target


def inside(image: Path, file: str) -> str:
    """Return the content of a file in an ext4 file system."""
    done = subprocess.run(["debugfs", "-R", f"cat {file}", image], capture_output=True, text=True, check=True)
    assert "File not found" not in done.stderr, done.stderr
    return done.stdout.strip()


def features(image: Path) -> str:
    done = subprocess.run(["dumpe2fs", "-h", image], capture_output=True, text=True, check=True)
    return next(line for line in done.stdout.splitlines() if line.startswith("Filesystem features"))


@pytest.fixture(scope="module")
def copies() -> Path:
    return controller.SCENARIO / "vm-backups"


@pytest.fixture(scope="module")
def office(host: Any) -> None:
    """The guest with the agent runs, and its agent is there."""
    host.check_output("systemctl start edgewright-vm@office.service")
    host.check_output(
        "timeout 240 sh -c 'until virsh -c qemu:///system domfsinfo office; do sleep 1; done' 2>/dev/null"
    )


@pytest.fixture(scope="module")
def told(office: None, copies: Path) -> str:  # noqa: ARG001 - it comes first
    return controller.play("backup_vms", vms=["office", "till"], backup_copy=str(copies))


def newest(copies: Path, machine: str) -> Path:
    return sorted(copies.glob(f"demo-{machine}-*Z"))[-1]


@pytest.fixture
def frozen(told: str, copies: Path) -> Path:  # noqa: ARG001 - it comes first
    return newest(copies, "office")


def test_guest_with_an_agent_is_frozen_for_the_moment_of_the_copy(host: Any, told: str, frozen: Path) -> None:
    assert "2 file systems of the guest were frozen" in told
    assert json.loads((frozen / "manifest.json").read_text())["consistency"] == "filesystem"
    assert console(host).index("OFFICE: freeze") < console(host).index("OFFICE: thaw")


def test_both_disks_are_of_the_one_frozen_moment(frozen: Path) -> None:
    first, second = raw(frozen, 0), raw(frozen, 1)
    system = first.with_suffix(".ext4")
    system.write_bytes(first.read_bytes()[PARTITION:])
    assert inside(system, "/frozen") == ""
    assert inside(system, "/count") in {inside(second, "/count"), str(int(inside(second, "/count")) + 1)}
    # Nothing to recover: the journal was empty.
    assert "needs_recovery" not in features(system)
    assert "needs_recovery" not in features(second)


def test_guest_goes_on_writing_to_its_own_disks(host: Any, frozen: Path) -> None:  # noqa: ARG001 - it comes first
    disks = [line.split()[1] for line in virsh(host, "domblklist office").splitlines() if "/" in line]
    assert disks == [f"{DISKS}/office/disk0.img", f"{DISKS}/office/disk1.img"]
    assert "<backingStore/>" in virsh(host, "dumpxml office") or "<backingStore" not in virsh(host, "dumpxml office")
    assert "None" in virsh(host, "domjobinfo office")
    written = [int(virsh(host, "domblkstat office vdb").split("wr_req")[1].split()[0])]
    time.sleep(6)
    written.append(int(virsh(host, "domblkstat office vdb").split("wr_req")[1].split()[0]))
    assert written[1] > written[0]


def test_backup_has_all_that_belongs_to_the_machine_and_its_digests(host: Any, frozen: Path) -> None:
    manifest = json.loads((frozen / "manifest.json").read_text())
    names = sorted(str(path.relative_to(frozen)) for path in frozen.rglob("*") if path.is_file())
    assert names == ["disk0.qcow2", "disk1.qcow2", "domain.xml", "manifest.json", "nvram.fd", "tpm/tpm2-00.permall"]
    for name, digest in manifest["members"].items():
        assert hashlib.sha256((frozen / name).read_bytes()).hexdigest() == digest
        assert host.file(f"{ON_NODE}/{frozen.name}/{name}").sha256sum == digest
    assert host.check_output(f"stat -c %a:%U {ON_NODE}/{frozen.name} {ON_NODE}/{frozen.name}/*").split() == [
        "700:root",
        *["600:root"] * 5,
        "700:root",
    ]
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", frozen / "disk0.qcow2"]))
    assert info["format-specific"]["data"]["compression-type"] == "zstd"
    assert "backing-filename" not in info


def test_guest_without_an_agent_is_copied_as_a_power_cut_would_leave_it(told: str, copies: Path) -> None:
    assert "as a power cut would leave the disks, for the guest was not frozen (no guest agent is connected)" in told
    assert json.loads((newest(copies, "till") / "manifest.json").read_text())["consistency"] == "crash"


def test_guest_that_cannot_be_frozen_is_refused_where_that_is_required(host: Any, copies: Path) -> None:
    before = host.check_output(f"ls -A {ON_NODE}")
    told = controller.play("backup_vms", fails=True, vms=["till"], backup_copy=str(copies), backup_freeze="require")
    assert "till: cannot be frozen: " in told
    assert host.check_output(f"ls -A {ON_NODE}") == before
    assert "None" in virsh(host, "domjobinfo till")


def test_machine_that_is_off_is_copied_too(copies: Path) -> None:
    told = controller.play("backup_vms", vms=["spare"], backup_copy=str(copies), backup_compress=False)
    assert "the machine was off" in told


def test_unknown_machine_is_refused(copies: Path) -> None:
    told = controller.play("backup_vms", fails=True, vms=["spare", "offfice"], backup_copy=str(copies))
    assert "found offfice." in told


@pytest.fixture
def job(host: Any) -> Iterator[str]:
    """A backup job of libvirt's that goes on until it is ended; gives the folder it writes to."""
    folder = "/var/lib/edgewright/vm-backups-of-another"
    server = '<server transport="unix" socket="/var/lib/libvirt/qemu/office-backup"/>'
    disk = f'<disk name="vdb" backup="yes" type="file"><scratch file="{folder}/scratch.qcow2"/></disk>'
    xml = f'<domainbackup mode="pull">{server}<disks>{disk}</disks></domainbackup>'
    host.check_output("mkdir -m 711 -p %s && echo %s >%s/job.xml", folder, xml, folder)
    virsh(host, f"backup-begin office {folder}/job.xml")
    yield folder
    host.run("virsh -c qemu:///system domjobabort office")
    host.check_output("rm -r %s", folder)


@pytest.mark.usefixtures("office")
def test_backup_of_another_program_is_left_alone(host: Any, job: str, copies: Path) -> None:
    told = controller.play("backup_vms", fails=True, vms=["office"], backup_copy=str(copies))
    assert f"office: is being backed up by another program; found {job}/scratch.qcow2" in told
    assert "Backup" in virsh(host, "domjobinfo office")


@pytest.mark.usefixtures("office")
def test_job_that_an_interrupted_run_has_left_is_ended(host: Any, job: str, copies: Path) -> None:
    # The same job, in the folder that this run is to use.
    controller.play("backup_vms", vms=["office"], backup_copy=str(copies), backup_directory=job, backup_freeze="never")
    assert "None" in virsh(host, "domjobinfo office")


@pytest.mark.usefixtures("office")
def test_guest_is_thawed_when_the_backup_is_killed_while_it_is_frozen(host: Any, copies: Path) -> None:
    thaws = console(host).count("OFFICE: thaw")
    with controller.start("backup_vms", vms=["office"], backup_copy=str(copies)) as run:
        wait_for(host, "OFFICE: freeze", count=thaws + 1)
        # The process that waits beside the module names the guest; its parent is the module.
        host.check_output("kill -9 $(ps -o ppid= -p $(pgrep -f 'read -r wor[d].*office'))")
        assert run.wait() != 0
    wait_for(host, "OFFICE: thaw", count=thaws + 1)
    assert [line for line in virsh(host, "domblklist office").splitlines() if "backup" in line] == []
    made = controller.play("backup_vms", vms=["office"], backup_copy=str(copies), backup_keep=1)
    assert "2 file systems of the guest were frozen" in made
    # Its remains are gone, and so are the backups that are more than one.
    assert host.check_output(f"ls -A {ON_NODE} | grep office").splitlines()[:-1] == [".demo-office.lock"]
    assert [path.name for path in copies.glob("*office*Z")] == [newest(copies, "office").name]


def test_damaged_backup_is_refused_and_the_machine_runs_on(host: Any, copies: Path) -> None:
    process = host.check_output("cat /run/libvirt/qemu/till.pid")
    damaged = copies / "damaged"
    shutil.copytree(newest(copies, "till"), damaged, dirs_exist_ok=True)
    with (damaged / "disk0.qcow2").open("r+b") as file:
        file.seek(70000)
        file.write(b"spoilt")
    told = controller.play("restore_vm", fails=True, vm_host="all", backup=str(damaged), confirm="till")
    assert "disk0.qcow2: is damaged" in told
    told = controller.play("restore_vm", fails=True, vm_host="all", backup=str(newest(copies, "till")), confirm="no")
    assert "Nothing was changed" in told
    assert host.check_output("cat /run/libvirt/qemu/till.pid") == process


def test_machine_that_always_runs_has_its_old_disk_again_and_runs(host: Any, copies: Path) -> None:
    log = "/var/log/libvirt/qemu/till-serial.log"
    wait_for(host, "starts so far: |", log)
    before = host.file(log).content_string.count("ready, starts so far")
    backup = newest(copies, "till")
    # GRUB's environment block, wherever it lies in the image.
    at_backup = re.findall(rb"\nstarts=(\|+)\n", raw(backup, 0).read_bytes())[0].decode()
    host.check_output("systemctl restart edgewright-vm@till.service")
    wait_for(host, "ready, starts so far", log, count=before + 1)
    told = controller.play("restore_vm", vm_host="all", backup=f"{backup}/", confirm="till")
    wait_for(host, "ready, starts so far", log, count=before + 2)
    # It counts on from the backup: the start above never was.
    assert host.file(log).content_string.rsplit("starts so far: ", 1)[1].split()[0] == at_backup + "|"
    assert host.check_output("systemctl is-active edgewright-vm@till.service") == "active"
    replaced = host.check_output(f"ls -d {DISKS}/till/replaced-by-restore-*")
    assert host.file(f"{replaced}/disk0.img").size == 32 * 1024**2
    assert replaced in told


def test_blank_node_gets_the_machine_back_with_its_state(host: Any, copies: Path) -> None:
    backup = newest(copies, "office")
    members = json.loads((backup / "manifest.json").read_text())["members"]
    uuid = virsh(host, "domuuid office").strip()
    host.check_output("systemctl stop edgewright-vm@office.service")
    assert "OFFICE goes down as it was asked to" in console(host)
    virsh(host, "undefine office --nvram --tpm")
    host.check_output(f"rm -r {DISKS}/office {ON_NODE} /etc/edgewright/virtual-machines/office.xml")
    controller.play("restore_vm", vm_host="all", backup=str(backup), confirm="office")
    assert virsh(host, "domstate office") == "shut off"
    nvram, tpm = "/var/lib/libvirt/qemu/nvram/office_VARS.fd", f"/var/lib/libvirt/swtpm/{uuid}/tpm2/tpm2-00.permall"
    assert host.file(nvram).sha256sum == members["nvram.fd"]
    assert host.file(tpm).sha256sum == members["tpm/tpm2-00.permall"]
    assert not host.file("/var/lib/edgewright/vm-restore").exists
    count = inside(raw(backup, 1), "/count")
    host.check_output("systemctl start edgewright-vm@office.service")
    wait_for(host, f"OFFICE is ready, and goes on from {count}")
    # The mark is in the backup; a guest that is started from it finds it.
    assert "OFFICE found the mark of a frozen moment" in console(host)
    assert host.file(tpm).user != "root"


def test_machine_of_a_cluster_that_is_off_is_copied_and_put_back(host: Any, copies: Path) -> None:
    """The places that KubeVirt's volumes have; nothing of KubeVirt is needed for it, as the machine is off."""
    name = next(iter(yaml.safe_load((controller.INVENTORY / "ansible_inventory.yml").read_text())["all"]["hosts"]))
    inventory = controller.SCENARIO / "cluster.yml"
    variables = {"ansible_connection": "docker", "ansible_python_interpreter": "/usr/bin/python3"}
    inventory.write_text(yaml.safe_dump({"k3s_server": {"hosts": {name: variables}}}))
    machine = {"name": "mill", "memory": "64MiB", "run_policy": "halted"}
    site: dict[str, Any] = {
        "edge_site": "plant",
        "edge_runtime": "k3s",
        "edge_virtual_machines": [{**machine, "disks": [{"source": "file:till.raw", "bus": "sata"}]}],
    }
    disk = f"{DISKS}/mill/disk0/disk.img"
    host.check_output(f"install -D -o 107 -g 107 -m 600 {DISKS}/till/disk0.img {disk}")
    digest = host.file(disk).sha256sum
    told = controller.play("backup_vms", inventory=inventory, backup_copy=str(copies), **site)
    assert "the machine was off" in told
    host.check_output(f"rm -r {DISKS}/mill")
    backup = sorted(copies.glob("plant-mill-*Z"))[-1]
    controller.play("restore_vm", inventory=inventory, vm_host=name, backup=str(backup), confirm="mill", **site)
    assert host.file(disk).sha256sum == digest
    assert (host.file(disk).uid, host.file(disk).mode) == (107, 0o600)

"""What a domain's definition says of its parts, and the job that copies them as libvirt's own schema has it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_backup import (
    DomainDisk,
    backup_xml,
    domain_parts,
    job_files,
)
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain import domain_xml
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import Cpu, Disk, VirtualMachine

SCHEMA = Path("/usr/share/libvirt/schemas/domainbackup.rng")
VM = VirtualMachine(
    name="till",
    uuid="aaec0d5f-bc16-5397-b570-99e035084005",
    cpu=Cpu(model="qemu64"),
    memory=64 * 1024**2,
    disks=(Disk("file:a", "virtio", 1), Disk("file:b", "sata", 2)),
)
FOLDER = "/var/lib/edgewright/virtual-machines/till"


def parts(vm, *changes):
    xml = domain_xml(vm, virtualization="emulation")
    for old, new in changes:
        assert old in xml
        xml = xml.replace(old, new)
    return domain_parts(xml, where="till")


def test_disks_are_in_the_models_order_whatever_libvirt_makes_of_it():
    xml = domain_xml(VM, virtualization="emulation")
    one, two = xml.index("<disk "), xml.index("<disk ", xml.index("<disk ") + 1)
    end = xml.index("</disk>", two) + len("</disk>")
    turned = xml[:one] + xml[two:end] + xml[one:two] + xml[end:]
    assert domain_parts(turned, where="till").disks == (
        DomainDisk("vda", f"{FOLDER}/disk0.img", "raw"),
        DomainDisk("sda", f"{FOLDER}/disk1.img", "raw"),
    )


def test_firmware_and_tpm_are_known():
    assert (parts(VM).uefi, parts(VM).tpm, parts(VM).nvram) == (False, False, "")
    modern = parts(replace(VM, firmware="uefi", tpm=True))
    assert (modern.uefi, modern.tpm, modern.uuid) == (True, True, VM.uuid)
    for filled in ("<nvram template='/t'>/n/till_VARS.fd</nvram>", "<nvram><source file='/n/till_VARS.fd'/></nvram>"):
        assert parts(replace(VM, firmware="uefi"), ("</os>", f"{filled}</os>")).nvram == "/n/till_VARS.fd"


def test_an_agent_counts_when_the_guest_has_opened_its_channel():
    name = 'name="org.qemu.guest_agent.0"'
    assert not parts(VM).agent
    assert not parts(VM, (name, f'{name} state="disconnected"')).agent
    assert parts(VM, (name, f'{name} state="connected"')).agent


def test_disks_that_are_no_files_are_refused_together():
    block = "<disk type='block' device='disk'><source dev='/dev/sdb'/><target dev='vdz'/></disk>"
    network = "<disk type='network' device='disk'><source name='x'/><target dev='vdy'/></disk>"
    with pytest.raises(EdgeError) as caught:
        parts(VM, ("</devices>", f"{block}{network}</devices>"))
    assert "till: disk vdz: is no file of this node; found block" in str(caught.value)
    assert "till: disk vdy: is no file of this node; found network" in str(caught.value)


def test_a_cd_is_no_part_of_a_backup():
    cd = "<disk type='file' device='cdrom'><source file='/x.iso'/><target dev='sdz'/></disk>"
    assert len(parts(VM, ("</devices>", f"{cd}</devices>")).disks) == 2


def test_the_job_is_one_that_libvirt_knows(tmp_path):
    job = tmp_path / "job.xml"
    job.write_text(backup_xml({"vda": "/b/disk0.qcow2", "sda": "/b/a & b.qcow2"}))
    assert job_files(job.read_text(), where="job") == ["/b/disk0.qcow2", "/b/a & b.qcow2"]
    if not SCHEMA.is_file():
        pytest.skip(f"libvirt's schemas are not installed: no {SCHEMA}")
    subprocess.run(["xmllint", "--noout", "--relaxng", SCHEMA, job], check=True)

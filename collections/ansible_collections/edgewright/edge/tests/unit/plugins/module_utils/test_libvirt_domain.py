from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain import domain_xml
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import Cpu, Disk, Nic, VirtualMachine
from ansible_collections.edgewright.edge.tests.unit.strategies import virtual_machine
from hypothesis import given, settings
from hypothesis import strategies as st

VM = VirtualMachine(
    name="till",
    uuid="aaec0d5f-bc16-5397-b570-99e035084005",
    cpu=Cpu(2, 3, 1),
    memory=64 * 1024**2,
    disks=(Disk("build:guests/till", "virtio", 1),),
    nics=(Nic("default", "virtio", "52:54:00:00:00:01"),),
)


def tree(vm, virtualization="kvm"):
    return ET.fromstring(domain_xml(vm, virtualization=virtualization))  # noqa: S314 (ours)


def validate(xml, folder):
    if shutil.which("virt-xml-validate") is None or shutil.which("xmllint") is None:
        pytest.skip("virt-xml-validate (libvirt-clients) and xmllint (libxml2-utils) are not installed")
    path = folder / "domain.xml"
    path.write_text(xml, encoding="utf-8")
    return subprocess.run(["virt-xml-validate", path, "domain"], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("virtualization", ["kvm", "emulation"])
def test_libvirts_own_schema_accepts_it(virtualization, tmp_path_factory):
    @settings(max_examples=20, deadline=None)
    @given(virtual_machine(virtualization=virtualization))
    def check(vm):
        result = validate(domain_xml(vm, virtualization=virtualization), tmp_path_factory.mktemp("xml"))
        assert result.returncode == 0, result.stdout + result.stderr

    check()


def test_libvirts_own_schema_refuses_another(tmp_path):
    assert validate(
        domain_xml(VM, virtualization="kvm").replace("<vcpu", "<cpus").replace("</vcpu", "</cpus"), tmp_path
    ).returncode


@given(st.data())
def test_the_same_machine_is_the_same_bytes(data):
    vm = data.draw(virtual_machine(virtualization="kvm"))
    assert domain_xml(vm, virtualization="kvm") == domain_xml(replace(vm), virtualization="kvm")


def test_processors_are_the_product_of_the_topology():
    domain = tree(VM)
    assert domain.findtext("vcpu") == "6"
    assert domain.find("cpu/topology").attrib == {"sockets": "2", "cores": "3", "threads": "1"}


@pytest.mark.parametrize(
    ("virtualization", "model", "kind", "mode", "check"),
    [
        ("kvm", "host-model", "kvm", "host-model", "partial"),
        ("kvm", "host-passthrough", "kvm", "host-passthrough", "none"),
        ("kvm", "Nehalem", "kvm", "custom", "partial"),
        ("emulation", "Nehalem", "qemu", "custom", "none"),
        ("emulation", "host-model", "qemu", None, None),
    ],
)
def test_the_processor_fits_the_virtualization(virtualization, model, kind, mode, check):
    domain = tree(replace(VM, cpu=Cpu(model=model)), virtualization)
    assert domain.get("type") == kind
    assert (domain.find("cpu").get("mode"), domain.find("cpu").get("check")) == (mode, check)


def test_disks_are_named_by_bus_and_numbered_by_place():
    disks = [Disk("file:x", bus, number) for number, bus in enumerate(["scsi", "virtio", "sata", "ide", "virtio"], 1)]
    domain = tree(replace(VM, machine="pc", disks=tuple(disks)))
    found = [(e.find("target").get("dev"), e.find("source").get("file")[-9:]) for e in domain.iterfind("devices/disk")]
    assert found == [
        ("sda", "disk0.img"),
        ("vda", "disk1.img"),
        ("sdb", "disk2.img"),
        ("hda", "disk3.img"),
        ("vdb", "disk4.img"),
    ]
    assert [e.find("boot").get("order") for e in domain.iterfind("devices/disk")] == ["1", "2", "3", "4", "5"]


def test_the_27th_disk_has_two_letters():
    disks = tuple(Disk("file:x", "virtio", number) for number in range(1, 29))
    targets = [e.get("dev") for e in tree(replace(VM, disks=disks)).iterfind("devices/disk/target")]
    assert targets[25:] == ["vdz", "vdaa", "vdab"]


def test_scsi_is_virtio_scsi_on_both_boards():
    disks = (Disk("file:x", "scsi", 1),)
    for machine in ("pc", "q35"):
        assert (
            tree(replace(VM, machine=machine, disks=disks)).find("devices/controller[@type='scsi']").get("model")
            == "virtio-scsi"
        )


def test_secure_boot_is_always_written_out():
    plain = tree(replace(VM, firmware="uefi"))
    assert plain.find("os").get("firmware") == "efi"
    assert plain.find("os/firmware/feature[@name='secure-boot']").get("enabled") == "no"
    assert plain.find("features/smm") is None
    secure = tree(replace(VM, firmware="uefi", secure_boot=True))
    assert secure.find("os/firmware/feature[@name='secure-boot']").get("enabled") == "yes"
    assert secure.find("features/smm").get("state") == "on"


def test_the_screen_listens_on_loopback_only():
    listen = tree(VM).find("devices/graphics/listen")
    assert listen.attrib == {"type": "address", "address": "127.0.0.1"}
    assert tree(replace(VM, graphics="none")).find("devices/video") is None


def test_the_serial_console_is_appended_to_a_log():
    log = tree(VM).find("devices/serial/log")
    assert log.attrib == {"file": "/var/log/libvirt/qemu/till-serial.log", "append": "on"}


def test_what_libvirt_cannot_give_is_told_all_at_once():
    vm = replace(
        VM,
        cpu=Cpu(model="host-passthrough"),
        memory=1_000_001,
        machine="q35",
        disks=(Disk("file:x", "virtio", 1), Disk("file:y", "ide", 2)),
        nics=(Nic("default", "virtio", "fe:54:00:00:00:01"),),
    )
    with pytest.raises(EdgeError) as caught:
        domain_xml(vm, virtualization="emulation", where="vms[3]")
    assert [str(problem) for problem in caught.value.problems] == [
        (
            "vms[3].cpu.model: needs hardware virtualization; "
            "found 'host-passthrough' with edge_virtualization 'emulation'. "
            "Name a model as qemu64, or leave cpu.model out."
        ),
        "vms[3].memory: must be a multiple of 1KiB for libvirt; found 1000001.",
        (
            "vms[3].disks[1].bus: machine q35 has no IDE controller; found ide. "
            "Set 'machine: pc' for this guest, or 'bus: sata' if it has an AHCI driver."
        ),
        (
            "vms[3].nics[0].mac: libvirt keeps addresses that begin with fe: for itself; found fe:54:00:00:00:01. "
            "Leave mac out to have one derived."
        ),
    ]


def test_an_old_board_has_its_limits():
    vm = replace(
        VM,
        machine="pc",
        firmware="uefi",
        secure_boot=True,
        disks=tuple(Disk("file:x", "ide", number) for number in range(1, 7)),
        nics=(Nic("default", "e1000e", "52:54:00:00:00:01"),),
    )
    with pytest.raises(EdgeError) as caught:
        domain_xml(vm, virtualization="kvm")
    assert [problem.where for problem in caught.value.problems] == [
        "till.machine",
        "till.disks[4].bus",
        "till.disks[5].bus",
        "till.nics[0].model",
    ]


def test_another_virtualization_is_refused():
    with pytest.raises(
        EdgeError, match="edge_virtualization: is not known; found 'xen'; expected one of kvm, emulation"
    ):
        domain_xml(VM, virtualization="xen")

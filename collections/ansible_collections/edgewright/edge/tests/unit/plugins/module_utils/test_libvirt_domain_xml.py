from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.disk_contents import DiskContents
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.imported_machine import (
    ImportOptions,
    machine_name,
    refusals,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_virtual_machine import machine_objects
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain import domain_xml
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain_xml import LibvirtDomain
from ansible_collections.edgewright.edge.plugins.module_utils.ovf import read_envelope
from ansible_collections.edgewright.edge.plugins.module_utils.ovf_machine import OvfMachine
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import VirtualMachine
from ansible_collections.edgewright.edge.tests.unit import kubernetes_schema
from ansible_collections.edgewright.edge.tests.unit.machine_sources import source
from ansible_collections.edgewright.edge.tests.unit.strategies import virtual_machine
from hypothesis import given

DEFINITIONS = Path(__file__).parent / "definitions"
LOST = DiskContents("gpt", (), esp=True, fallback_loader=False, bios_bootable=False, os_family="linux")


def domain(*changes, **options):
    return LibvirtDomain(source("libvirt.xml", *changes), ImportOptions(**options), where="libvirt.xml")


def outcome(machine, field):
    (line,) = [line for line in machine.report if line["field"] == field]
    return line["outcome"], line["why"]


@pytest.mark.parametrize("virtualization", ["kvm", "emulation"])
def test_a_rendered_machine_comes_back_as_it_was(virtualization):
    @given(virtual_machine(virtualization=virtualization))
    def check(vm):
        xml = domain_xml(vm, virtualization=virtualization)
        read = LibvirtDomain(xml.encode(), ImportOptions(), where="x").model()
        assert VirtualMachine.from_inventory(read, where="x", site="s") == vm

    check()


@given(virtual_machine(virtualization="kvm"))
def test_an_imported_machine_renders_to_itself(vm):
    """Import, render, import: the second import has nothing left to change."""
    first = LibvirtDomain(domain_xml(vm, virtualization="kvm").encode(), ImportOptions(), where="x").imported(None).vm
    machine = VirtualMachine.from_inventory(first, where="x", site="s")
    again = LibvirtDomain(domain_xml(machine, virtualization="kvm").encode(), ImportOptions(), where="x").imported(None)
    assert VirtualMachine.from_inventory(again.vm, where="x", site="s") == machine
    assert machine == replace(
        vm,
        run_policy="halted",
        disks=tuple(
            replace(disk, source=f"file:disks/{vm.name}/disk{number}.qcow2", format="qcow2")
            for number, disk in enumerate(vm.disks)
        ),
    )


def test_what_libvirt_has_filled_in_is_read_as_the_machine_that_was_meant():
    till = (DEFINITIONS / "till.libvirt-9.0.xml").read_bytes()
    vm = LibvirtDomain(till, ImportOptions(), where="till").model()
    assert (vm["name"], vm["machine"], vm["memory"]) == ("till", "pc", 64 * 1024**2)
    assert [disk["bus"] for disk in vm["disks"]] == ["sata"]
    win = (DEFINITIONS / "win.libvirt-9.0.xml").read_bytes()
    vm = LibvirtDomain(win, ImportOptions(), where="win").model()
    assert (vm["machine"], vm["firmware"], vm["secure_boot"], vm["tpm"]) == ("q35", "uefi", True, True)


@pytest.mark.parametrize(
    ("found", "name"), [("0--0", "0--0"), ("ERP Server (old)", "erp-server-old"), ("-x-", "x"), ("a" * 70, "a" * 63)]
)
def test_a_name_stays_as_far_as_it_can(found, name):
    assert machine_name(found, ImportOptions(), where="x")[0] == name


def test_a_strange_domain_becomes_one_that_runs_here():
    machine = domain().imported(None)
    vm = machine.vm
    assert (vm["name"], vm["run_policy"], vm["memory"]) == ("erp-server", "halted", 2 * 10**9)
    assert vm["cpu"] == {"sockets": 2, "cores": 2, "threads": 2, "model": "Nehalem"}
    assert (vm["firmware"], vm["secure_boot"], vm["machine"], vm["tpm"]) == ("uefi", True, "q35", True)
    assert [disk.file for disk in machine.disks] == ["/srv/vm/system.qcow2", "/srv/vm/data.img"]
    assert [(disk["bus"], disk.get("serial")) for disk in vm["disks"]] == [("virtio", "ERP-0001"), ("sata", None)]
    assert [nic["model"] for nic in vm["nics"]] == ["virtio", "e1000e", "rtl8139"]
    assert [nic.get("mac") for nic in vm["nics"]] == ["52:54:00:aa:bb:01", None, None]
    assert [nic.get("link_state") for nic in vm["nics"]] == [None, "down", None]
    assert outcome(machine, "domain/devices/interface[2]/link@state") == ("kept", "nics[1].link_state")
    assert refusals(vm, ImportOptions()) == []
    for field in ("domain/devices/sound@model", "domain/devices/hostdev@type", "domain/os/nvram"):
        assert outcome(machine, field)[0] == "dropped"
    assert outcome(machine, "domain/devices/disk[1]/target@bus")[1].startswith("a cdrom drive")
    assert outcome(machine, "domain/devices/tpm/backend@type")[0] == "changed"


def test_no_secret_of_the_source_is_in_the_result():
    machine = domain().imported(None)
    assert "hunter2" not in repr(machine)
    assert outcome(machine, "domain/devices/graphics@passwd")[0] == "dropped"


def test_a_firmware_that_forgot_its_entries_is_told_of():
    assert "BOOTX64.EFI" in outcome(domain().imported(LOST), "boot entry")[1]


def test_a_topology_that_does_not_make_vcpu_gives_way_to_it():
    machine = domain(("<vcpu placement='static'>8<", "<vcpu placement='static'>6<")).imported(None)
    cpu = machine.vm["cpu"]
    assert cpu["sockets"] * cpu["cores"] * cpu["threads"] == 6
    assert outcome(machine, "domain/cpu/topology@cores")[0] == "changed"


@pytest.mark.parametrize(
    ("clock", "zone"),
    [
        ("offset='utc'", "UTC"),
        ("offset='timezone' timezone='Europe/Paris'", "Europe/Paris"),
        ("offset='localtime'", "UTC"),
        ("offset='variable' adjustment='0' basis='utc'", "UTC"),
    ],
)
def test_the_clock_is_kept(clock, zone):
    change = ("offset='localtime'", clock)
    assert domain(change).imported(None).vm["timezone"] == zone
    assert domain(change, timezone="Asia/Tokyo").imported(None).vm["timezone"] == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("<domain type", "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain type"), "document type"),
        (("<name>erp_server</name>", "<name>___</name>"), "no name that can be used"),
        (("<memory unit='GB'>2<", "<memory unit='GB'>two<"), "is not a whole number"),
        (("<memory unit='GB'>2<", "<memory unit='ell'>2<"), "is no unit of bytes"),
        (("<vcpu placement='static'>8<", "<vcpu placement='static'>0<"), "is not a number of processors"),
        (("</domain>", ""), "not well-formed"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(EdgeError, match=message):
        domain(change).imported(None)


def machines(**options):
    yield domain(**options).imported(None).vm
    for name in ("vmware.ovf", "virtualbox.ovf"):
        yield (
            OvfMachine(read_envelope(source(name), where=name), ImportOptions(**options), where=name).imported(None).vm
        )


@pytest.mark.skipif(
    not (shutil.which("virt-xml-validate") and shutil.which("xmllint")),
    reason="needs virt-xml-validate (libvirt-clients) and xmllint (libxml2-utils)",
)
def test_libvirt_takes_what_was_imported(tmp_path):
    for vm in machines():
        machine = VirtualMachine.from_inventory(vm, where="vm", site="site")
        path = tmp_path / f"{machine.name}.xml"
        path.write_text(domain_xml(machine, virtualization="kvm"))
        done = subprocess.run(["virt-xml-validate", path, "domain"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_kubevirts_schema_takes_what_was_imported():
    for vm in machines(runtime="k3s", format="raw"):
        # KubeVirt connects one card to the cluster's network: the operator's choice, which the refusals ask for.
        told = refusals(vm, ImportOptions(runtime="k3s"))
        assert bool(told) == (len(vm["nics"]) > 1)
        machine = VirtualMachine.from_inventory({**vm, "nics": vm["nics"][:1]}, where="vm", site="site")
        for entry in machine_objects(machine, site="site", node="node-1"):
            kubernetes_schema.validate(entry)
            if entry["kind"] == "VirtualMachine":
                assert entry["spec"]["runStrategy"] == "Halted"
                devices = entry["spec"]["template"]["spec"]["domain"]
                assert devices["firmware"]["bootloader"] in (
                    {"bios": {}},
                    {"efi": {"secureBoot": machine.secure_boot}},
                )
                assert {disk["disk"]["bus"] for disk in devices["devices"]["disks"]} <= {
                    "virtio",
                    "sata",
                    "scsi",
                    "usb",
                }

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils import libvirt_domain
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_definition import (
    domain_from_xml,
    normal_form,
    runs_as_defined,
    same_definition,
    with_links_of,
)
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain import domain_xml
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import Cpu, Disk, VirtualMachine
from ansible_collections.edgewright.edge.tests.unit import libvirt_binding
from ansible_collections.edgewright.edge.tests.unit.strategies import virtual_machine
from hypothesis import given, settings

DEFINITIONS = Path(__file__).parent / "definitions"
TILL = (DEFINITIONS / "till.libvirt-9.0.xml").read_text(encoding="utf-8")


@pytest.mark.parametrize("virtualization", ["kvm", "emulation"])
def test_model_to_xml_to_model_is_the_identity(virtualization):
    @given(virtual_machine(virtualization=virtualization))
    def check(vm):
        assert domain_from_xml(domain_xml(vm, virtualization=virtualization)) == (vm, virtualization)

    check()


def test_the_identity_holds_through_libvirt_itself(monkeypatch):
    """libvirt's built-in test driver parses, fills in and writes definitions like the others, without a hypervisor."""
    libvirt = libvirt_binding.load()
    monkeypatch.setitem(libvirt_domain.DOMAIN_TYPES, "emulation", "test")
    connection = libvirt.open("test:///default")

    @settings(max_examples=100, deadline=None)
    @given(virtual_machine(virtualization="emulation"))
    def check(vm):
        domain = connection.defineXML(domain_xml(replace(vm, tpm=False), virtualization="emulation"))
        try:
            filled = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        finally:
            domain.undefine()
        read, _ = domain_from_xml(filled)
        assert replace(read, cpu=vm.cpu) == replace(vm, tpm=False)

    check()
    connection.close()


def test_what_qemu_got_filled_in_is_no_difference():
    till, virtualization = domain_from_xml(TILL)
    assert virtualization == "emulation"
    assert till == VirtualMachine(
        name="till",
        uuid="aaec0d5f-bc16-5397-b570-99e035084005",
        cpu=Cpu(model="qemu64"),
        memory=64 * 1024**2,
        disks=(Disk("build:guests/till", "sata", 1, 16 * 1024**2, "raw", "X"),),
        nics=till.nics,
        machine="pc",
        graphics="none",
    )
    assert same_definition(TILL, domain_xml(till, virtualization="emulation"))
    win, _ = domain_from_xml((DEFINITIONS / "win.libvirt-9.0.xml").read_text(encoding="utf-8"))
    assert (win.machine, win.firmware, win.secure_boot, win.tpm) == ("q35", "uefi", True, True)
    assert (win.timezone, win.graphics, win.cpu) == ("Europe/Berlin", "vnc", Cpu())
    assert [disk.bus for disk in win.disks] == ["usb", "scsi", "virtio"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("65536</memory>", "65540</memory>"),
        ("till/disk0.img", "till/disk1.img"),
        ("till/disk0.img", "other/disk0.img"),
        ("bus='sata'", "bus='virtio'"),
        ("<serial>X</serial>", "<serial>Y</serial>"),
        ("<boot order='1'/>", "<boot order='2'/>"),
        ("<boot order='1'/>", ""),
        ("qemu64</model>", "Nehalem</model>"),
        ("placement='static'>1</vcpu>", "placement='static'>2</vcpu>"),
        ("network='default'", "network='other'"),
        ("<model type='virtio'/>", "<model type='e1000'/>"),
        ("<model type='virtio'/>", "<model type='virtio'/><link state='down'/>"),
        ("52:54:00:bf:c6:45", "52:54:00:bf:c6:46"),
        ("<interface type='network'>", "<interface type='bridge'>"),
        ("<source network='default'/>", "<source bridge='br0'/>"),
        ("offset='utc'", "offset='localtime'"),
        ("</devices>", "<hostdev mode='subsystem'/></devices>"),
        ("</devices>", "<graphics type='spice'/></devices>"),
        ("pc-i440fx-7.2", "microvm"),
        ('priority="50"', 'priority="51"'),
        ("domain type='qemu'", "domain type='kvm'"),
        ("domain type='qemu'", "domain type='xen'"),
        ("https://edgewright.example.org", "https://elsewhere.example.org"),
    ],
)
def test_what_somebody_changed_by_hand_is_a_difference(old, new):
    assert old in TILL
    assert same_definition(TILL, TILL)
    assert not same_definition(TILL, TILL.replace(old, new, 1))


def test_a_running_machine_gets_the_links_of_its_definition_and_nothing_else():
    # A definition says nothing of a link that is up; what runs with it may.
    for live, defined, state in (
        (TILL, TILL.replace("<model type='virtio'/>", "<model type='virtio'/><link state='down'/>"), "down"),
        (TILL.replace("<model type='virtio'/>", "<link state='down'/><model type='virtio'/>"), TILL, "up"),
    ):
        assert not runs_as_defined(live, defined)
        linked, (card,) = with_links_of(defined, live)
        assert runs_as_defined(linked, defined)
        assert f'<link state="{state}" />' in card
        assert "52:54:00:bf:c6:45" in card
        # What libvirt finds the card of a running machine by is still there.
        assert "<address " in card
        assert with_links_of(defined, linked) == (linked, [])
    more = TILL.replace("65536</memory>", "65540</memory>").replace("52:54:00:bf:c6:45", "52:54:00:bf:c6:46")
    assert with_links_of(more, TILL)[1] == []
    assert not runs_as_defined(with_links_of(more, TILL)[0], more)
    assert with_links_of(TILL, "<domain><name>foreign</name></domain>") == ("<domain><name>foreign</name></domain>", [])


@pytest.mark.parametrize(
    "device", ["<hub type='usb'/>", "<watchdog model='itco' action='reset'/>", "<input type='mouse' bus='ps2'/>"]
)
def test_a_device_that_libvirt_adds_is_no_difference(device):
    assert same_definition(TILL, TILL.replace("</devices>", f"{device}</devices>"))


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<domain", "domain: is not well-formed XML"),
        ("<network><name>x</name></network>", "domain: is not a libvirt domain; expected <domain> with a <name>"),
        ("<domain type='kvm'><name>x</name></domain>", "its metadata are missing"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><domain><name>&a;</name></domain>', "has a document type"),
        (TILL.replace("</devices>", "<hostdev/><sound/></devices>"), "found <hostdev>.*\n.*found <sound>"),
    ],
)
def test_another_definition_is_refused_with_the_reason(xml, message):
    with pytest.raises(EdgeError, match=message):
        domain_from_xml(xml)


def test_the_normal_form_is_what_the_rendering_gives():
    vm, virtualization = domain_from_xml(TILL)
    assert normal_form(TILL) == domain_xml(vm, virtualization=virtualization)
    assert normal_form("<domain/>") == "<domain/>"

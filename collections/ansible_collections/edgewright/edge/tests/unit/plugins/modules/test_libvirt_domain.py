"""The module against libvirt's built-in test driver: a real libvirt that has no hypervisor and forgets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils import libvirt_domain as rendering
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import Cpu, Disk, Nic, VirtualMachine
from ansible_collections.edgewright.edge.tests.unit import libvirt_binding

VM = VirtualMachine(
    name="till",
    uuid="aaec0d5f-bc16-5397-b570-99e035084005",
    cpu=Cpu(model="qemu64"),
    memory=64 * 1024**2,
    disks=(Disk("build:guests/till", "virtio", 1),),
    nics=(Nic("default", "virtio", "52:54:00:00:00:01"),),
)


@pytest.fixture
def libvirt(monkeypatch):
    binding = libvirt_binding.load()
    # The test driver runs domains of its own type only.
    monkeypatch.setitem(rendering.DOMAIN_TYPES, "emulation", "test")
    return binding


@pytest.fixture(autouse=True)
def connection(libvirt):
    """Keep the test driver's memory for the time of a test."""
    opened = libvirt.open("test:///default")
    yield opened
    for domain in opened.listAllDomains():
        if domain.name() != "test":
            if domain.isActive():
                domain.destroy()
            domain.undefine()
    opened.close()


@pytest.fixture
def manage(run_module):
    return lambda **arguments: run_module("libvirt_domain", **{"name": "till", "uri": "test:///default", **arguments})


def xml(**changes):
    return rendering.domain_xml(replace(VM, **changes), virtualization="emulation")


def names(connection):
    return sorted(domain.name() for domain in connection.listAllDomains() if domain.name() != "test")


def test_it_is_defined_once(manage, connection):
    first = manage(xml=xml(), diff=True)
    assert first["changed"]
    assert first["diff"]["before"] == ""
    assert first["diff"]["after"] == xml()
    assert (first["uuid"], first["running"], first["restart_needed"]) == (VM.uuid, False, False)
    assert connection.lookupByName("till").UUIDString() == VM.uuid
    second = manage(xml=xml(), diff=True)
    assert not second["changed"]
    assert "diff" not in second


def test_check_mode_tells_and_does_nothing(manage, connection):
    told = manage(xml=xml(), state="running", check=True)
    assert (told["changed"], told["running"], told["restart_needed"], told["uuid"]) == (True, True, False, VM.uuid)
    assert told["diff"] == {"before": "", "after": xml()}
    assert names(connection) == []
    manage(xml=xml())
    for arguments in ({"state": "absent"}, {"xml": xml(memory=128 * 1024**2)}, {"state": "running"}):
        assert manage(check=True, **arguments)["changed"]
    assert not manage(xml=xml())["changed"]
    assert not connection.lookupByName("till").isActive()


def test_a_change_is_shown_and_needs_a_restart(manage):
    manage(xml=xml(), state="running")
    result = manage(xml=xml(memory=128 * 1024**2), diff=True)
    assert result["changed"]
    assert result["restart_needed"]
    before, after = (set(result["diff"][side].splitlines()) for side in ("before", "after"))
    assert before - after == {'  <memory unit="KiB">65536</memory>'}
    assert after - before == {'  <memory unit="KiB">131072</memory>'}
    # Run again, it is no change any more, and the machine still runs as it was.
    again = manage(xml=xml(memory=128 * 1024**2))
    assert (again["changed"], again["restart_needed"]) == (False, True)
    assert not manage(xml=xml(), state="present")["restart_needed"]


def test_a_link_is_set_while_the_machine_runs(manage):
    """Told in check mode only: the test driver can do everything but that (``molecule/virtual_machines`` does it)."""
    pulled = xml(nics=(replace(VM.nics[0], link_state="down"),))
    manage(xml=xml(), state="running")
    told = manage(xml=pulled, check=True, diff=True)
    assert (told["changed"], told["restart_needed"]) == (True, False)
    assert '<link state="down" />' in told["diff"]["after"]
    more = manage(xml=xml(nics=(replace(VM.nics[0], link_state="down"),), memory=128 * 1024**2), check=True)
    assert (more["changed"], more["restart_needed"]) == (True, True)
    # One that is stopped, or only asked to stop, is not touched first.
    assert manage(xml=pulled, state="destroyed")["changed"]
    assert not manage(xml=pulled, state="present")["restart_needed"]
    assert manage(xml=pulled, state="running")["changed"]
    assert not manage(xml=pulled, state="running")["changed"]


def test_a_stopped_domain_needs_no_restart(manage):
    manage(xml=xml())
    assert not manage(xml=xml(memory=128 * 1024**2))["restart_needed"]
    assert not manage(xml=xml(memory=256 * 1024**2), state="running")["restart_needed"]
    assert not manage(xml=xml(memory=512 * 1024**2), state="destroyed")["restart_needed"]


def test_what_somebody_changed_by_hand_is_put_back(manage, connection):
    manage(xml=xml())
    connection.defineXML(
        connection.lookupByName("till").XMLDesc(0).replace("<memory unit='KiB'>65536", "<memory unit='KiB'>99999")
    )
    assert manage(xml=xml())["changed"]
    assert not manage(xml=xml())["changed"]


def test_it_starts_and_stops_once(manage, connection):
    for state, running in (("running", True), ("shutdown", False), ("running", True), ("destroyed", False)):
        result = manage(xml=xml(), state=state)
        assert (result["changed"], result["running"]) == (True, running)
        assert bool(connection.lookupByName("till").isActive()) == running
        assert not manage(xml=xml(), state=state)["changed"]


def test_a_domain_that_is_there_needs_no_definition(manage):
    manage(xml=xml())
    assert manage(state="running")["running"]
    assert not manage(state="shutdown")["running"]


def test_it_is_removed_once_even_while_it_runs(manage, connection):
    manage(xml=xml(), state="running")
    result = manage(state="absent", diff=True)
    assert result["changed"]
    assert (result["running"], result["restart_needed"], "uuid" in result) == (False, False, False)
    assert result["diff"]["after"] == ""
    assert names(connection) == []
    assert not manage(state="absent")["changed"]


def test_stopping_what_is_not_there_changes_nothing(manage):
    assert not manage(state="shutdown")["changed"]
    assert not manage(state="destroyed")["changed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "state is present but all of the following are missing: xml"),
        ({"state": "running"}, "till: there is no such domain. Give its definition with 'xml'."),
        ({"xml": "<domain/>"}, "domain: is not a libvirt domain"),
        ({"xml": "nonsense"}, "domain: is not well-formed XML"),
        ({"name": "other", "xml": True}, "xml: is the definition of another domain; found till; expected other."),
        ({"state": "absent", "uri": "test:///nowhere"}, "till: libvirt at test:///nowhere refuses: "),
    ],
)
def test_what_cannot_be_done_says_why(manage, arguments, message):
    if arguments.get("xml") is True:
        arguments = {**arguments, "xml": xml()}
    result = manage(**arguments)
    assert result["failed"]
    assert message in result["msg"]

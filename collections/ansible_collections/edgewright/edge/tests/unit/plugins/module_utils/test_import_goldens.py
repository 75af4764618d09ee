"""Descriptions of machines in each vendor's dialect, and the whole of what they become (``sources/*.yml``)."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils import kubevirt_machine
from ansible_collections.edgewright.edge.plugins.module_utils.imported_machine import ImportOptions, refusals
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_virtual_machine import machine_objects
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain_xml import LibvirtDomain
from ansible_collections.edgewright.edge.plugins.module_utils.ovf import read_envelope
from ansible_collections.edgewright.edge.plugins.module_utils.ovf_machine import OvfMachine
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import VirtualMachine
from ansible_collections.edgewright.edge.tests.unit.kubernetes_schema import validate
from ansible_collections.edgewright.edge.tests.unit.machine_sources import SOURCES, source

# vSphere's export; VirtualBox's in OVF 1.0 and 2.0; VMware Workstation's by ovftool; ESX 3's in OVF 0.9; virsh dumpxml.
DIALECTS = ("vmware.ovf", "virtualbox.ovf", "virtualbox-ovf2.ovf", "workstation.ovf", "esx3-ovf09.ovf", "libvirt.xml")
GOLDEN = [(name, runtime) for name in DIALECTS for runtime in ("podman", "k3s")]


def imported(name, options):
    if name.endswith(".xml"):
        return LibvirtDomain(source(name), options, where=name).imported(None)
    return OvfMachine(read_envelope(source(name), where=name), options, where=name).imported(None)


def options_for(runtime):
    return ImportOptions(runtime=runtime, format="raw" if runtime == "k3s" else "qcow2")


@pytest.mark.parametrize(("name", "runtime"), GOLDEN)
def test_a_machine_becomes_what_it_always_became(name, runtime):
    golden = yaml.safe_load((SOURCES / f"{name.partition('.')[0]}.{runtime}.yml").read_text())
    assert imported(name, options_for(runtime)).vm == golden


@pytest.mark.parametrize("name", DIALECTS)
def test_what_it_becomes_for_a_cluster_is_what_kubevirt_admits(name):
    told = imported(name, options_for("k3s")).vm
    # One card is connected to the cluster's network; which one is the operator's choice, and the refusals ask for it.
    assert bool(refusals(told, options_for("k3s"))) == (len(told["nics"]) > 1)
    machine = VirtualMachine.from_inventory({**told, "nics": told["nics"][:1]}, where="vm", site="site")
    assert kubevirt_machine.refusals(machine, where="vm") == []
    for entry in machine_objects(machine, site="site", node="node-1"):
        validate(entry)

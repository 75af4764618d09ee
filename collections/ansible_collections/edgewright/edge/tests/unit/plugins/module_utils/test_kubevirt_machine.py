from __future__ import annotations

import dataclasses

from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_machine import BUSES, refusals
from ansible_collections.edgewright.edge.tests.unit.strategies import virtual_machine
from hypothesis import given
from hypothesis import strategies as st


@given(virtual_machine(virtualization="kvm"), st.booleans())
def test_what_kubevirt_lacks_is_refused_and_nothing_else(vm, modern):
    if modern:
        disks = tuple(dataclasses.replace(disk, bus="sata", format="raw") for disk in vm.disks)
        nics = tuple(dataclasses.replace(nic, network="default") for nic in vm.nics[:1])
        changed = dataclasses.replace(vm, machine="q35", disks=disks, nics=nics, tpm=False)
        assert refusals(changed, where="vm") == []
        emulated = refusals(changed, where="vm", virtualization="emulation")
        assert [problem.where for problem in emulated] == ["vm.cpu.model"] * (vm.cpu.model == "host-passthrough")
        return
    lacking = ["vm.machine"] if vm.machine == "pc" else []
    for number, disk in enumerate(vm.disks):
        lacking += [f"vm.disks[{number}].bus"] * (disk.bus not in BUSES)
        lacking += [f"vm.disks[{number}].format"] * (disk.format != "raw")
    lacking += ["vm.tpm"] * vm.tpm
    lacking += [f"vm.nics[{number}].network" for number, nic in enumerate(vm.nics) if nic.network != "default"]
    lacking += ["vm.nics"] * (len(vm.nics) > 1)
    found = refusals(vm, where="vm")
    assert [problem.where for problem in found] == lacking
    assert all(problem.expected and problem.remedy for problem in found)

from __future__ import annotations

import dataclasses

from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_machine import BUSES, refusals
from ansible_collections.edgewright.edge.tests.unit.strategies import virtual_machine
from hypothesis import given
from hypothesis import strategies as st


@given(virtual_machine(virtualization="kvm"), st.booleans())
def test_what_kubevirt_lacks_is_refused_and_nothing_else(vm, modern):
    if modern:
        disks = tuple(dataclasses.replace(disk, bus="sata") for disk in vm.disks)
        assert refusals(dataclasses.replace(vm, machine="q35", disks=disks), where="vm") == []
        return
    lacking = ["vm.machine"] if vm.machine == "pc" else []
    lacking += [f"vm.disks[{number}].bus" for number, disk in enumerate(vm.disks) if disk.bus not in BUSES]
    found = refusals(vm, where="vm")
    assert [problem.where for problem in found] == lacking
    assert all(problem.expected and problem.remedy for problem in found)

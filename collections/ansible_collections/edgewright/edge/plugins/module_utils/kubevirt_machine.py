"""What KubeVirt cannot give a virtual machine that libvirt can (KubeVirt 1.9's admitters)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import VirtualMachine

BUSES: Final = ("virtio", "scsi", "sata", "usb")
MACHINES: Final = ("q35",)


def refusals(vm: VirtualMachine, *, where: str) -> list[Problem]:
    """Return what of a machine does not run on KubeVirt, with paths below ``where``."""
    problems = Problems()
    if vm.machine not in MACHINES:
        problems.add(
            f"{where}.machine",
            "cannot run on KubeVirt",
            found=repr(vm.machine),
            expected=f"one of {', '.join(MACHINES)}",
            remedy="Set 'machine: q35', or run the machine with 'edge_runtime: podman'.",
        )
    for number, disk in enumerate(vm.disks):
        if disk.bus not in BUSES:
            problems.add(
                f"{where}.disks[{number}].bus",
                "cannot run on KubeVirt",
                found=repr(disk.bus),
                expected=f"one of {', '.join(BUSES)}",
                remedy="Use 'sata', or put a virtio driver into the guest first.",
            )
    return problems.found

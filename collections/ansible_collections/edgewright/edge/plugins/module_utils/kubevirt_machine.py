"""What KubeVirt cannot give a virtual machine that libvirt can (KubeVirt 1.9's admitters)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import VirtualMachine

BUSES: Final = ("virtio", "scsi", "sata", "usb")
MACHINES: Final = ("q35",)
NETWORK: Final = "default"
"""The network of the cluster's pods: the only one there is."""


def refusals(vm: VirtualMachine, *, where: str, virtualization: str = "kvm") -> list[Problem]:
    """Return what of a machine does not run on KubeVirt, with paths below ``where``.

    Args:
        vm: the machine.
        where: its path in the inventory.
        virtualization: what its node can do: ``kvm`` or ``emulation``.
    """
    problems = Problems()
    if virtualization == "emulation" and vm.cpu.model == "host-passthrough":
        # KubeVirt takes it, and libvirt then refuses it at each start.
        problems.add(
            f"{where}.cpu.model",
            "needs hardware virtualization",
            found="'host-passthrough' with edge_virtualization 'emulation'",
            expected="a QEMU model as pentium3, or host-model",
            remedy="Name a model as pentium3, or leave cpu.model out.",
        )
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
        if disk.volume.local and disk.format != "raw":
            problems.add(
                f"{where}.disks[{number}].format",
                "cannot run on KubeVirt",
                found=repr(disk.format),
                expected="raw",
                remedy="Convert it with 'qemu-img convert -O raw <disk> <disk>.img', and name that.",
            )
    if vm.tpm:
        problems.add(
            f"{where}.tpm",
            "would forget what it holds at every stop",
            found="true",
            expected="false",
            remedy="Run the machine with 'edge_runtime: podman', whose TPM keeps its state.",
        )
    for number, nic in enumerate(vm.nics):
        if nic.network != NETWORK:
            problems.add(
                f"{where}.nics[{number}].network",
                "is no network of the cluster",
                found=repr(nic.network),
                expected=NETWORK,
                remedy="Leave 'network' out, or run the machine with 'edge_runtime: podman'.",
            )
    if len(vm.nics) > 1:
        problems.add(
            f"{where}.nics",
            "are more than KubeVirt connects to the cluster's network",
            found=str(len(vm.nics)),
            expected="none or one",
            remedy="Keep one, or run the machine with 'edge_runtime: podman'.",
        )
    return problems.found

"""A virtual machine as objects of Kubernetes: KubeVirt's ``VirtualMachine``, and its disks as volumes of a node.

Rules are those of KubeVirt 1.9 (``api/core/v1/schema.go``, ``pkg/virt-api/webhooks/validating-webhook/admitters``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import (
    NAMESPACE,
    VIRTUAL_MACHINE,
    labels,
    on_nodes,
    priority_class,
    priority_class_name,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_volume import (
    data_volumes,
    has_local_disk,
    volume_source,
)
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import Cpu, Nic, VirtualMachine, disk_path

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN_STRATEGIES: Final = {"always": "Always", "manual": "Manual", "halted": "Halted"}
# What a volume of this kind holds is not measured by anyone, and neither a volume nor a claim can be changed later: the
# number says nothing, is the same for all, and a disk may become larger without it.
_CAPACITY: Final = "1Mi"


def machine_objects(
    vm: VirtualMachine, *, site: str, node: str, others: Sequence[str] = (), virtualization: str = "kvm"
) -> list[dict[str, Any]]:
    """Render a machine's ``PriorityClass``, what each disk needs, and the ``VirtualMachine``.

    A disk that is a file of the node is a volume and a claim, one that CDI fills a ``DataVolume``.

    The same machine is always the same data.

    Args:
        vm: a machine that ``kubevirt_machine.refusals`` has nothing against.
        site: name of the site, which labels the objects.
        node: the one that has its disks; it runs there.
        others: nodes that a machine may run on too if none of its disks is a file of the first.
        virtualization: what the cluster's processors can do: ``kvm`` or ``emulation``.
    """
    marks = labels(vm, VIRTUAL_MACHINE, site=site)
    volumes = data_volumes(vm, VIRTUAL_MACHINE, site=site)
    for number, disk in enumerate(vm.disks):
        if disk.volume.local:
            volumes += _volume(vm, number, marks, node)
    nodes = [node] if has_local_disk(vm) else [node, *others]
    machine = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": vm.name, "namespace": NAMESPACE, "labels": dict(marks)},
        "spec": {
            "runStrategy": RUN_STRATEGIES[vm.run_policy],
            "template": {"metadata": {"labels": dict(marks)}, "spec": _instance(vm, nodes, virtualization)},
        },
    }
    return [priority_class(vm, VIRTUAL_MACHINE, site=site), *volumes, machine]


def claim_name(vm: VirtualMachine, number: int, node: str) -> str:
    """Return the name of a disk's claim. The node is in it: a claim cannot be moved, only made anew."""
    return f"{vm.name}-disk{number}-{node}"


def _volume(vm: VirtualMachine, number: int, marks: dict[str, str], node: str) -> list[dict[str, Any]]:
    """Render a disk's folder as a volume, and the claim that only this volume satisfies."""
    claim = claim_name(vm, number, node)
    name = f"{NAMESPACE}-{claim}"
    # No class: nothing makes such a volume, and nothing deletes what is on it.
    shared = {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "storageClassName": ""}
    folder = disk_path(vm.name, number, runtime="k3s").rpartition("/")[0]
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "labels": dict(marks)},
            "spec": {
                **shared,
                "capacity": {"storage": _CAPACITY},
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": NAMESPACE,
                    "name": claim,
                },
                "local": {"path": folder},
                "nodeAffinity": {"required": on_nodes([node])},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": NAMESPACE, "labels": dict(marks)},
            "spec": {**shared, "volumeName": name, "resources": {"requests": {"storage": _CAPACITY}}},
        },
    ]


def _instance(vm: VirtualMachine, nodes: Sequence[str], virtualization: str) -> dict[str, Any]:
    """Render what runs: the ``VirtualMachineInstance``'s specification."""
    disks = []
    for number, disk in enumerate(vm.disks):
        rendered: dict[str, Any] = {"name": f"disk{number}", "bootOrder": disk.boot_order, "disk": {"bus": disk.bus}}
        if disk.serial:
            rendered["serial"] = disk.serial
        disks.append(rendered)
    spec: dict[str, Any] = {
        "priorityClassName": priority_class_name(vm, VIRTUAL_MACHINE),
        "terminationGracePeriodSeconds": vm.stop_timeout,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": on_nodes(nodes)}},
        "domain": {
            "machine": {"type": vm.machine},
            "cpu": _cpu(vm.cpu),
            "memory": {"guest": str(vm.memory)},
            # Without a serial number KubeVirt draws one whenever the object is made anew.
            "firmware": {"uuid": vm.uuid, "serial": vm.uuid, "bootloader": _bootloader(vm)},
            "clock": _clock(vm.timezone, virtualization),
            "devices": {
                "autoattachGraphicsDevice": vm.graphics == "vnc",
                "autoattachSerialConsole": True,
                # What the guest writes there is the log of a container of its pod, as libvirt keeps it in a file.
                "logSerialConsole": True,
                # Without it KubeVirt adds an interface that nobody asked for.
                "autoattachPodInterface": bool(vm.nics),
                "disks": disks,
                "interfaces": [_interface(nic) for nic in vm.nics],
            },
        },
        "networks": [{"name": nic.network, "pod": {}} for nic in vm.nics],
        "volumes": [
            {
                "name": f"disk{number}",
                **(
                    volume_source(vm, number)
                    or {"persistentVolumeClaim": {"claimName": claim_name(vm, number, nodes[0])}}
                ),
            }
            for number in range(len(vm.disks))
        ],
    }
    if vm.secure_boot:
        spec["domain"]["features"] = {"smm": {"enabled": True}}
    if vm.graphics == "vnc":
        # As on libvirt: an absolute pointer keeps the mouse of a VNC client where the guest draws it.
        spec["domain"]["devices"]["inputs"] = [{"name": "tablet", "type": "tablet", "bus": "usb"}]
    return spec


def _interface(nic: Nic) -> dict[str, Any]:
    """Render a network card. KubeVirt sets the link of a running guest too; none written is ``up``."""
    interface: dict[str, Any] = {"name": nic.network, "masquerade": {}, "model": nic.model, "macAddress": nic.mac}
    return interface if nic.link_state == "up" else {**interface, "state": nic.link_state}


def _clock(timezone: str, virtualization: str) -> dict[str, Any]:
    """Render the hardware clock, with the timers that libvirt gives the same machine: old guests count their ticks."""
    clock: dict[str, Any] = {"utc": {}} if timezone == "UTC" else {"timezone": timezone}
    if virtualization == "kvm":
        clock["timer"] = {
            "hpet": {"present": False},
            "pit": {"tickPolicy": "delay"},
            "rtc": {"tickPolicy": "catchup"},
        }
    return clock


def _cpu(cpu: Cpu) -> dict[str, Any]:
    return {"sockets": cpu.sockets, "cores": cpu.cores, "threads": cpu.threads, "model": cpu.model}


def _bootloader(vm: VirtualMachine) -> dict[str, Any]:
    """Render the firmware. Secure boot is written out: KubeVirt's default is on, and it then wants SMM."""
    return {"efi": {"secureBoot": vm.secure_boot}} if vm.firmware == "uefi" else {"bios": {}}

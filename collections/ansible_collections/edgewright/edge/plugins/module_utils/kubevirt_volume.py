"""Disks that are no files of a node: KubeVirt's container disks, and volumes that CDI fills.

Rules are those of KubeVirt 1.9 (``pkg/storage/admitters``) and CDI 1.66 (``pkg/apiserver/webhooks``,
``pkg/controller/datavolume``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import image_of
from ansible_collections.edgewright.edge.plugins.module_utils.disk_volume import CONTAINER_DISK, DATA_VOLUME
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import (
    NAMESPACE,
    WORKLOAD_LABEL,
    labels,
)

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import Disk, VirtualMachine

DISK_LABEL: Final = "virtual-machine-disk"
"""The kind of workload in a data volume's labels: CDI gives them to its claim too, and both outlive the machine."""


def has_local_disk(vm: VirtualMachine) -> bool:
    """Tell whether a machine is bound to the node that has its disks."""
    return any(disk.volume.local for disk in vm.disks)


def data_volume_name(vm: VirtualMachine, number: int) -> str:
    """Return the name of a disk's ``DataVolume``, and of the claim that CDI makes for it."""
    return f"{vm.name}-disk{number}"


def data_volume_names(vm: VirtualMachine) -> list[str]:
    """Return the names of all data volumes of a machine."""
    return [data_volume_name(vm, number) for number, disk in enumerate(vm.disks) if disk.volume.kind == DATA_VOLUME]


def data_volumes(vm: VirtualMachine, kind: str, *, site: str) -> list[dict[str, Any]]:
    """Render a ``DataVolume`` (cdi.kubevirt.io/v1beta1) for each disk that is one.

    It is an object of its own and no template in the machine: what a guest has written is to outlive the machine's
    object. The size is what the guest sees; ``storage`` lets CDI add what the file system takes
    (``filesystemOverhead``, 6 % unless the site's CDI says otherwise). An image is pulled by the node
    (``pullMethod: node``), so it comes from where all images of the site come from, and needs no scratch space.
    """
    marks = {**labels(vm, kind, site=site), WORKLOAD_LABEL: DISK_LABEL}
    return [
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataVolume",
            "metadata": {"name": data_volume_name(vm, number), "namespace": NAMESPACE, "labels": dict(marks)},
            "spec": {
                "source": _source(disk),
                "storage": {
                    "accessModes": [disk.volume.access_mode],
                    "volumeMode": "Filesystem",
                    "storageClassName": disk.volume.storage_class,
                    "resources": {"requests": {"storage": str(disk.size)}},
                },
            },
        }
        for number, disk in enumerate(vm.disks)
        if disk.volume.kind == DATA_VOLUME
    ]


def volume_source(vm: VirtualMachine, number: int) -> dict[str, Any]:
    """Render the source of a ``VirtualMachineInstance``'s volume; nothing for a disk that is a file of the node."""
    disk = vm.disks[number]
    if disk.volume.kind == CONTAINER_DISK:
        return {"containerDisk": {"image": image_of(disk.source), "imagePullPolicy": "IfNotPresent"}}
    if disk.volume.kind == DATA_VOLUME:
        return {"dataVolume": {"name": data_volume_name(vm, number)}}
    return {}


def _source(disk: Disk) -> dict[str, Any]:
    if image_of(disk.source):
        return {"registry": {"url": disk.source, "pullMethod": "node"}}
    return {"http": {"url": disk.source, "checksum": disk.volume.checksum}}

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``kubevirt_virtual_machines`` does: virtual machines of a cluster to manifests for k3s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import (
    NAMESPACE_FILE,
    VIRTUAL_MACHINE,
    declared_once,
    file_name,
    namespace,
    priority_class_name,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_machine import refusals
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_virtual_machine import (
    RUN_STRATEGIES,
    claim_name,
    machine_objects,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_volume import data_volume_names
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import (
    DISK_OWNERS,
    disk_path,
    virtual_machines,
)
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_documents

if TYPE_CHECKING:
    from collections.abc import Mapping

_WHERE = "edge_virtual_machines"
_HEAD = "Managed by Edgewright (role virtual_machines)."
_RUNTIME = "k3s"


def kubevirt_virtual_machines(declared: Mapping[str, object], site: str, virtualization: str = "kvm") -> dict[str, Any]:
    """Render the machines; every problem of every machine is in the one error."""
    try:
        machines = declared_once(
            declared,
            where=_WHERE,
            read=lambda value: virtual_machines(value, where=_WHERE, site=site),
            refusals=lambda vm, at: refusals(vm, where=at, virtualization=virtualization),
        )
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    files = [{"name": NAMESPACE_FILE, "content": yaml_documents([namespace()], head="Managed by Edgewright.")}]
    told = []
    for vm, nodes in machines:
        objects = machine_objects(vm, site=site, node=nodes[0], others=nodes[1:], virtualization=virtualization)
        files.append({"name": file_name(vm, VIRTUAL_MACHINE), "content": yaml_documents(objects, head=_HEAD)})
        told.append(
            {
                "name": vm.name,
                "node": nodes[0],
                "disks": [
                    {
                        "path": disk_path(vm.name, number, runtime=_RUNTIME),
                        "source": disk.source,
                        "owner": DISK_OWNERS[_RUNTIME],
                        "size": disk.size,
                    }
                    for number, disk in enumerate(vm.disks)
                    if disk.volume.local
                ],
                "run_policy": vm.run_policy,
                "run_strategy": RUN_STRATEGIES[vm.run_policy],
                "stop_timeout": vm.stop_timeout,
                "file": file_name(vm, VIRTUAL_MACHINE),
                "claims": [
                    claim_name(vm, number, nodes[0]) for number, disk in enumerate(vm.disks) if disk.volume.local
                ],
                "data_volumes": data_volume_names(vm),
                "priority_class": priority_class_name(vm, VIRTUAL_MACHINE),
            }
        )
    return {"files": files, "machines": told}

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: virtual machines of a cluster to manifests for k3s."""

from __future__ import annotations

DOCUMENTATION = r"""
name: kubevirt_virtual_machines
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Render a cluster's virtual machines as manifests
description:
  - Checks what the nodes of a cluster have as C(edge_virtual_machines), and renders each machine as a KubeVirt
    VirtualMachine, volumes of its disks and a PriorityClass, in the order they start.
  - The cluster runs a machine once, on the first of the nodes that declare it, for its disks are there; one that has
    no disk there may run on any of them.
  - The same input always gives the same output. Nothing is read from or changed on any machine.
positional: site, virtualization
options:
  _input:
    description: Lists C(edge_virtual_machines) by node, nodes in the cluster's order.
    type: dict
    required: true
  site:
    description: The site's name, C(edge_site). UUIDs and MAC addresses that are not given are derived from it.
    type: str
    required: true
  virtualization:
    description: What the cluster's processors can do, V(kvm) or V(emulation).
    type: str
    default: kvm
"""

EXAMPLES = r"""
- name: Manifests are in place
  ansible.builtin.copy:
    content: "{{ item.content }}"
    dest: "/var/lib/rancher/k3s/server/manifests/{{ item.name }}"
    mode: "0600"
  loop: >-
    {{ ({inventory_hostname: edge_virtual_machines} | edgewright.edge.kubevirt_virtual_machines(edge_site)).files }}
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
_value:
  description: The manifests, and what the node has to know of each machine.
  type: dict
  contains:
    files:
      description: Manifests with C(name) and C(content), in the order k3s applies them. The first is the namespace.
      type: list
      elements: dict
    machines:
      description: One dictionary a machine, in start order.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the machine.
          type: str
        node:
          description: Node that runs it.
          type: str
        disks:
          description:
            - Its disks that are files of the node, in order. Each has C(path), C(source), C(owner) (a number) and
              C(size) in bytes, which is null where the artifact's own size stays.
          type: list
          elements: dict
        run_policy:
          description: V(always), V(manual) or V(halted).
          type: str
        run_strategy:
          description: The same as KubeVirt's C(runStrategy).
          type: str
        stop_timeout:
          description: Seconds the machine gets to shut down.
          type: int
        file:
          description: Name of its manifest.
          type: str
        claims:
          description: Names of the claims of its disks that are files of the node.
          type: list
          elements: str
        data_volumes:
          description: Names of the DataVolumes of its other disks.
          type: list
          elements: str
        priority_class:
          description: Name of its PriorityClass.
          type: str
"""

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
    from collections.abc import Callable, Mapping

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


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"kubevirt_virtual_machines": kubevirt_virtual_machines}

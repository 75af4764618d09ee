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

from ansible_collections.edgewright.edge.plugins.plugin_utils.late_filter import late_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"kubevirt_virtual_machines": late_filter("kubevirt_virtual_machines")}

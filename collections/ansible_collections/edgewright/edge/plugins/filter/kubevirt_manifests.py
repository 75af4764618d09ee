# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: KubeVirt and CDI as manifests for k3s."""

from __future__ import annotations

DOCUMENTATION = r"""
name: kubevirt_manifests
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Render KubeVirt and CDI as manifests
description:
  - Checks the mapping C(edge_kubernetes) and renders what k3s has to apply for it - the operators' published manifests,
    adapted to the cluster's size, the objects that configure KubeVirt and CDI, and a storage class for disks.
  - The same input always gives the same output. Nothing is read from or changed on any machine.
positional: cluster, operators
options:
  _input:
    description: The mapping C(edge_kubernetes); an empty one means the newest tested versions.
    type: dict
    required: true
  cluster:
    description: The cluster.
    type: dict
    required: true
    suboptions:
      nodes: {description: Number of its nodes., type: int, required: true}
      virtualization:
        description: What the nodes can do, C(edge_virtualization).
        type: str
        choices: [kvm, emulation]
        default: kvm
      certificates:
        description:
          - How long certificates last - C(ca_years), C(server_years), and C(renew_days) before their end they are
            renewed.
        type: dict
      namespaces: {description: Namespaces of virtual machines., type: list, elements: str}
  operators:
    description: Text of the operators' published manifests, by C(kubevirt) and C(cdi).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Manifests are in place
  ansible.builtin.copy:
    content: "{{ item.content }}"
    dest: "/var/lib/rancher/k3s/server/manifests/{{ item.name }}"
    mode: "0600"
  loop: >-
    {{ edge_kubernetes | edgewright.edge.kubevirt_manifests(
       {'nodes': 1}, {'kubevirt': lookup('ansible.builtin.file', 'kubevirt-operator.yaml')}) }}
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
_value:
  description: One dictionary a file, sorted by name; none where C(edge_kubernetes) says that there is no KubeVirt.
  type: list
  elements: dict
  contains:
    name:
      description: Name of the file.
      type: str
    content:
      description: Its text.
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
        return {"kubevirt_manifests": late_filter("kubevirt_manifests")}

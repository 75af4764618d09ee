# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: which nodes of a cluster get another k3s, and in which order."""

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_order
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Which nodes of a cluster get another k3s, and in which order
description:
  - Compares the versions that nodes run with the one they shall run. Refuses a step down, and one over a minor
    version of Kubernetes.
positional: target, servers, agents
options:
  _input:
    description: The nodes as RV(edgewright.edge.cluster_health_info#module:nodes) has them.
    type: list
    elements: dict
    required: true
  target:
    description: Version of k3s that they shall run.
    type: str
    required: true
  servers:
    description: Names of the inventory's servers.
    type: list
    elements: str
    required: true
  agents:
    description: Names of the inventory's agents.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Nodes to upgrade are known
  ansible.builtin.set_fact:
    upgrade_nodes: "{{ health.nodes | edgewright.edge.upgrade_order('v1.36.5+k3s1', groups['k3s_server'], []) }}"
"""

RETURN = r"""
_value:
  description: Names of the nodes that run another version or were left drained, servers before agents.
  type: list
  elements: str
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.plugin_utils.late_filter import late_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"upgrade_order": late_filter("upgrade_order")}

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: inference services of a cluster to manifests for KServe."""

from __future__ import annotations

DOCUMENTATION = r"""
name: kserve_inference_services
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Render a cluster's inference services for KServe
description:
  - Checks what the nodes of a cluster have as C(edge_inference_services), and renders each service as a ServingRuntime,
    an InferenceService and a PriorityClass, in the order they start.
  - For clusters that have KServe. Without it the role P(edgewright.edge.inference_services#role) runs the same services
    as Deployments; give a cluster one of the two.
  - The same input always gives the same output. Nothing is read from or changed on any machine.
positional: site, version
extends_documentation_fragment:
  - edgewright.edge.inference_services
  - edgewright.edge.inference_services.cluster
"""

EXAMPLES = r"""
- name: Manifests for KServe are on the controller
  ansible.builtin.copy:
    content: "{{ item.content }}"
    dest: "{{ playbook_dir }}/kserve/{{ item.name }}"
    mode: "0644"
  loop: >-
    {{ {inventory_hostname: edge_inference_services}
        | edgewright.edge.kserve_inference_services(edge_site, version='0.1.0') }}
  loop_control:
    label: "{{ item.name }}"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: Manifests with C(name) and C(content), in the order they are to be applied. The first is the namespace.
  type: list
  elements: dict
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.plugin_utils.late_filter import late_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"kserve_inference_services": late_filter("kserve_inference_services")}

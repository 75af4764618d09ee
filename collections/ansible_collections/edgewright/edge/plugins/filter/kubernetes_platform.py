# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the releases that a site's Kubernetes is made of, and where their manifests come from."""

from __future__ import annotations

DOCUMENTATION = r"""
name: kubernetes_platform
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Releases that a site's Kubernetes is made of
description:
  - Checks C(edge_kubernetes) and returns it with all defaults. Versions that do not go together are refused, with the
    reason.
options:
  _input:
    description: The mapping C(edge_kubernetes); an empty one is the newest tested combination.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Version of KubeVirt is known
  ansible.builtin.debug:
    msg: "{{ (edge_kubernetes | default({}) | edgewright.edge.kubernetes_platform).kubevirt }}"
"""

RETURN = r"""
_value:
  description: What the site gets.
  type: dict
  contains:
    k3s:
      description: Version of k3s.
      type: str
    kubevirt:
      description: Version of KubeVirt, or null.
      type: str
    kubevirt_url:
      description: Canonical address of KubeVirt's manifest, or null.
      type: str
    cdi:
      description: Version of CDI, or null.
      type: str
    cdi_url:
      description: Canonical address of CDI's manifest, or null.
      type: str
    manifests:
      description: Sources of manifests of the site's own.
      type: list
      elements: str
    images:
      description: Full names of images that no manifest names.
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
        return {"kubernetes_platform": late_filter("kubernetes_platform")}

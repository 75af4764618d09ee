# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the site's ingress to a manifest for k3s."""

from __future__ import annotations

DOCUMENTATION = r"""
name: kubernetes_ingress
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Render the site's ingress as a manifest for k3s and its Traefik
description:
  - Checks the mapping C(edge_ingress) against what the cluster runs, and renders Ingress objects, a Service for each
    target, and what Traefik needs beside them. The Secret with the certificate is not among them.
  - The same input always gives the same output. Nothing is read from or changed on any machine.
positional: site, nodes
options:
  _input:
    description: The mapping C(edge_ingress); an empty one means the defaults.
    type: dict
    required: true
  site: {description: Name of the site., type: str, required: true}
  nodes:
    description: >-
      What each node of the cluster declares, by its name. A mapping with any of C(services)
      (C(edge_inference_services)), C(machines) (C(edge_virtual_machines)) and C(network) (C(edge_network)).
    type: dict
    required: true
  config: {description: The servers' C(k3s__config)., type: dict, default: {}}
"""

EXAMPLES = r"""
- name: Ingress is declared to k3s
  ansible.builtin.copy:
    content: "{{ (edge_ingress | edgewright.edge.kubernetes_ingress(edge_site,
      {inventory_hostname: {'services': edge_inference_services}})).files[1].content }}"
    dest: /var/lib/rancher/k3s/server/manifests/edgewright-workloads-ingress.yaml
    mode: "0600"
"""

RETURN = r"""
_value:
  description: The manifests, and what the node has to know of them.
  type: dict
  contains:
    files:
      description: Manifests with C(name) and C(content), in the order k3s applies them. The first is the namespace.
      type: list
      elements: dict
    objects:
      description: Names of the objects of each kind.
      type: dict
    secret:
      description: C(manifest), the name of the file with the certificate, and the C(metadata) of the Secret in it.
      type: dict
    subjects:
      description: Names and addresses that the certificate is for.
      type: list
      elements: str
    names:
      description: Host names of these that the inventory names itself, which a given certificate must be for.
      type: list
      elements: str
    port:
      description: TCP port that answers over TLS.
      type: int
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.plugin_utils.late_filter import late_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"kubernetes_ingress": late_filter("kubernetes_ingress")}

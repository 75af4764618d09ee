# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the site's ingress to settings of nginx."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_ingress
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Render the site's ingress as settings of nginx
description:
  - Checks the mapping C(edge_ingress) against what the node runs, and renders the whole configuration of the nginx that
    is the site's ingress where podman runs the workloads.
  - The same input always gives the same output. Nothing is read from or changed on any machine.
positional: site, node
options:
  _input:
    description: The mapping C(edge_ingress); an empty one means the defaults.
    type: dict
    required: true
  site: {description: Name of the site., type: str, required: true}
  node: {description: Name of the node., type: str, required: true}
  services: {description: The node's C(edge_inference_services)., type: list, elements: dict, default: []}
  machines: {description: The node's C(edge_virtual_machines)., type: list, elements: dict, default: []}
  network: {description: The node's C(edge_network)., type: dict, default: {}}
"""

EXAMPLES = r"""
- name: Ingress is configured
  ansible.builtin.copy:
    content: "{{ (edge_ingress | edgewright.edge.nginx_ingress(edge_site, inventory_hostname,
      services=edge_inference_services)).text }}"
    dest: /etc/edgewright/ingress/nginx.conf
    mode: "0644"
"""

RETURN = r"""
_value:
  description: What the node needs.
  type: dict
  contains:
    text:
      description: Content of nginx's configuration file.
      type: str
    clients:
      description: Certificates of the authorities that clients need one of; empty where they need none.
      type: str
    subjects:
      description: Names and addresses that its certificate is for.
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
        return {"nginx_ingress": late_filter("nginx_ingress")}

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: a node of a k3s cluster to its configuration files."""

from __future__ import annotations

DOCUMENTATION = r"""
name: k3s_files
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Render a k3s node's configuration files
description:
  - Checks the mapping C(edge_kubernetes) and what is said of one node, and renders every configuration file of that
    node but the one with the token.
  - The same input always gives the same output. Nothing is read from or changed on any machine.
positional: node
options:
  _input:
    description: The mapping C(edge_kubernetes); an empty one means the newest tested versions.
    type: dict
    required: true
  node:
    description: The node.
    type: dict
    required: true
    suboptions:
      name: {description: Name of the inventory host., type: str, required: true}
      role: {description: What it is., type: str, required: true, choices: [server, agent]}
      servers:
        description: Hosts of the group C(k3s_server), the one that starts the cluster first.
        type: list
        elements: str
        required: true
      agents: {description: Hosts of the group C(k3s_agent)., type: list, elements: str}
      networks: {description: The C(edge_network) of each of them by host., type: dict}
      node_ips:
        description: Addresses of the node in the cluster. By default the first fixed one of each family in use.
        type: list
        elements: str
      api_endpoint:
        description: Host, with port if it is not 6443, that nodes join at. By default the first server's address.
        type: str
      token: {description: Whether the cluster's token is in C(/etc/rancher/k3s/token)., type: bool}
      config: {description: Further options for config.yaml., type: dict}
      registries: {description: C(mirrors) and C(configs) as in registries.yaml., type: dict}
      loopback_registries:
        description: Registries whose images are in the registry of an image-built node.
        type: list
        elements: str
      embedded_registry: {description: Whether nodes give each other images., type: bool}
      kubelet: {description: Settings of the kubelet., type: dict}
      secrets_encryption: {description: Whether secrets are encrypted in the datastore., type: bool, default: true}
      cis_profile: {description: Whether the settings of the CIS benchmark are made., type: bool}
      exempt_namespaces:
        description: Namespaces that the CIS profile does not restrict, besides those of the system.
        type: list
        elements: str
      cluster_cidrs: {description: Networks of pods., type: list, elements: str}
      service_cidrs: {description: Networks of services., type: list, elements: str}
      node_labels: {description: Labels of the node., type: dict}
      node_taints: {description: Taints of the node., type: list, elements: str}
      default_route:
        description: Whether the node has a default route. By default this follows from its network.
        type: bool
      program: {description: Path of k3s on the node., type: path, default: /usr/local/bin/k3s}
      virtual_machines: {description: Whether virtual machines run on the cluster., type: bool}
"""

EXAMPLES = r"""
- name: Node is described
  ansible.builtin.set_fact:
    files: "{{ edge_kubernetes | edgewright.edge.k3s_files({'name': 'till', 'role': 'server', 'servers': ['till']}) }}"
"""

RETURN = r"""
_value:
  description: One dictionary a file, sorted by path.
  type: list
  elements: dict
  contains:
    path:
      description: Absolute path.
      type: str
    content:
      description: The whole text.
      type: str
    mode:
      description: Permissions, as V(0600).
      type: str
    secret:
      description: Whether its content must not be shown in a diff or a log.
      type: bool
    affects:
      description: What takes notice of it, V(k3s), V(sysctl), V(logind) or V(network).
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
        return {"k3s_files": late_filter("k3s_files")}

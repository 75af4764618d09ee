# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: inference services of a cluster to manifests for k3s."""

from __future__ import annotations

DOCUMENTATION = r"""
name: kubernetes_inference_services
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Render a cluster's inference services as manifests
description:
  - Checks what the nodes of a cluster have as C(edge_inference_services), and renders each service as a Deployment, a
    Service and a PriorityClass, in the order they start.
  - The cluster runs a service once, on one of the nodes that declare it.
  - The same input always gives the same output. Nothing is read from or changed on any machine.
positional: site, version
options:
  digests:
    description:
      - Digests of the models' files and of the images, by the source that the inventory names. Pods have those of their
        service in an annotation, so that another content of the same name makes other pods.
      - Sources that are not in it, as all are without it, have no part in that.
    type: dict
    default: {}
extends_documentation_fragment:
  - edgewright.edge.inference_services
  - edgewright.edge.inference_services.cluster
"""

EXAMPLES = r"""
- name: Manifests are in place
  ansible.builtin.copy:
    content: "{{ item.content }}"
    dest: "/var/lib/rancher/k3s/server/manifests/{{ item.name }}"
    mode: "0600"
  loop: >-
    {{ ({inventory_hostname: edge_inference_services}
        | edgewright.edge.kubernetes_inference_services(edge_site, version='0.1.0')).files }}
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
_value:
  description: The manifests, and what the node has to know of each service.
  type: dict
  contains:
    files:
      description: Manifests with C(name) and C(content), in the order k3s applies them. The first is the namespace.
      type: list
      elements: dict
    services:
      description: One dictionary a service, in start order.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the service and of its Deployment.
          type: str
        nodes:
          description: Nodes that declare it.
          type: list
          elements: str
        image:
          description: Name of its image in the node's container store.
          type: str
        model_image:
          description: Name of the image with its models in that store; empty where they are files of the node.
          type: str
        images:
          description: Images it needs. Each has the C(source) that the inventory names, and the C(name) in the store.
          type: list
          elements: dict
        models:
          description: Its models. Each has C(name) and C(version).
          type: list
          elements: dict
        files:
          description: Its models' files. Each has C(source), and the C(path) of the file on the node.
          type: list
          elements: dict
        folders:
          description: Folders on the node that these files are in, outer ones first.
          type: list
          elements: str
        port:
          description: TCP port on the node that runs it.
          type: int
        rolls:
          description: Whether its pods are replaced one by one.
          type: bool
        replicas:
          description: How many pods it has.
          type: int
        objects:
          description: Its objects. Each has C(kind) and C(name).
          type: list
          elements: dict
        exposure:
          description: Whether the port is the node's, V(node), or the cluster's only, V(internal).
          type: str
        check:
          description: Command that asks it at its port of the node whether it is ready.
          type: str
        golden:
          description: What it must answer, as M(edgewright.edge.inference_probe) takes it.
          type: list
          elements: dict
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
        return {"kubernetes_inference_services": late_filter("kubernetes_inference_services")}

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

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.container_image import name_in_store
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.golden_case import GOLDEN_IMAGE
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import inference_services
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_inference_service import (
    node_refusals,
    refusals,
    rolls,
    service_objects,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import (
    INFERENCE_SERVICE,
    NAMESPACE_FILE,
    declared_once,
    file_name,
    namespace,
    priority_class_name,
)
from ansible_collections.edgewright.edge.plugins.module_utils.placed_service import digest_of, placed
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_documents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WHERE = "edge_inference_services"
_HEAD = "Managed by Edgewright (role inference_services)."


def kubernetes_inference_services(
    declared: Mapping[str, object], site: str, version: str, digests: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Render the services; every problem of every service is in the one error."""
    try:
        services = declared_once(
            declared,
            where=_WHERE,
            read=lambda value: inference_services(value, where=_WHERE),
            refusals=lambda service, at: refusals(service, where=at),
        )
        problems = Problems()
        for service, nodes in services:
            problems.found += node_refusals(service, nodes, where=f"{_WHERE}: '{service.name}'")
        problems.raise_if_any()
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    files = [{"name": NAMESPACE_FILE, "content": yaml_documents([namespace()], head="Managed by Edgewright.")}]
    told = []
    for service, nodes in services:
        known = placed(service, version=version, beside=GOLDEN_IMAGE if service.golden else "")
        objects = service_objects(
            service,
            site=site,
            image=known["image"],
            nodes=nodes,
            model_image=known["model_image"],
            golden_image=name_in_store(GOLDEN_IMAGE, version=version),
            digest=digest_of(known, digests or {}),
        )
        files.append(
            {"name": file_name(service, INFERENCE_SERVICE), "content": yaml_documents(objects, head=_HEAD)},
        )
        told.append(
            {
                **known,
                "nodes": list(nodes),
                "rolls": rolls(service),
                "replicas": service.replicas,
                "objects": [{"kind": entry["kind"], "name": entry["metadata"]["name"]} for entry in objects],
                "priority_class": priority_class_name(service, INFERENCE_SERVICE),
            }
        )
    return {"files": files, "services": told}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"kubernetes_inference_services": kubernetes_inference_services}

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

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils import kubernetes_inference_service
from ansible_collections.edgewright.edge.plugins.module_utils.container_image import name_in_store
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.golden_case import GOLDEN_IMAGE
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import inference_services
from ansible_collections.edgewright.edge.plugins.module_utils.kserve_inference_service import kserve_objects, refusals
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import (
    INFERENCE_SERVICE,
    NAMESPACE_FILE,
    declared_once,
    file_name,
    namespace,
)
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_documents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WHERE = "edge_inference_services"
_HEAD = "Made by Edgewright for KServe."


def kserve_inference_services(declared: Mapping[str, object], site: str, version: str) -> list[dict[str, Any]]:
    """Render ``edge_inference_services`` of all nodes; every problem of every service is in the one error."""
    try:
        services = declared_once(
            declared,
            where=_WHERE,
            read=lambda value: inference_services(value, where=_WHERE),
            refusals=lambda service, at: [
                *kubernetes_inference_service.refusals(service, where=at),
                *refusals(service, where=at),
            ],
        )
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    files = [{"name": NAMESPACE_FILE, "content": yaml_documents([namespace()], head=_HEAD)}]
    for service, nodes in services:
        objects = kserve_objects(
            service,
            site=site,
            image=name_in_store(service.image, version=version),
            nodes=nodes,
            model_image=name_in_store(service.model_image, version=version),
            golden_image=name_in_store(GOLDEN_IMAGE, version=version),
        )
        files.append({"name": file_name(service, INFERENCE_SERVICE), "content": yaml_documents(objects, head=_HEAD)})
    return files


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"kserve_inference_services": kserve_inference_services}

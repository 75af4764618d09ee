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

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils import kubernetes_ingress as rendering
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import inference_services
from ansible_collections.edgewright.edge.plugins.module_utils.ingress import (
    HTTPS_PORT,
    Ingress,
    port_problems,
    problems,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import NAMESPACE_FILE, namespace
from ansible_collections.edgewright.edge.plugins.module_utils.network import Network
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import virtual_machines
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_documents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService
    from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import VirtualMachine

_WHERE = "edge_ingress"
_HEAD = "Managed by Edgewright (role ingress)."


def kubernetes_ingress(
    data: object, site: str, nodes: Mapping[str, Mapping[str, Any]], config: object = None
) -> dict[str, Any]:
    """Render ``edge_ingress``; every problem is in the one error."""
    try:
        ingress = Ingress.from_inventory(data, where=_WHERE)
        found, networks = Problems(), {}
        services: dict[str, InferenceService] = {}
        machines: dict[str, VirtualMachine] = {}
        for node, declared in nodes.items():
            read = inference_services(declared.get("services") or [], where="edge_inference_services")
            found.found += port_problems(read, runtime="k3s")
            for service in read:
                services.setdefault(service.name, service)
            known = declared.get("machines") or []
            for machine in virtual_machines(known, where="edge_virtual_machines", site=site):
                machines.setdefault(machine.name, machine)
            networks[node] = Network.from_inventory(declared.get("network") or {}, where="edge_network")
        found.found += rendering.component_problems(config, where=_WHERE)
        found.found += problems(ingress, services.values(), machines.values(), runtime="k3s", where=_WHERE)
        found.raise_if_any()
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    objects = rendering.ingress_objects(ingress, services, site=site)
    kinds = sorted({str(entry["kind"]) for entry in objects})
    return {
        "files": [
            {"name": NAMESPACE_FILE, "content": yaml_documents([namespace()], head="Managed by Edgewright.")},
            {"name": rendering.FILE, "content": yaml_documents(objects, head=_HEAD)},
        ],
        "objects": {kind: rendering.object_names(objects, kind) for kind in kinds},
        "secret": {"manifest": rendering.SECRET_FILE, "metadata": rendering.secret_metadata(site)},
        "subjects": ingress.subjects(networks),
        "names": ingress.host_names(),
        "port": HTTPS_PORT,
    }


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"kubernetes_ingress": kubernetes_ingress}

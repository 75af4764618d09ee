# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``kubernetes_inference_services`` does: inference services of a cluster to manifests for k3s."""

from __future__ import annotations

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
    from collections.abc import Mapping

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

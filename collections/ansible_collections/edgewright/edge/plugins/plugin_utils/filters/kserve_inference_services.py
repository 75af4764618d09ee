# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``kserve_inference_services`` does: inference services of a cluster to manifests for KServe."""

from __future__ import annotations

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
    from collections.abc import Mapping

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

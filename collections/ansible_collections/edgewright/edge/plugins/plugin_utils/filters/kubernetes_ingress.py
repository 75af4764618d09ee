# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``kubernetes_ingress`` does: the site's ingress to a manifest for k3s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils import kubernetes_ingress as rendering
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.ingress import HTTPS_PORT
from ansible_collections.edgewright.edge.plugins.module_utils.ingress_reading import read_ingress
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_workloads import NAMESPACE_FILE, namespace
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_documents

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD = "Managed by Edgewright (role ingress)."


def kubernetes_ingress(
    data: object, site: str, nodes: Mapping[str, Mapping[str, Any]], config: object = None
) -> dict[str, Any]:
    """Render ``edge_ingress``; every problem is in the one error."""
    try:
        read = read_ingress(data, nodes, site=site, runtime="k3s", config=config)
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    objects = rendering.ingress_objects(read.ingress, read.services, site=site)
    kinds = sorted({str(entry["kind"]) for entry in objects})
    return {
        "files": [
            {"name": NAMESPACE_FILE, "content": yaml_documents([namespace()], head="Managed by Edgewright.")},
            {"name": rendering.FILE, "content": yaml_documents(objects, head=_HEAD)},
        ],
        "objects": {kind: rendering.object_names(objects, kind) for kind in kinds},
        "secret": {"manifest": rendering.SECRET_FILE, "metadata": rendering.secret_metadata(site)},
        "subjects": read.subjects,
        "names": read.ingress.host_names(),
        "port": HTTPS_PORT,
    }

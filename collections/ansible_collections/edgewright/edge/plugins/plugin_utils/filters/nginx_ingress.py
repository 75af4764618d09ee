# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``nginx_ingress`` does: the site's ingress to settings of nginx."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.ingress import HTTPS_PORT
from ansible_collections.edgewright.edge.plugins.module_utils.ingress_proxy import proxy_settings
from ansible_collections.edgewright.edge.plugins.module_utils.ingress_reading import read_ingress


def nginx_ingress(
    data: object, site: str, node: str, services: object = (), machines: object = (), network: object = None
) -> dict[str, Any]:
    """Render ``edge_ingress``; every problem is in the one error."""
    try:
        declared = {"services": services, "machines": machines, "network": network}
        read = read_ingress(data, {node: declared}, site=site, runtime="podman")
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    return {
        "text": proxy_settings(read.ingress, {name: service.port for name, service in read.services.items()}),
        "clients": read.ingress.client_ca,
        "subjects": read.subjects,
        "names": read.ingress.host_names(),
        "port": HTTPS_PORT,
    }

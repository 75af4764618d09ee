# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``kubernetes_platform`` does: what a site's Kubernetes is made of, and where that comes from."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import cdi_url, kubevirt_url


def kubernetes_platform(kubernetes: object) -> dict[str, Any]:
    """Read ``edge_kubernetes``; every problem is in the one error."""
    try:
        platform = Platform.from_inventory(kubernetes)
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    return {
        "k3s": platform.k3s,
        "kubevirt": platform.kubevirt,
        "kubevirt_url": platform.kubevirt and kubevirt_url(platform.kubevirt),
        "cdi": platform.cdi,
        "cdi_url": platform.cdi and cdi_url(platform.cdi),
        "manifests": list(platform.manifests),
        "images": list(platform.images),
    }

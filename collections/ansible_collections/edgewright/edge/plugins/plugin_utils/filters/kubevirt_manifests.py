# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``kubevirt_manifests`` does: KubeVirt and CDI as manifests for k3s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_platform import Virtualization, manifests
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_documents
from ansible_collections.edgewright.edge.plugins.plugin_utils.kubernetes_loader import KubernetesLoader

if TYPE_CHECKING:
    from collections.abc import Mapping


def kubevirt_manifests(edge_kubernetes: object, cluster: object, operators: Mapping[str, str]) -> list[dict[str, Any]]:
    """Render the manifests; every problem is in the one error."""
    try:
        platform, site = Platform.from_inventory(edge_kubernetes), Virtualization.from_role(cluster)
        # Bytes, because libyaml takes no subclass of str, and Ansible's strings are one.
        parsed = {name: list(yaml.load_all(text.encode(), Loader=KubernetesLoader)) for name, text in operators.items()}
        files = manifests(platform, site, parsed)
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    except yaml.YAMLError as error:
        message = f"an operator's manifest is no YAML: {error}. Run 'edgewright fetch' again."
        raise AnsibleFilterError(message) from error
    head = "Managed by Edgewright (role kubevirt)."
    return [{"name": name, "content": yaml_documents(objects, head=head)} for name, objects in files]

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``k3s_files`` does: a node of a k3s cluster to its configuration files."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils import k3s_files as files
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError


def k3s_files(edge_kubernetes: object, node: object) -> list[dict[str, Any]]:
    """Render a node's files; every problem is in the one error."""
    try:
        return files.k3s_files(edge_kubernetes, node)
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error

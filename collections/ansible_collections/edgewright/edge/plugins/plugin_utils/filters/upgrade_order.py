# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``upgrade_order`` does: which nodes of a cluster get another k3s, and in which order."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils import upgrade_order as order
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError


def upgrade_order(nodes: list[dict[str, Any]], target: str, servers: list[str], agents: list[str]) -> list[str]:
    """Compare versions; every problem of every node is in the one error."""
    try:
        return order.upgrade_order(nodes, target, servers=servers, agents=agents)
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``network_files`` does: a node's network to systemd-networkd files."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils import network
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError


def network_files(edge_network: object) -> list[dict[str, Any]]:
    """Render ``edge_network``; every problem of every interface is in the one error."""
    try:
        declared = network.Network.from_inventory(edge_network, where="edge_network")
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from error
    return [{"name": name, "text": text} for name, text in network.network_files(declared).items()]

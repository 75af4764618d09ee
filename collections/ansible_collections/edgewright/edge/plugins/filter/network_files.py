# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: a node's network to systemd-networkd files."""

from __future__ import annotations

DOCUMENTATION = r"""
name: network_files
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Render a node's network as systemd-networkd files
description:
  - Checks the mapping C(edge_network) and renders each of its interfaces as a C(.network) file.
  - The same input always gives the same output. Nothing is read from or changed on any machine.
options:
  _input:
    description: The mapping C(edge_network).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Network files are in place
  ansible.builtin.copy:
    content: "{{ item.text }}"
    dest: "/etc/systemd/network/{{ item.name }}"
    mode: "0644"
  loop: "{{ edge_network | edgewright.edge.network_files }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
_value:
  description: One dictionary an interface, in declared order, with the C(name) of the file and its C(text).
  type: list
  elements: dict
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.plugin_utils.late_filter import late_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"network_files": late_filter("network_files")}

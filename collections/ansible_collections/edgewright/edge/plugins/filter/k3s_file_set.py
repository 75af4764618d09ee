# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: a k3s node's files as the module file_set takes them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: k3s_file_set
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Sort a k3s node's files for the module file_set
description:
  - Parts what the filter P(edgewright.edge.k3s_files#filter) returns into files that may be shown in a diff and files
    that may not, and adds the folders they need and the paths that earlier settings have left.
options:
  _input:
    description: What P(edgewright.edge.k3s_files#filter) returns.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Files of the node are there
  edgewright.edge.file_set:
    directories: "{{ set.directories }}"
    files: "{{ set.files }}"
    absent: "{{ set.absent }}"
  vars:
    set: "{{ edge_kubernetes | edgewright.edge.k3s_files(node) | edgewright.edge.k3s_file_set }}"
"""

RETURN = r"""
_value:
  description: Arguments of M(edgewright.edge.file_set).
  type: dict
  contains:
    directories:
      description: Folders, parents first, each with C(path) and C(mode).
      type: list
      elements: dict
    files:
      description: Files that anybody may see, each with C(path), C(content) and C(mode).
      type: list
      elements: dict
    secret_files:
      description: Files that must be written with C(no_log).
      type: list
      elements: dict
    absent:
      description: Paths that other settings would have written.
      type: list
      elements: str
    affects:
      description: What takes notice of each path, including those that are to be absent.
      type: dict
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.plugin_utils.late_filter import late_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Mapping[str, Callable[..., Any]]:
        """Return the filters of this file by name."""
        return {"k3s_file_set": late_filter("k3s_file_set")}

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: an operator's secret files to what the module file_set writes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secret_files
author: The Edgewright contributors (@edgewright)
version_added: 0.1.0
short_description: Turn an operator's secret files into the options of file_set
description:
  - Checks a list of secret files and returns the O(edgewright.edge.file_set#module:directories) and
    O(edgewright.edge.file_set#module:files) that write them, for root alone.
  - An error names keys and paths, never a content. Use the result in tasks with C(no_log) only.
options:
  _input:
    description: Mappings with C(path) (below /etc or /var/lib) and C(content).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Secret files are in place
  edgewright.edge.file_set:
    directories: "{{ (secrets | edgewright.edge.secret_files).directories }}"
    files: "{{ (secrets | edgewright.edge.secret_files).files }}"
  no_log: true
  diff: false
"""

RETURN = r"""
_value:
  description: C(directories) that the files need, of which those that exist are kept as they are, and C(files).
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
        return {"secret_files": late_filter("secret_files")}

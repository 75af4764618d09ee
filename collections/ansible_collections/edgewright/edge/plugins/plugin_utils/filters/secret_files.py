# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``secret_files`` does: an operator's secret files to what the module file_set writes."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.module_utils import secret_file
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError


def secret_files(data: object, where: str = "base__secret_files") -> dict[str, list[dict[str, Any]]]:
    """Check the list; every problem is in the one error, which names ``where`` and no content."""
    try:
        files = secret_file.secret_files(data, where=where)
    except EdgeError as error:
        raise AnsibleFilterError(str(error)) from None
    return {
        "directories": [{"path": path, "mode": "0700", "keep": True} for path in secret_file.folders(files)],
        "files": [{"path": file.path, "content": file.content, "mode": "0600"} for file in files],
    }

# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter ``k3s_file_set`` does: a k3s node's files as the module file_set takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils import k3s_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def k3s_file_set(files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sort the files."""
    shown, hidden = (
        [{key: file[key] for key in ("path", "content", "mode")} for file in files if bool(file["secret"]) is secret]
        for secret in (False, True)
    )
    absent = k3s_files.absent(files)
    return {
        "directories": k3s_files.directories(files),
        "files": shown,
        "secret_files": hidden,
        "absent": absent,
        "affects": {**{path: k3s_files.affects(path) for path in absent}, **{f["path"]: f["affects"] for f in files}},
    }

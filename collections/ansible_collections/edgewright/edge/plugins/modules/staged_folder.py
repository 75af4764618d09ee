#!/usr/bin/python
# Copyright: the Edgewright contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: a folder that is prepared beside another one, and takes its place in one step."""

from __future__ import annotations

DOCUMENTATION = r"""
module: staged_folder
short_description: Prepare a folder beside another one, and put it in its place in one step
version_added: 0.2.0
author: The Edgewright contributors
description:
  - What a folder is to be can be tried while the folder itself stays as it is, and what the next start finds in it.
  - Files that both have are links to the same bytes. Replace them in the staged folder by renaming, as
    M(ansible.builtin.copy) does, and do not write into them.
options:
  path:
    description: Absolute path of the folder; it may be missing.
    type: path
    required: true
  staged:
    description: Absolute path of the other folder, on the same file system.
    type: path
    required: true
  keep:
    description: Absolute paths below O(path) of files that the staged folder has from the start, where they are there.
    type: list
    elements: path
    default: []
  state:
    description:
      - With V(prepared), O(staged) has the files of O(keep), and nothing else that was there before.
      - With V(exchanged), the two change places at once; what misses O(path) gets an empty folder there first.
    type: str
    choices: [prepared, exchanged]
    required: true
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
  idempotent:
    support: none
    description: Every preparation begins anew, and every exchange is one.
"""

EXAMPLES = r"""
- name: New folder begins with what stays
  edgewright.edge.staged_folder:
    path: /var/lib/edgewright/models/shelf
    staged: /var/lib/edgewright/models-next/shelf
    keep: [/var/lib/edgewright/models/shelf/camera/1/model.onnx]
    state: prepared

- name: New folder is in its place, and the old one where that was
  edgewright.edge.staged_folder:
    path: /var/lib/edgewright/models/shelf
    staged: /var/lib/edgewright/models-next/shelf
    state: exchanged
"""

RETURN = r"""
linked:
  description: Files that the staged folder has from the other one, with V(prepared).
  returned: always
  type: list
  elements: str
"""

import ctypes
import os
import shutil
from pathlib import Path
from typing import Final

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgewright.edge.plugins.module_utils.medium import flush

ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "staged": {"type": "path", "required": True},
    "keep": {"type": "list", "elements": "path", "default": []},
    "state": {"type": "str", "choices": ["prepared", "exchanged"], "required": True},
}
# rename(2).
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


def prepare(path: Path, staged: Path, keep: list[str]) -> list[str]:
    """Make the staged folder anew; return the files that it shares with the other one."""
    if staged.is_symlink() or staged.is_file():
        staged.unlink()
    elif staged.exists():
        shutil.rmtree(staged)
    staged.mkdir(mode=0o755, parents=True)
    linked = []
    for name in keep:
        old = Path(name)
        new = staged / old.relative_to(path)
        if old.is_file() and not old.is_symlink():
            new.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            os.link(old, new)
            linked.append(str(new))
    return linked


def exchange(path: Path, staged: Path) -> None:
    """Let two folders change places, so that whatever moment the power goes at, each name leads to one of them."""
    for each in (*staged.rglob("*"), staged):
        if not each.is_symlink():
            flush(each)
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    library = ctypes.CDLL(None, use_errno=True)
    one, other = os.fsencode(staged), os.fsencode(path)
    if library.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    flush(staged.parent)
    flush(path.parent)


def main() -> None:
    """Prepare or exchange."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    path, staged = Path(module.params["path"]), Path(module.params["staged"])
    astray = [name for name in module.params["keep"] if path not in Path(name).parents or ".." in Path(name).parts]
    if astray:
        module.fail_json(msg=f"keep: has what is not below {path}; found {', '.join(astray)}")
    linked: list[str] = []
    if not module.check_mode:
        try:
            if module.params["state"] == "prepared":
                linked = prepare(path, staged, module.params["keep"])
            else:
                exchange(path, staged)
        except OSError as error:
            module.fail_json(msg=f"{staged} cannot be {module.params['state']} beside {path}: {error}")
    module.exit_json(changed=True, linked=linked)


if __name__ == "__main__":
    main()

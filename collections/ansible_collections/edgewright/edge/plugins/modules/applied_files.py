#!/usr/bin/python
# Copyright: the Edgewright contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: whether what runs has been started with the files that are there now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: applied_files
short_description: Tell what runs with other files than those that are there now
version_added: 0.2.0
author: The Edgewright contributors
description:
  - A run that is cut off between writing a file and restarting what reads it leaves nothing for the next run to write,
    and so no reason to restart. This module notes, before anything is written, what the files are like; and once what
    reads them has been started with them, what they are like then. In between they differ, in whatever run.
  - Its notes are lost with the power, and are to be, because all starts with the files that are there then.
  - A file is known by its size and the time when it was written, a link by where it leads, a folder by all that is in
    it.
options:
  items:
    description: What runs.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: "Its name, good for a file's.", type: str, required: true}
      paths:
        description: >-
          Absolute paths of the files and folders that it reads when it starts, or patterns of such with a star in the
          name; they may be missing.
        type: list
        elements: path
        required: true
  state:
    description:
      - With V(noted), makes a note of what has none.
      - With V(applied), makes a note of all, for they run with the files of now.
    type: str
    choices: [noted, applied]
    default: noted
  folder:
    description: Folder of the notes, in memory.
    type: path
    default: /run/edgewright/applied
attributes:
  check_mode:
    support: full
    description: Compares, and makes no notes.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: Notes are no change of the node, and are never told as one.
"""

EXAMPLES = r"""
- name: What runs is known
  edgewright.edge.applied_files:
    items: [{name: proxy, paths: [/etc/nginx/conf.d]}]

- name: Proxy is as declared
  edgewright.edge.file_set:
    files: [{path: /etc/nginx/conf.d/shelf.conf, content: "{{ text }}"}]

- name: What has to be reloaded is known
  edgewright.edge.applied_files:
    items: [{name: proxy, paths: [/etc/nginx/conf.d]}]
  register: applied

- name: Proxy runs with its files
  ansible.builtin.systemd_service:
    name: nginx.service
    state: "{{ 'reloaded' if applied.differing else 'started' }}"

- name: Proxy is known to run with them
  edgewright.edge.applied_files:
    items: [{name: proxy, paths: [/etc/nginx/conf.d]}]
    state: applied
"""

RETURN = r"""
differing:
  description: Names of O(items) whose files are others than those of their notes, in the order given.
  returned: always
  type: list
  elements: str
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ARGUMENTS = {
    "items": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "paths": {"type": "list", "elements": "path", "required": True},
        },
    },
    "state": {"type": "str", "choices": ["noted", "applied"], "default": "noted"},
    "folder": {"type": "path", "default": "/run/edgewright/applied"},
}


def digest(paths: Iterable[str]) -> str:
    """Return what tells these files and folders from any others that are there later."""
    found = [path for given in paths for path in (_matches(Path(given)) if "*" in given else [given])]
    text = "".join(f"{line}\0" for path in found for line in _lines(path))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _matches(pattern: Path) -> list[str]:
    return sorted(str(path) for path in pattern.parent.glob(pattern.name))


def _lines(path: str) -> Iterator[str]:
    """Yield a line for a path and all below it; of large files nobody waits for the content."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        yield f"{path} absent"
        return
    if stat.S_ISDIR(status.st_mode):
        yield f"{path} folder"
        for below in sorted(Path(path).iterdir()):
            yield from _lines(str(below))
    elif stat.S_ISLNK(status.st_mode):
        yield f"{path} link {Path(path).readlink()}"
    else:
        yield f"{path} file {status.st_size} {status.st_mtime_ns}"


def _write(note: Path, text: str) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    temporary = note.with_name(f".{note.name}.{os.getpid()}")
    temporary.write_text(text, encoding="ascii")
    temporary.replace(note)


def main() -> None:
    """Compare with the notes, and make them."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    items = {item["name"]: digest(item["paths"]) for item in module.params["items"]}
    notes = {name: Path(module.params["folder"]) / name for name in items}
    differing = []
    try:
        for name, now in items.items():
            known = notes[name].read_text(encoding="ascii") if notes[name].exists() else ""
            if known not in ("", now):
                differing.append(name)
            if not module.check_mode and known != now and (not known or module.params["state"] == "applied"):
                _write(notes[name], now)
    except (OSError, UnicodeDecodeError) as error:
        module.fail_json(msg=f"the notes in {module.params['folder']} cannot be kept: {error}")
    module.exit_json(changed=False, differing=differing)


if __name__ == "__main__":
    main()

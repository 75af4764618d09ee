#!/usr/bin/python
# Copyright: the Edgewright contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: file_set
short_description: A set of configuration files, written in one go
version_added: 0.1.0
author: The Edgewright contributors
description:
  - Makes a set of folders, files and links be as given, and removes others, with one run of a module instead of one
    for each path. A phase that writes thirty small files takes a second instead of fifteen.
  - Every file is written to a temporary name beside it, synced and renamed, so no reader and no power cut ever meets
    half of one.
options:
  directories:
    description: Folders that must exist. Parents are not made by themselves.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      mode: {description: Permissions., type: raw, default: "0755"}
      owner: {description: User name., type: str, default: root}
      group: {description: Group name., type: str, default: root}
      keep: {description: A folder that is there already stays as it is., type: bool, default: false}
  files:
    description: Files that must have this content and these permissions.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: The whole content., type: str, required: true}
      mode: {description: Permissions., type: raw, default: "0644"}
      owner: {description: User name., type: str, default: root}
      group: {description: Group name., type: str, default: root}
  links:
    description: Symbolic links that must exist; their targets need not.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      target: {description: What the link says., type: str, required: true}
  absent:
    description: Files and links that must not exist.
    type: list
    elements: path
    default: []
  only:
    description: >-
      Folders that may hold no other files of a pattern than those that O(files) and O(links) have there: what an
      earlier run has left is removed. The paths that were removed are in RV(removed).
    type: list
    elements: dict
    default: []
    suboptions:
      directory: {description: Absolute path; it may be missing., type: path, required: true}
      pattern: {description: "Shell pattern of the names, as in C(vm-*).", type: str, required: true}
      containing: {description: Only files with this text in them., type: str, default: ""}
attributes:
  check_mode:
    support: full
    description: Says what would change, changes nothing.
  diff_mode:
    support: full
    description:
      - Shows kind, permissions and content of each path before and after; of what is no text only the size, and nothing
        of a file that is removed and that nobody but its owner may read. Mark secrets with C(no_log).
  idempotent:
    support: full
    description: A second run changes nothing, whatever the order of the lists.
"""

EXAMPLES = r"""
- name: Journal is bounded and its folder is there
  edgewright.edge.file_set:
    directories:
      - path: /etc/systemd/journald.conf.d
    files:
      - path: /etc/systemd/journald.conf.d/50-edgewright.conf
        content: |
          [Journal]
          SystemMaxUse=256M
    only:
      - directory: /etc/edgewright/health.d
        pattern: vm-*
"""

RETURN = r"""
changed_paths:
  description: Paths that were written, made or removed, in the order in which it was done.
  returned: always
  type: list
  elements: str
removed:
  description: Paths that O(only) had no place for.
  returned: always
  type: list
  elements: str
"""

import grp
import os
import pwd
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgewright.edge.plugins.module_utils.file_set import Entry, changes, left_over

if TYPE_CHECKING:
    from collections.abc import Callable

_OWNED = {
    "path": {"type": "path", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}
ARGUMENTS = {
    "directories": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            **_OWNED,
            "mode": {"type": "raw", "default": "0755"},
            "keep": {"type": "bool", "default": False},
        },
    },
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            **_OWNED,
            "content": {"type": "str", "required": True},
            "mode": {"type": "raw", "default": "0644"},
        },
    },
    "links": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}, "target": {"type": "str", "required": True}},
    },
    "absent": {"type": "list", "elements": "path", "default": []},
    "only": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "directory": {"type": "path", "required": True},
            "pattern": {"type": "str", "required": True},
            "containing": {"type": "str", "default": ""},
        },
    },
}


def look(path: str) -> Entry:
    """Return what is at a path now."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return Entry(path, "absent")
    if stat.S_ISLNK(status.st_mode):
        return Entry(path, "link", str(Path(path).readlink()).encode())
    owner, group = _name(pwd.getpwuid, status.st_uid), _name(grp.getgrgid, status.st_gid)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return Entry(path, "directory", b"", mode, owner, group)
    return Entry(path, "file", Path(path).read_bytes(), mode, owner, group)


def _name(lookup: Callable[[int], Any], number: int) -> str:
    try:
        return str(lookup(number)[0])
    except KeyError:
        return str(number)


def apply(before: Entry, after: Entry) -> None:
    """Make a path what it should be, without a moment at which it is half so."""
    path = Path(after.path)
    if after.kind == "absent":
        path.unlink()
    elif after.kind == "directory":
        if before.kind == "absent":
            path.mkdir()
        _own(path, after)
    elif after.kind == "link":
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.symlink_to(after.content.decode())
        temporary.replace(path)
    else:
        _write(path, after)


def _write(path: Path, entry: Entry) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(entry.content)
            file.flush()
            os.fsync(file.fileno())
        _own(temporary, entry)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def _own(path: Path, entry: Entry) -> None:
    os.chown(path, pwd.getpwnam(entry.owner).pw_uid, grp.getgrnam(entry.group).gr_gid)
    path.chmod(entry.mode)


def desired(parameters: dict[str, Any]) -> list[Entry]:
    """Return the parameters as entries; raises ValueError for a mode that is none, or a path given twice."""
    entries = [
        Entry(item["path"], "directory", b"", _mode(item), item["owner"], item["group"], item["keep"])
        for item in parameters["directories"]
    ]
    entries += [
        Entry(item["path"], "file", item["content"].encode(), _mode(item), item["owner"], item["group"])
        for item in parameters["files"]
    ]
    entries += [Entry(item["path"], "link", item["target"].encode()) for item in parameters["links"]]
    entries += [Entry(path, "absent") for path in parameters["absent"]]
    paths = [entry.path for entry in entries]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise ValueError(f"paths given more than once: {', '.join(twice)}; give each path one meaning")
    relative = sorted(path for path in paths if not path.startswith("/"))
    if relative:
        raise ValueError(f"paths that are not absolute: {', '.join(relative)}")
    return entries


def _mode(item: dict[str, Any]) -> int:
    value = item["mode"]
    try:
        return value if isinstance(value, int) else int(value, 8)
    except (TypeError, ValueError):
        raise ValueError(f"{item['path']}: mode: {value!r} is not octal digits in quotes, as '0644'") from None


def obsolete(only: list[dict[str, Any]], kept: list[str]) -> list[str]:
    """Return the files that the folders of ``only`` have and should not have."""
    found = []
    for rule in only:
        folder = Path(rule["directory"])
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        keep = [Path(path).name for path in kept if Path(path).parent == folder]
        for name in left_over(names, rule["pattern"], keep):
            entry = look(str(folder / name))
            if entry.kind != "directory" and rule["containing"].encode() in entry.content:
                found.append(entry.path)
    return found


def main() -> None:
    """Compare, show, apply."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        entries = desired(module.params)
    except ValueError as error:
        module.fail_json(msg=str(error))
    removed = obsolete(module.params["only"], [entry.path for entry in entries if entry.kind in ("file", "link")])
    removed = [path for path in removed if path not in module.params["absent"]]
    entries += [Entry(path, "absent") for path in removed]
    found = changes(entries, look)
    wrong = [
        f"{before.path} is a {before.kind}, and should be a {after.kind}; move it away"
        for before, after in found
        if "directory" in (before.kind, after.kind) and before.kind not in ("absent", after.kind)
    ]
    if wrong:
        module.fail_json(msg="; ".join(wrong))
    if not module.check_mode:
        for before, after in found:
            try:
                apply(before, after)
            except (OSError, KeyError) as error:
                module.fail_json(msg=f"{after.path} cannot be made a {after.kind}: {error}")
    diff = [
        {
            "before_header": before.path,
            "after_header": after.path,
            # A task that makes secrets has no_log; of what another one has left, nobody knows what it is.
            "before": before.describe(private=after.kind == "absent" and before.is_private),
            "after": after.describe(),
        }
        for before, after in found
    ]
    module.exit_json(changed=bool(found), changed_paths=[after.path for _, after in found], removed=removed, diff=diff)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: a configuration file of k3s, its options checked, and a started cluster kept from what would break it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_config
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Write a configuration file of k3s
description:
  - Writes C(/etc/rancher/k3s/config.yaml), or a drop-in of it, with mode 0600, whole or not at all. Every option is
    checked first, since k3s itself only warns of a server's key that it does not know.
  - A setting that takes effect only when a cluster begins (as C(cluster-cidr)) is not changed on a node that has
    started. It is looked for in all files that k3s reads together, whichever of them is written.
  - The file has what O(config) says and nothing else; RV(removed) tells what it had before. K3s reads it when it
    starts, so restart k3s after a change.
attributes:
  check_mode:
    description: Can run in check mode and return what it would without it.
    support: full
  diff_mode:
    description: Returns what was changed when in diff mode.
    support: full
    details: Values of secret options, and of keys that are no options, are masked.
  idempotent:
    description: Run again, it changes nothing, unless something outside has changed.
    support: full
options:
  path:
    description:
      - The file. In a folder C(config.yaml.d) it is a drop-in, and its name ends in C(.yaml).
      - Folders that are missing are made with mode 0700. A link is replaced by a file.
    type: path
    default: /etc/rancher/k3s/config.yaml
  role:
    description: What runs on the node.
    type: str
    choices: [server, agent]
    required: true
  config:
    description:
      - Options of k3s 1.36 as C(config.yaml) has them. C(+) after the name of a list adds to what earlier files say.
      - Options with the value null are left out.
    type: dict
    required: true
  data_dir:
    description:
      - Folder of k3s's data, by which it is known whether the node has started. Without it, what the present
        configuration says as C(data-dir), else C(/var/lib/rancher/k3s).
    type: path
  allow_cluster_change:
    description:
      - Write settings too that take effect only when a cluster begins. Most of them then keep k3s from starting; see
        k3s's documentation of the one that you change.
    type: bool
    default: false
requirements:
  - python3-yaml
"""

EXAMPLES = r"""
- name: Server's log is short and its certificate has a second name
  edgewright.edge.k3s_config:
    path: /etc/rancher/k3s/config.yaml.d/50-names.yaml
    role: server
    config:
      tls-san+: [cluster.shop.example]
      kubelet-arg+: [v=0]
  notify: K3s is restarted
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
added:
  description: Keys that the file did not have.
  returned: success
  type: list
  elements: str
changed_keys:
  description: Keys that had other values.
  returned: success
  type: list
  elements: str
removed:
  description: Keys that the file had and O(config) does not.
  returned: success
  type: list
  elements: str
cluster_changes:
  description: What O(allow_cluster_change) let through.
  returned: success
  type: list
  elements: str
"""

import socket
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.edgewright.edge.plugins.module_utils import k3s_config_file as config_file
from ansible_collections.edgewright.edge.plugins.module_utils import private_file
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_options import refused_changes
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_text

try:
    import yaml

    YAML_ERROR = ""
except ImportError:
    YAML_ERROR = traceback.format_exc()

ARGUMENTS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "default": "/etc/rancher/k3s/config.yaml"},
    "role": {"type": "str", "choices": ["server", "agent"], "required": True},
    # Secret as a whole while Ansible logs what it was called with; main() says which parts of it are.
    "config": {"type": "dict", "required": True, "no_log": True},
    "data_dir": {"type": "path"},
    "allow_cluster_change": {"type": "bool", "default": False},
}
_DATA = "/var/lib/rancher/k3s"
_HEAD = "Managed by Ansible (edgewright.edge.k3s_config)."
# What a node has only after its first start.
_STARTED = ("server/db/state.db", "server/db/etcd", "agent/kubelet.kubeconfig")


@dataclass
class Plan:
    """What is there and what will be: the file, and what k3s makes of all files together."""

    path: str
    present: private_file.PrivateFile
    before: dict[str, Any]
    after: dict[str, Any]
    effective_before: dict[str, Any]
    effective_after: dict[str, Any]
    hidden: list[str]

    @property
    def content(self) -> bytes:
        """The file's new bytes."""
        return yaml_text(self.after, head=_HEAD).encode()

    @property
    def changed(self) -> bool:
        """Whether anything of the file is to change."""
        return self.present.content != self.content or not self.present.is_private

    def diff(self) -> dict[str, str]:
        """Return the file before and after; comments are not shown, as secrets may be in them."""
        before = ""
        if self.present.content is not None:
            same = self.before == self.after and self.present.content != self.content
            form = "# the same, written another way\n" if same else ""
            before = f"# {self.present.mode}\n{form}{config_file.shown(self.before)}"
        return {
            "before_header": self.path,
            "after_header": self.path,
            "before": before,
            "after": f"# rw-------\n{config_file.shown(self.after, self.before)}",
        }


def load(path: str, content: bytes) -> dict[str, Any]:
    """Return a file's mapping; an empty file is an empty one.

    Raises:
        EdgeError: it has none. Nothing of it is shown.
    """
    try:
        data = yaml.safe_load(content.decode())
    except (yaml.YAMLError, ValueError):
        data = False
    if data is not None and not isinstance(data, dict):
        raise EdgeError(
            Problem(
                path,
                "is not what k3s can read",
                expected="YAML with one mapping",
                remedy="Mend it or remove it; k3s does not start with it.",
            )
        )
    return data or {}


def plan(parameters: dict[str, Any]) -> Plan:
    """Compare the files with the parameters.

    Raises:
        EdgeError: everything that is wrong in the parameters and in the files.
    """
    problems = Problems()
    path, after = parameters["path"], {}
    try:
        base = config_file.base_of(path)
    except UnfitError as error:
        problems.add(path, error.what, expected=error.expected, remedy=error.remedy)
        base = path
    with problems.collecting():
        after = config_file.written(parameters["config"], parameters["role"], where="config")
    present = private_file.look(path)
    folder = Path(f"{base}.d")
    names = sorted(file.name for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
    others = [str(folder / name) for name in names if config_file.is_drop_in(name)]
    files: dict[str, dict[str, Any]] = {}
    for file in sorted({base, path, *others}, key=lambda file: (file != base, file)):
        found = private_file.look(file)
        with problems.collecting():
            files[file] = load(file, found.content or b"")
    problems.raise_if_any()
    before = files[path]
    later = list(files)[list(files).index(path) + 1 :]
    replaced = {str(key) for file in later for key in files[file] if not str(key).endswith("+")}
    role = parameters["role"]
    return Plan(
        path=path,
        present=present,
        before=before,
        after=after,
        effective_before=config_file.effective(files.values(), role),
        effective_after=config_file.effective({**files, path: after}.values(), role),
        hidden=sorted(key for key in after if config_file.plain_name(key) in replaced),
    )


def cluster_changes(made: Plan, data_dir: str | None, *, allowed: bool) -> list[str]:
    """Return the keys that take effect only when a cluster begins, and change on a node that has started.

    Raises:
        EdgeError: there are such, and that is not allowed.
    """
    home = Path(data_dir or made.effective_before.get("data-dir") or _DATA)
    if not any((home / name).exists() for name in _STARTED):
        return []
    own_name = {"node-name": socket.gethostname().lower()}
    found = refused_changes(own_name | made.effective_before, own_name | made.effective_after, where=made.path)
    more = "To write it all the same, set 'allow_cluster_change'."
    if found and not allowed:
        raise EdgeError(replace(problem, remedy=f"{problem.remedy} {more}") for problem in found)
    return [problem.where.rpartition(".")[2] for problem in found]


def main() -> None:
    """Check, compare, write."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if YAML_ERROR:
        module.fail_json(msg=missing_required_lib("python3-yaml"), exception=YAML_ERROR)
    module.no_log_values = config_file.secrets_of(module.params["config"])
    try:
        made = plan(module.params)
        module.no_log_values |= config_file.secrets_of(made.before)
        changes = cluster_changes(made, module.params["data_dir"], allowed=module.params["allow_cluster_change"])
        if made.changed and not module.check_mode:
            private_file.write(made.path, made.content)
    except EdgeError as error:
        _refuse(module, error)
    for key in made.hidden:
        module.warn(f"{made.path}: {key}: a later drop-in sets it too, so this value is not used.")
    module.exit_json(
        changed=made.changed,
        path=made.path,
        cluster_changes=changes,
        diff=made.diff(),
        **config_file.keys_between(made.before, made.after),
    )


def _refuse(module: AnsibleModule, error: EdgeError) -> NoReturn:
    module.fail_json(msg=str(error), errors=error.as_list())
    raise AssertionError("fail_json does not return")


if __name__ == "__main__":
    main()

#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: k3s of a node runs with what is on the disk, and its node is ready."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_service
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: K3s runs with the settings on the disk
description:
  - Starts k3s, or restarts it when its program, unit, settings or token are other ones than those it was started with,
    whoever changed them and whichever run was interrupted. What it was started with is noted by the program
    C(k3s-fingerprint), which the role P(edgewright.edge.k3s#role) puts into the unit.
  - Waits until the node has the condition Ready, asked of the cluster's API by the program C(check-k3s).
  - A server of several is not restarted while the node of another server is not ready, unless that one has yet to join.
    An agent may be.
attributes:
  check_mode:
    description: Can run in check mode and return what it would without it.
    support: full
    details: What earlier tasks of the same run would have written is not on the disk; O(pending) tells of it.
  diff_mode:
    description: Returns what was changed when in diff mode.
    support: full
  idempotent:
    description: Run again, it changes nothing, unless something outside has changed.
    support: full
options:
  name:
    description: Unit.
    type: str
    choices: [k3s, k3s-agent]
    required: true
  node:
    description: Name of the node in the cluster.
    type: str
    required: true
  version:
    description: Version that the node must report.
    type: str
    required: true
  servers:
    description: Names of the nodes that are servers.
    type: list
    elements: str
    default: []
  pending:
    description: Whether earlier tasks changed, or in check mode would have changed, what k3s depends on.
    type: bool
    default: false
  timeout:
    description: Seconds until the node must be ready.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Server runs
  edgewright.edge.k3s_service:
    name: k3s
    node: till-01
    version: v1.36.5+k3s1
"""

RETURN = r"""
reasons:
  description: Why k3s was, or in check mode would be, started or restarted; empty when it was not.
  returned: always
  type: list
  elements: str
message:
  description: What the node's check said.
  returned: when not in check mode
  type: str
"""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_service import Unit, differences, failure, read_unit

ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "choices": ["k3s", "k3s-agent"], "required": True},
    "node": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "servers": {"type": "list", "elements": "str", "default": []},
    "pending": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 300},
}
_NOTE = Path("/run/edgewright/k3s-start.json")
_FINGERPRINT = Path("/usr/lib/edgewright/k3s-fingerprint")
_CHECK = "/usr/lib/edgewright/check-k3s"
_PROPERTIES = "ActiveState,ExecMainStartTimestamp,NRestarts,Result,NeedDaemonReload"
_POLL_SECONDS = 0.5
_NO_SUCH_NODE = 3
# So often systemd has tried again before it is called a failure.
_ENOUGH_RESTARTS = 3


def output(*argv: str) -> str:
    """Return what a program prints."""
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


class Service:
    """The unit and its node."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.parameters = parameters
        self.unit = f"{parameters['name']}.service"

    def state(self) -> Unit:
        """Ask systemd."""
        return read_unit(output("systemctl", "show", "--timestamp=unix", f"--property={_PROPERTIES}", self.unit))

    def reasons(self, state: Unit) -> list[str]:
        """Return why it must be started or restarted."""
        if not _FINGERPRINT.exists():
            return ["it is not installed yet"]
        if not state.runs:
            return ["it does not run"]
        noted = json.loads(_NOTE.read_text(encoding="utf-8")) if _NOTE.exists() else None
        return differences(noted, json.loads(output(str(_FINGERPRINT), self.unit)))

    def check(self, node: str, since: float = 0.0, version: str = "") -> tuple[int, str]:
        """Ask the cluster for a node; returns the program's exit status, 0 for a healthy one, and what was said."""
        argv = [_CHECK, node, f"--since={since}", *([f"--version={version}"] if version else [])]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, (done.stdout or done.stderr).strip()

    def others_missing(self) -> str:
        """Return what the check says of another server that is not ready; empty when all are, or there is none.

        The cluster goes on without an agent, and its kubelet's certificate may ask for its own node only. A server that
        the cluster does not know is no member of its datastore: one that grows has others only when this one is back.
        """
        if self.parameters["name"] == "k3s-agent":
            return ""
        for name in self.parameters["servers"]:
            if name != self.parameters["node"]:
                status, message = self.check(name)
                if status not in (0, _NO_SUCH_NODE):
                    return message
        return ""

    def start(self, state: Unit) -> None:
        """Start or restart; what becomes of it is asked later."""
        output("systemctl", "daemon-reload")
        # Counters of earlier failures would be taken for this start's.
        subprocess.run(["systemctl", "reset-failed", self.unit], capture_output=True, check=False)
        output("systemctl", "restart" if state.runs else "start", "--no-block", self.unit)

    def log(self, since: float) -> list[str]:
        """Return what its processes have logged since a time; systemd's own words about the unit are left out."""
        stamp = f"--since=@{int(since)}"
        return output("journalctl", "--output=cat", "--no-pager", stamp, f"_SYSTEMD_UNIT={self.unit}").splitlines()


def wait(service: Service, since: float, timeout: int, restarts: int) -> tuple[bool, str]:
    """Wait until the node is ready or cannot become so; returns whether, and what was said last.

    ``restarts`` is how often systemd had restarted it before.
    """
    end, message = time.monotonic() + timeout, ""
    while time.monotonic() < end:
        state = service.state()
        if state.active == "active":
            status, message = service.check(service.parameters["node"], since, service.parameters["version"])
            if status == 0:
                return True, message
        if state.restarts >= restarts + _ENOUGH_RESTARTS:
            return False, f"it has ended {state.restarts} times"
        if state.active == "failed":
            return False, f"it has failed ({state.result})"
        time.sleep(_POLL_SECONDS)
    return False, message or f"it was not ready within {timeout} s"


def main() -> None:
    """Compare, start, wait."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    service = Service(module.params)
    state = service.state()
    reasons = service.reasons(state)
    if module.params["pending"] and module.check_mode and not reasons:
        reasons = ["its settings change"]
    diff = {"before": "", "after": "".join(f"{service.unit} is started for {reason}\n" for reason in reasons)}
    if module.check_mode:
        module.exit_json(changed=bool(reasons), reasons=reasons, diff=diff)
    if reasons and state.active == "active" and (missing := service.others_missing()):
        module.fail_json(
            msg=f"{service.unit} is not restarted: {missing}. The cluster needs its other servers while this one is "
            "down; mend that node first."
        )
    began = time.time() if reasons else 0.0
    if reasons:
        service.start(state)
    elif state.needs_reload:
        output("systemctl", "daemon-reload")
    healthy, message = wait(service, began, module.params["timeout"], 0 if reasons else state.restarts)
    if not healthy:
        said = failure(service.log(began or state.started))
        module.fail_json(msg=f"{service.unit} is not ready: {message}; its log says: {said}", reasons=reasons)
    module.exit_json(changed=bool(reasons), reasons=reasons, message=message, diff=diff)


if __name__ == "__main__":
    main()

#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: tell whether a k3s cluster is healthy, and what is wrong with it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_health_info
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Tell whether a k3s cluster is healthy, and what is wrong with it
description:
  - Asks the API for nodes, system pods, KubeVirt, CDI and virtual machines, and k3s on this node for its certificates
    and images. It changes nothing, and an unhealthy cluster is no failure of the module.
  - With O(timeout) it asks again until nothing is wrong, or time is over.
requirements:
  - python3-kubernetes
attributes:
  check_mode:
    description: Can run in check mode and return what it would without it.
    support: full
    details: It only reads.
  diff_mode:
    description: Returns what was changed when in diff mode.
    support: N/A
    details: It changes nothing.
  idempotent:
    description: Run again, it gives the same result, unless something outside has changed.
    support: full
options:
  nodes:
    description: Names of the nodes that must be in the cluster.
    type: list
    elements: str
    default: []
  version:
    description: Version of k3s that O(nodes) must run.
    type: str
  certificate_days:
    description: Days that each of this node's certificates must be valid for.
    type: int
    default: 30
  images:
    description: References of images that this node must have, pinned. Without any, images are not looked at.
    type: list
    elements: str
    default: []
  allow_cordoned:
    description: Whether a node may be cordoned.
    type: bool
    default: false
  timeout:
    description: Seconds to wait until nothing is wrong. V(0) asks once.
    type: int
    default: 0
  kubeconfig:
    description: File with the address of the API and a certificate for it.
    type: path
    default: /etc/rancher/k3s/k3s.yaml
  data_dir:
    description: Folder of k3s's data.
    type: path
    default: /var/lib/rancher/k3s
  k3s:
    description: The k3s program, or its path.
    type: str
    default: k3s
"""

EXAMPLES = r"""
- name: Cluster is well before it is upgraded
  edgewright.edge.cluster_health_info:
    nodes: "{{ groups['k3s_server'] + groups['k3s_agent'] | default([]) }}"
    timeout: 300
  register: health
  failed_when: not health.healthy
"""

RETURN = r"""
healthy:
  description: Whether nothing is wrong.
  returned: success
  type: bool
problems:
  description: What is wrong. Each has C(where), C(what), C(found), C(expected) and C(remedy).
  returned: success
  type: list
  elements: dict
msg:
  description: RV(problems) in words, a line each.
  returned: success
  type: str
nodes:
  description: The nodes, each with C(name), C(ready), C(version), C(roles), C(cordoned),
    C(drained) by M(edgewright.edge.k3s_node) and not uncordoned since, and C(pressures).
  returned: success
  type: list
  elements: dict
datastore:
  description: Kind of this node's datastore, V(sqlite) or V(etcd). Empty on an agent.
  returned: success
  type: str
certificates:
  description: This node's certificates, each with C(file), C(subject), C(days) left and C(status).
  returned: success
  type: list
  elements: dict
kubevirt:
  description: Phase of KubeVirt. Empty where there is none.
  returned: success
  type: str
cdi:
  description: Phase of CDI. Empty where there is none.
  returned: success
  type: str
virtual_machines:
  description: How many virtual machines there are, in all and in each state.
  returned: success
  type: dict
  sample: {total: 2, Running: 1, Stopped: 1}
"""

import datetime
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.edgewright.edge.plugins.module_utils import cluster_health
from ansible_collections.edgewright.edge.plugins.module_utils.datastore_backup import datastore_kind
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_api import (
    KUBERNETES_ERROR,
    Api,
    ApiError,
    Deadline,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    "nodes": {"type": "list", "elements": "str", "default": []},
    "version": {"type": "str"},
    "certificate_days": {"type": "int", "default": 30},
    "images": {"type": "list", "elements": "str", "default": []},
    "allow_cordoned": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 0},
    "kubeconfig": {"type": "path", "default": "/etc/rancher/k3s/k3s.yaml"},
    "data_dir": {"type": "path", "default": "/var/lib/rancher/k3s"},
    "k3s": {"type": "str", "default": "k3s"},
}


def gather(module: AnsibleModule) -> cluster_health.Facts:
    """Ask the API and this node."""
    facts = cluster_health.Facts()
    unanswered: dict[str, str] = {}
    try:
        _ask_api(Api(module.params["kubeconfig"]), facts)
    except ApiError as error:
        unanswered["API"] = f"does not answer: {error}"
    found = _ask_k3s(module, unanswered, "certificate", "check", "--output", "json")
    facts.certificates = next((value for key, value in found.items() if key.lower() == "certificates"), None)
    if module.params["images"]:
        facts.images = _ask_k3s(module, unanswered, "crictl", "images", "-o", "json").get("images", [])
    facts.unanswered = unanswered
    return facts


def _ask_api(api: Api, facts: cluster_health.Facts) -> None:
    facts.nodes = api.list("/api/v1/nodes")
    facts.pods = [
        pod
        for namespace in cluster_health.SYSTEM_NAMESPACES
        for pod in api.list(f"/api/v1/namespaces/{namespace}/pods")
    ]
    facts.kubevirt = next(iter(api.list("/apis/kubevirt.io/v1/kubevirts")), None)
    facts.cdi = next(iter(api.list("/apis/cdi.kubevirt.io/v1beta1/cdis")), None)
    facts.machines = api.list("/apis/kubevirt.io/v1/virtualmachines") if facts.kubevirt else []


def _ask_k3s(module: AnsibleModule, unanswered: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Return the JSON object that a command of k3s prints; what it cannot is noted."""
    command = [module.params["k3s"], *arguments]
    where = " ".join(command)
    try:
        code, output, error = module.run_command(command, handle_exceptions=False)
    except OSError as missing:
        unanswered[where] = f"cannot be run: {missing.strerror}"
        return {}
    if code:
        lines = (error or output).strip().splitlines()
        unanswered[where] = f"failed with exit status {code}: {lines[-1] if lines else 'it says nothing'}"
        return {}
    try:
        found = json.loads(output)
    except ValueError:
        unanswered[where] = f"did not answer JSON: {output.strip()[:80]}"
        return {}
    return found if isinstance(found, dict) else {}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if KUBERNETES_ERROR:
        module.fail_json(msg=missing_required_lib("python3-kubernetes"), exception=KUBERNETES_ERROR)
    parameters = module.params
    expected = cluster_health.Expected(
        nodes=parameters["nodes"],
        version=parameters["version"] or "",
        certificate_days=parameters["certificate_days"],
        images=parameters["images"],
        cordoned=parameters["allow_cordoned"],
    )
    deadline = Deadline(parameters["timeout"], pause=2.0)
    while True:
        facts, now = gather(module), datetime.datetime.now(datetime.UTC)
        problems = cluster_health.assess(facts, expected, now)
        if not problems or not deadline.wait():
            break
    folder = Path(parameters["data_dir"]) / "server" / "db"
    module.exit_json(
        changed=False,
        healthy=not problems,
        problems=[asdict(problem) for problem in problems],
        msg="\n".join(str(problem) for problem in problems),
        nodes=[cluster_health.node_facts(node) for node in facts.nodes],
        datastore=datastore_kind(path.name for path in folder.iterdir()) if folder.is_dir() else "",
        certificates=cluster_health.certificates(facts.certificates or (), now),
        kubevirt=cluster_health.phase_of(facts.kubevirt),
        cdi=cluster_health.phase_of(facts.cdi),
        virtual_machines=cluster_health.machine_counts(facts.machines or ()),
    )


if __name__ == "__main__":
    main()

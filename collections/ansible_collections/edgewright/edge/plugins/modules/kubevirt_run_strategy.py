#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: have KubeVirt's virtual machines run, or not, as they are declared, whatever was done to them since."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubevirt_run_strategy
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Have KubeVirt's virtual machines run as they are declared
description:
  - Who stops or starts a machine (C(virtctl stop)) changes its C(runStrategy) in the cluster, and k3s applies a
    manifest again only when the file has changed. This module sets the strategy to what is declared.
  - A machine that M(edgewright.edge.k3s_node) has shut down for its node stays off. It is started with its node.
  - Does not wait until a machine runs or is off.
requirements:
  - python3-kubernetes
attributes:
  check_mode:
    description: Says which machines would be changed, changes none. Passes over those that are not there yet.
    support: full
  diff_mode:
    description: Shows the strategies before and after.
    support: full
  idempotent:
    description: A second run changes nothing, unless somebody has stopped or started a machine.
    support: full
options:
  namespace:
    description: Namespace of the machines.
    type: str
    required: true
  machines:
    description: Names of machines, and the C(runStrategy) of each.
    type: dict
    required: true
  timeout:
    description: Seconds that KubeVirt's webhooks may take until they answer.
    type: int
    default: 120
  kubeconfig:
    description: File with the address of the API and a certificate for it.
    type: path
    default: /etc/rancher/k3s/k3s.yaml
"""

EXAMPLES = r"""
- name: Till runs, and the old one is off
  edgewright.edge.kubevirt_run_strategy:
    namespace: edgewright
    machines: {till: Always, till-1998: Halted}
"""

RETURN = r"""
altered:
  description: Names of the machines whose strategy was another one.
  returned: always
  type: list
  elements: str
"""

from typing import Any

import yaml
from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_api import (
    KUBERNETES_ERROR,
    Api,
    ApiError,
    Deadline,
)
from ansible_collections.edgewright.edge.plugins.module_utils.node_drain import is_stopped_for_a_node

ARGUMENTS: dict[str, dict[str, Any]] = {
    "namespace": {"type": "str", "required": True},
    "machines": {"type": "dict", "required": True},
    "timeout": {"type": "int", "default": 120},
    "kubeconfig": {"type": "path", "default": "/etc/rancher/k3s/k3s.yaml"},
}


def differing(api: Api, folder: str, machines: dict[str, str], *, check: bool) -> dict[str, str]:
    """Return the strategies, by machine, that are not what ``machines`` says.

    Raises:
        ApiError: the API refuses, or does not answer; or a machine is not there, and not in check mode.
    """
    found = {}
    for name in sorted(machines):
        machine = api.get(f"{folder}/{name}")
        if machine is None:
            if check:
                continue
            raise ApiError(404, f"{folder}/{name} is not there")
        strategy = str(machine.get("spec", {}).get("runStrategy", ""))
        if strategy != machines[name] and not is_stopped_for_a_node(machine):
            found[name] = strategy
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if KUBERNETES_ERROR:
        module.fail_json(msg=missing_required_lib("python3-kubernetes"), exception=KUBERNETES_ERROR)
    folder = f"/apis/kubevirt.io/v1/namespaces/{module.params['namespace']}/virtualmachines"
    wanted = {name: str(strategy) for name, strategy in module.params["machines"].items()}
    deadline = Deadline(module.params["timeout"])
    try:
        api = Api(module.params["kubeconfig"])
        before = differing(api, folder, wanted, check=module.check_mode)
        for name in [] if module.check_mode else before:
            api.ask_until(deadline, "PATCH", f"{folder}/{name}", {"spec": {"runStrategy": wanted[name]}})
    except ApiError as error:
        module.fail_json(msg=f"the cluster's API: {error}")
    after = {name: wanted[name] for name in before}
    diff = {"before": _shown(before), "after": _shown(after)}
    module.exit_json(changed=bool(before), altered=sorted(before), diff=diff)


def _shown(strategies: dict[str, str]) -> str:
    return yaml.safe_dump(strategies) if strategies else ""


if __name__ == "__main__":
    main()

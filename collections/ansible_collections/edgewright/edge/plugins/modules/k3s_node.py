#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: cordon, drain, uncordon and remove a node of a cluster, with KubeVirt in mind."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_node
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Cordon, drain, uncordon and remove a node of a cluster
description:
  - Empties a node of a Kubernetes cluster, and lets it work again. Pods leave by the eviction API only, so that
    disruption budgets hold. Pods of DaemonSets, mirrors of static pods and pods that have ended stay.
  - KubeVirt's virtual machines are migrated by KubeVirt when their launcher is evicted. Those that cannot migrate are
    shut down first, if O(stop_virtual_machines) allows it; an annotation remembers how they ran, and
    O(state=uncordoned) starts them again.
requirements:
  - python3-kubernetes
attributes:
  check_mode:
    description: Can run in check mode and return what it would without it.
    support: full
    details: Lists in RV(pods) and RV(stopped) what would go.
  diff_mode:
    description: Returns what was changed when in diff mode.
    support: full
  idempotent:
    description: Run again, it changes nothing, unless something outside has changed.
    support: full
options:
  name:
    description: Name of the node in the cluster.
    type: str
    required: true
  state:
    description:
      - V(cordoned) lets no new pod on the node.
      - V(drained) does that and makes all pods leave.
      - V(uncordoned) lets pods on it again, and starts the virtual machines that V(drained) stopped.
      - V(readmitted) makes k3s forget the password it knows the node by, so that the machine that has the name now
        may join with its own, a new or restored one for example. The node keeps its labels, taints and pods.
      - V(absent) removes it from the cluster, and its password.
    type: str
    choices: [cordoned, drained, uncordoned, readmitted, absent]
    required: true
  stop_virtual_machines:
    description:
      - Which virtual machines are shut down instead of being migrated. Without leave (V(never)), one that cannot
        migrate makes the module refuse, before anything is changed.
    type: str
    choices: [never, if_needed, all]
    default: if_needed
  only_virtual_machines:
    description:
      - Only virtual machines leave. Other pods stay, as they may while k3s on the node is stopped and started again;
        right where there is no other node to take them.
    type: bool
    default: false
  delete_emptydir_data:
    description: Pods with emptyDir volumes may leave. Their data is lost. Launchers of virtual machines always may.
    type: bool
    default: false
  force:
    description: Pods that nothing starts again may leave; with O(state=absent), a node that runs may be removed.
    type: bool
    default: false
  grace_period:
    description: Seconds that each pod gets to end. Without it, each pod's own.
    type: int
  timeout:
    description: Seconds that all of it may take.
    type: int
    default: 600
  kubeconfig:
    description: File with the address of the API and a certificate for it.
    type: path
    default: /etc/rancher/k3s/k3s.yaml
"""

EXAMPLES = r"""
- name: Node is empty
  edgewright.edge.k3s_node:
    name: till-01
    state: drained
    stop_virtual_machines: if_needed
    timeout: 900

- name: Node works again, and so do the virtual machines that were stopped for it
  edgewright.edge.k3s_node:
    name: till-01
    state: uncordoned
"""

RETURN = r"""
pods:
  description: Pods that left, or would, as C(namespace/name).
  returned: when O(state=drained)
  type: list
  elements: str
kept:
  description: Pods that stay, and why.
  returned: when O(state=drained)
  type: dict
stopped:
  description: Virtual machines that were shut down, or would be.
  returned: when O(state=drained)
  type: list
  elements: str
migrated:
  description: Virtual machines that KubeVirt moved to another node, or would.
  returned: when O(state=drained)
  type: list
  elements: str
started:
  description: Virtual machines that run again, or would.
  returned: when O(state=uncordoned)
  type: list
  elements: str
left:
  description: Pods that had not left when time was over, and what kept each.
  returned: when it took too long
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.edgewright.edge.plugins.module_utils import node_drain
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_api import (
    KUBERNETES_ERROR,
    Api,
    ApiError,
    Deadline,
)
from ansible_collections.edgewright.edge.plugins.module_utils.node_drain import Name

_STATES = ["cordoned", "drained", "uncordoned", "readmitted", "absent"]
ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {
        "type": "str",
        "choices": ["cordoned", "drained", "uncordoned", "readmitted", "absent"],
        "required": True,
    },
    "stop_virtual_machines": {"type": "str", "choices": list(node_drain.STOP_CHOICES), "default": "if_needed"},
    "only_virtual_machines": {"type": "bool", "default": False},
    "delete_emptydir_data": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "grace_period": {"type": "int"},
    "timeout": {"type": "int", "default": 600},
    "kubeconfig": {"type": "path", "default": "/etc/rancher/k3s/k3s.yaml"},
}
_MACHINES = "/apis/kubevirt.io/v1"


class TooLongError(Exception):
    """Time was over; ``left`` has the pods that are still there and what kept each."""

    def __init__(self, node: str, seconds: int, left: dict[str, str]) -> None:
        self.left = left
        lines = [f"{pod}: {why}" for pod, why in sorted(left.items())]
        super().__init__(
            f"{node}: {len(left)} pods had not left after {seconds} s; it stays cordoned. "
            f"Mend what keeps them and run again, or uncordon it.\n" + "\n".join(lines)
        )


class Node:
    """One node of a cluster.

    Args:
        api: the cluster's.
        module: the running module.
    """

    def __init__(self, api: Api, module: AnsibleModule) -> None:
        self._api = api
        self._parameters = module.params
        self._act = not module.check_mode
        self._deadline = Deadline(module.params["timeout"])
        self.name: str = module.params["name"]
        self.path = f"/api/v1/nodes/{self.name}"
        self.found = api.get(self.path)
        self.changed = False

    def cordon(self, *, cordoned: bool, drained: bool = False) -> None:
        """Let no new pods on it, or let them on it again; note whether that is for a drain."""
        if self.found is None:
            known = [node["metadata"]["name"] for node in self._api.list("/api/v1/nodes")]
            raise EdgeError(
                Problem(self.name, "is no node of the cluster", expected=f"one of {', '.join(sorted(known))}")
            )
        noted = node_drain.DRAINED in (self.found["metadata"].get("annotations") or {})
        was = bool(self.found["spec"].get("unschedulable"))
        if was != cordoned or (noted and not cordoned):
            self.changed = True
            note = {node_drain.DRAINED: "true" if drained else None}
            if self._act:
                patch = {"metadata": {"annotations": note}, "spec": {"unschedulable": cordoned or None}}
                self._api.patch(self.path, patch)

    def plan(self) -> node_drain.Plan:
        """Return what would leave."""
        parameters = self._parameters
        rules = node_drain.Rules(
            parameters["stop_virtual_machines"],
            parameters["delete_emptydir_data"],
            parameters["force"],
            parameters["only_virtual_machines"],
        )
        instances = self._api.list(f"{_MACHINES}/virtualmachineinstances")
        return node_drain.plan_drain(
            self._pods(),
            [instance for instance in instances if instance.get("status", {}).get("nodeName") == self.name],
            self._api.list(f"{_MACHINES}/virtualmachines") if instances else [],
            rules,
            strategy=self._strategy() if instances else "",
            targets=node_drain.takes_virtual_machines(self._api.list("/api/v1/nodes"), self.name),
        )

    def drain(self) -> dict[str, Any]:
        """Make all pods leave.

        Raises:
            EdgeError: some may not; nothing was changed.
            TooLongError: some did not.
        """
        plan = self.plan()
        self.cordon(cordoned=True, drained=True)
        self.changed = self.changed or bool(plan.evict)
        if self._act:
            for machine in plan.stop:
                self._stop(machine)
            self._empty(plan)
        return {
            "pods": [str(pod) for pod in plan.evict],
            "kept": {str(pod): why for pod, why in plan.kept.items()},
            "stopped": [str(machine) for machine in plan.stop],
            "migrated": [str(machine) for machine in plan.migrate],
        }

    def uncordon(self) -> dict[str, Any]:
        """Let pods on it again, and start what was stopped for its sake."""
        self.cordon(cordoned=False)
        machines = node_drain.stopped_for(self._api.list(f"{_MACHINES}/virtualmachines"), self.name)
        self.changed = self.changed or bool(machines)
        for machine in machines if self._act else ():
            self._start(machine)
        return {"started": [str(node_drain.name_of(machine)) for machine in machines]}

    def remove(self) -> dict[str, Any]:
        """Remove it and the password k3s knows it by."""
        if self.found is not None:
            node_drain.check_removal(self.found, force=self._parameters["force"])
            self.changed = True
            if self._act:
                self._delete(self.path)
        return self.readmit()

    def readmit(self) -> dict[str, Any]:
        """Remove the password k3s knows it by: it takes the next one that the node comes with (pkg/nodepassword)."""
        secret = f"/api/v1/namespaces/kube-system/secrets/{self.name}.node-password.k3s"
        if self._api.get(secret) is not None:
            self.changed = True
            if self._act:
                self._delete(secret)
        return {}

    def _delete(self, path: str) -> None:
        try:
            self._api.ask("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    def _pods(self) -> list[dict[str, Any]]:
        return self._api.list("/api/v1/pods", fieldSelector=f"spec.nodeName={self.name}")

    def _strategy(self) -> str:
        found = self._api.list(f"{_MACHINES}/kubevirts")
        return str(found[0].get("spec", {}).get("configuration", {}).get("evictionStrategy") or "") if found else ""

    def _machine(self, name: Name) -> str:
        return f"{_MACHINES}/namespaces/{name.namespace}/virtualmachines/{name.name}"

    def _stop(self, name: Name) -> None:
        machine = self._api.get(self._machine(name))
        if machine is not None:
            self._api.ask_until(self._deadline, "PATCH", self._machine(name), node_drain.stop_patch(machine, self.name))

    def _start(self, machine: node_drain.Object) -> None:
        name = node_drain.name_of(machine)
        if node_drain.needs_start(machine):
            spec = node_drain.start_patch(machine)["spec"]
            self._api.ask_until(self._deadline, "PATCH", self._machine(name), {"spec": spec})
            try:
                self._api.ask_until(
                    self._deadline,
                    "PUT",
                    self._machine(name).replace("/apis/", "/apis/subresources.", 1) + "/start",
                    {},
                )
            except ApiError as error:
                if error.status != 409:  # it runs already
                    raise
        self._api.ask_until(self._deadline, "PATCH", self._machine(name), node_drain.start_patch(machine))

    def _empty(self, plan: node_drain.Plan) -> None:
        going = set(plan.evict)
        with_machine = {Name(machine.namespace, machine.name) for machine in plan.stop}
        reasons: dict[Name, str] = {}
        while True:
            present = {node_drain.name_of(pod): pod for pod in self._pods()}
            left = {where: pod for where, pod in present.items() if where in going}
            if not left:
                return
            for where, pod in left.items():
                if _owner(pod) in with_machine:
                    reasons[where] = "its virtual machine is shutting down"
                elif pod["metadata"].get("deletionTimestamp"):
                    reasons[where] = f"ends since {pod['metadata']['deletionTimestamp']}"
                else:
                    reasons[where] = self._evict(where)
            if not self._deadline.wait():
                kept = {str(where): reasons[where] for where in left}
                raise TooLongError(self.name, self._parameters["timeout"], kept)

    def _evict(self, where: Name) -> str:
        """Ask for a pod's eviction; returns why it is still there."""
        grace = self._parameters["grace_period"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": where.name, "namespace": where.namespace},
            "deleteOptions": {} if grace is None else {"gracePeriodSeconds": grace},
        }
        try:
            self._api.ask("POST", f"/api/v1/namespaces/{where.namespace}/pods/{where.name}/eviction", body)
        except ApiError as error:
            if error.status == 404:
                return "is gone"
            # 429: a disruption budget, or KubeVirt that migrates first (pod-eviction-admitter).
            if error.passing:
                return error.text
            raise
        return "was asked to end"


def _owner(pod: node_drain.Object) -> Name | None:
    owners = pod["metadata"].get("ownerReferences") or []
    names = [owner["name"] for owner in owners if owner.get("kind") == "VirtualMachineInstance"]
    return Name(pod["metadata"]["namespace"], names[0]) if names else None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if KUBERNETES_ERROR:
        module.fail_json(msg=missing_required_lib("python3-kubernetes"), exception=KUBERNETES_ERROR)
    state = module.params["state"]
    try:
        node = Node(Api(module.params["kubeconfig"]), module)
        before = _shown(node.found)
        if state == "cordoned":
            node.cordon(cordoned=True)
        work = {
            "drained": node.drain,
            "uncordoned": node.uncordon,
            "readmitted": node.readmit,
            "absent": node.remove,
        }
        result = work.get(state, dict)()
    except EdgeError as error:
        module.fail_json(msg=str(error), errors=error.as_list())
    except ApiError as error:
        module.fail_json(msg=f"{module.params['name']}: the cluster's API: {error}")
    except TooLongError as error:
        module.fail_json(msg=str(error), left=error.left, changed=True)
    after = {"cordoned": "cordoned\n", "drained": "cordoned\n", "uncordoned": "uncordoned\n", "absent": ""}.get(
        state, before
    )
    module.exit_json(changed=node.changed, diff={"before": before, "after": after}, **result)


def _shown(node: dict[str, Any] | None) -> str:
    if node is None:
        return ""
    return "cordoned\n" if node["spec"].get("unschedulable") else "uncordoned\n"


if __name__ == "__main__":
    main()

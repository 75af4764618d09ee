"""What has to leave a Kubernetes node that is drained: pods by eviction, virtual machines by migration or by a stop.

Objects are the API's JSON as mappings. The rules of ``kubectl drain`` hold (DaemonSet, mirror, emptyDir and unmanaged
pods: k8s.io/kubectl/pkg/drain/filters.go), with KubeVirt's on top (docs: user-guide/cluster_admin/node_maintenance).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problems

Object = Mapping[str, Any]
STOPPED_ON: Final = "edgewright.io/stopped-for-drain-of"
# On a node that was drained: a drain that somebody has to finish or to take back.
DRAINED: Final = "edgewright.io/drained"
STRATEGY: Final = "edgewright.io/run-strategy-before-drain"
STOP_CHOICES: Final = ("never", "if_needed", "all")
MIGRATING: Final = ("LiveMigrate", "LiveMigrateIfPossible")
_LEGACY: Final = "running"
_MIRROR: Final = "kubernetes.io/config.mirror"


@dataclass(frozen=True, order=True)
class Name:
    """Where an object is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass
class Plan:
    """What a drain does.

    Attributes:
        evict: pods, which go by eviction (or with the virtual machine that is stopped).
        kept: pods that stay, with the reason.
        stop: virtual machines that are stopped.
        migrate: virtual machines that KubeVirt moves away when their pod is evicted.
    """

    evict: list[Name] = field(default_factory=list)
    kept: dict[Name, str] = field(default_factory=dict)
    stop: list[Name] = field(default_factory=list)
    migrate: list[Name] = field(default_factory=list)


@dataclass(frozen=True)
class Rules:
    """What a drain may do.

    Attributes:
        stop_virtual_machines: ``never``, ``if_needed`` (those that cannot migrate) or ``all``.
        delete_emptydir_data: pods with emptyDir volumes may go; their data is lost.
        force: pods that nothing will start again may go.
        only_virtual_machines: all other pods stay.
    """

    stop_virtual_machines: str = "if_needed"
    delete_emptydir_data: bool = False
    force: bool = False
    only_virtual_machines: bool = False


def name_of(item: Object) -> Name:
    """Return where an object is."""
    meta = item["metadata"]
    return Name(meta.get("namespace", ""), meta["name"])


def plan_drain(
    pods: Iterable[Object],
    instances: Iterable[Object],
    machines: Iterable[Object],
    rules: Rules,
    *,
    strategy: str,
    targets: Sequence[str],
) -> Plan:
    """Decide what leaves a node and how.

    Args:
        pods: all pods of the node.
        instances: KubeVirt's VirtualMachineInstances of the node.
        machines: all VirtualMachines.
        rules: what may be done.
        strategy: the cluster's own eviction strategy, for instances that have none.
        targets: other nodes that could take a virtual machine.

    Raises:
        EdgeError: something may not leave; says all of it, before anything is changed.
    """
    plan, problems = Plan(), Problems()
    owners = {name_of(machine) for machine in machines}
    on_node = {name_of(instance): instance for instance in instances}
    for pod in pods:
        where, launcher = name_of(pod), _launcher_of(pod)
        if reason := _stays(pod):
            plan.kept[where] = reason
        elif launcher is None and rules.only_virtual_machines:
            plan.kept[where] = "no virtual machine"
        elif launcher is None:
            _plan_pod(pod, rules, plan, problems)
        else:
            plan.evict.append(where)
            instance = on_node.get(launcher)
            if instance is not None:
                cannot = _stuck(instance, strategy, targets)
                _plan_machine(launcher, rules, plan, problems, cannot=cannot, owned=launcher in owners)
    problems.raise_if_any()
    plan.stop.sort()
    plan.migrate.sort()
    return plan


def _stays(pod: Object) -> str:
    if _MIRROR in (pod["metadata"].get("annotations") or {}):
        return "a mirror of a static pod"
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return "has ended"
    if _controller(pod).get("kind") == "DaemonSet":
        return "of a DaemonSet"
    return ""


def _controller(item: Object) -> Object:
    owners: list[Object] = item["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), {})


def _launcher_of(pod: Object) -> Name | None:
    """Return the virtual machine instance whose launcher a pod is."""
    owner = _controller(pod)
    if owner.get("kind") != "VirtualMachineInstance":
        return None
    return Name(pod["metadata"]["namespace"], owner["name"])


def _plan_pod(pod: Object, rules: Rules, plan: Plan, problems: Problems) -> None:
    where = name_of(pod)
    allowed = True
    if not _controller(pod) and not rules.force:
        allowed = False
        problems.add(
            str(where), "is a pod that nothing starts again", remedy="Remove it, or allow that with 'force: true'."
        )
    volumes = pod.get("spec", {}).get("volumes") or []
    lost = [volume["name"] for volume in volumes if "emptyDir" in volume]
    if lost and not rules.delete_emptydir_data:
        allowed = False
        problems.add(
            str(where),
            f"has data in emptyDir volumes that would be lost: {', '.join(lost)}",
            remedy="Save it, or allow that with 'delete_emptydir_data: true'.",
        )
    if allowed:
        plan.evict.append(where)


def _plan_machine(where: Name, rules: Rules, plan: Plan, problems: Problems, *, cannot: str, owned: bool) -> None:
    if rules.stop_virtual_machines == "all" and owned:
        plan.stop.append(where)
    elif not cannot:
        plan.migrate.append(where)
    elif owned and rules.stop_virtual_machines != "never":
        plan.stop.append(where)
    elif owned or not rules.force:
        remedy = "Nothing starts it again: remove it, or allow that with 'force: true'."
        if owned:
            remedy = "Stop it, or allow that with 'stop_virtual_machines: if_needed'."
        problems.add(str(where), f"is a virtual machine that cannot migrate: {cannot}", remedy=remedy)


def _stuck(instance: Object, strategy: str, targets: Sequence[str]) -> str:
    """Return why an instance cannot migrate; empty when it can."""
    own = instance.get("spec", {}).get("evictionStrategy") or strategy or "None"
    if own not in MIGRATING:
        return f"its eviction strategy is {own}"
    for condition in instance.get("status", {}).get("conditions") or []:
        if condition.get("type") == "LiveMigratable":
            if condition.get("status") == "True":
                return "" if targets else "no other node can take it"
            return str(condition.get("message") or condition.get("reason") or "KubeVirt says so")
    return "KubeVirt has not said that it can"


def takes_virtual_machines(nodes: Iterable[Object], but: str) -> list[str]:
    """Return the nodes besides ``but`` that are ready, open to pods, and that KubeVirt schedules on."""
    found = []
    for node in nodes:
        meta, spec = node["metadata"], node.get("spec", {})
        labels = meta.get("labels") or {}
        open_to_all = not spec.get("unschedulable") and labels.get("kubevirt.io/schedulable") == "true"
        if meta["name"] != but and open_to_all and is_ready(node):
            found.append(meta["name"])
    return sorted(found)


def is_ready(node: Object) -> bool:
    """Tell whether a node is ready."""
    conditions = node.get("status", {}).get("conditions") or []
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def stop_patch(machine: Object, node: str) -> dict[str, Any]:
    """Return the merge patch that stops a VirtualMachine and remembers how it ran and for which node's sake.

    Both ways to say how it runs are known (``running`` is deprecated, and cannot stand beside ``runStrategy``:
    KubeVirt's vms-admitter).
    """
    spec = machine["spec"]
    if "runStrategy" in spec:
        before = str(spec["runStrategy"])
        stopped: dict[str, Any] = {"runStrategy": "Halted"}
    else:
        before, stopped = _LEGACY, {"running": False}
    return {"metadata": {"annotations": {STOPPED_ON: node, STRATEGY: before}}, "spec": stopped}


def start_patch(machine: Object) -> dict[str, Any]:
    """Return the merge patch that lets a VirtualMachine run as it did, and forgets that it was stopped."""
    before = machine["metadata"]["annotations"][STRATEGY]
    spec = {"running": True} if before == _LEGACY else {"runStrategy": before}
    return {"metadata": {"annotations": {STOPPED_ON: None, STRATEGY: None}}, "spec": spec}


def needs_start(machine: Object) -> bool:
    """Tell whether a VirtualMachine does not start by itself once it has its run strategy again."""
    return bool(machine["metadata"]["annotations"][STRATEGY] == "Manual")


def stopped_for(machines: Iterable[Object], node: str) -> list[Object]:
    """Return the VirtualMachines that were stopped when a node was drained."""
    return [
        machine
        for machine in machines
        if is_stopped_for_a_node(machine) and machine["metadata"]["annotations"][STOPPED_ON] == node
    ]


def is_stopped_for_a_node(machine: Object) -> bool:
    """Tell whether a VirtualMachine was stopped when a node was drained, and has not been started again since."""
    return {STOPPED_ON, STRATEGY} <= set(machine["metadata"].get("annotations") or {})


def check_removal(node: Object, *, force: bool) -> None:
    """Accept that a node leaves its cluster.

    Raises:
        EdgeError: its kubelet still reports, so that it would come back at once.
    """
    if is_ready(node) and not force:
        problems = Problems()
        problems.add(
            node["metadata"]["name"],
            "still runs in the cluster, and would register again",
            found="Ready",
            expected="NotReady",
            remedy="Drain it and stop k3s on it first, or say 'force: true'.",
        )
        raise EdgeError(problems.found)

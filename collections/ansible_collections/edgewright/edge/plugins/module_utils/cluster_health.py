"""Whether a cluster is healthy, judged from what its API and its nodes say. Objects are the API's JSON as mappings."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.node_drain import DRAINED, is_ready

Object = Mapping[str, Any]
SYSTEM_NAMESPACES: Final = ("kube-system", "kubevirt", "cdi")
# kubernetes.io/docs/concepts/architecture/nodes: conditions that are bad when true.
PRESSURES: Final = {
    "MemoryPressure": "Free memory: stop what is not needed, or give the node more.",
    "DiskPressure": "Free space below /var/lib/rancher; the kubelet removes images and pods until then.",
    "PIDPressure": "Find what makes so many processes.",
    "NetworkUnavailable": "Look at 'journalctl -u k3s' for flannel.",
}


@dataclass(frozen=True)
class Expected:
    """What the inventory says that must be.

    Attributes:
        nodes: names that must be in the cluster.
        version: of k3s on every node; empty for any.
        certificate_days: days that every certificate must be valid for.
        images: references that must be in this node's store, pinned.
        cordoned: whether a node may be cordoned.
    """

    nodes: Sequence[str] = ()
    version: str = ""
    certificate_days: int = 30
    images: Sequence[str] = ()
    cordoned: bool = False


@dataclass
class Facts:
    """What a cluster and one of its nodes say; None where nobody was asked or nobody knows."""

    nodes: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    kubevirt: Object | None = None
    cdi: Object | None = None
    machines: Sequence[Object] | None = None
    certificates: Sequence[Object] | None = None
    images: Sequence[Object] | None = None
    unanswered: Mapping[str, str] = field(default_factory=dict)


def assess(facts: Facts, expected: Expected, now: datetime.datetime) -> list[Problem]:
    """Return everything that is not as it should be, with a remedy each."""
    problems = Problems()
    for where, what in facts.unanswered.items():
        problems.add(where, what, remedy="Look at 'systemctl status k3s' and 'journalctl -u k3s' on this node.")
    if "API" not in facts.unanswered:
        _nodes(facts.nodes, expected, problems)
        _pods(facts.pods, problems)
    for name, item in (("KubeVirt", facts.kubevirt), ("CDI", facts.cdi)):
        if item is not None:
            _operator(name, item, problems)
    for certificate in certificates(facts.certificates or (), now):
        _certificate(certificate, expected.certificate_days, problems)
    if facts.images is not None:
        _images(facts.images, expected.images, problems)
    return problems.found


def node_facts(node: Object) -> dict[str, Any]:
    """Return what one wants to know of a node."""
    meta, status = node["metadata"], node.get("status", {})
    role = "node-role.kubernetes.io/"
    labels = meta.get("labels") or {}
    return {
        "name": meta["name"],
        "ready": is_ready(node),
        "version": status.get("nodeInfo", {}).get("kubeletVersion", ""),
        "roles": sorted(label.removeprefix(role) for label in labels if label.startswith(role)),
        "cordoned": bool(node.get("spec", {}).get("unschedulable")),
        "drained": DRAINED in (meta.get("annotations") or {}),
        "pressures": [name for name in PRESSURES if _condition(node, name).get("status") == "True"],
    }


def certificates(found: Iterable[Object], now: datetime.datetime) -> list[dict[str, Any]]:
    """Return file, subject and whole days left of each entry of ``k3s certificate check --output json``.

    k3s writes the names of Go's fields (pkg/cli/cert/cert.go, Certificate).
    """
    listed = []
    for entry in found:
        fields = {str(key).lower(): value for key, value in entry.items()}
        # Nanoseconds are more than fromisoformat reads before Python 3.11; k3s's certificates have whole seconds.
        expires = datetime.datetime.fromisoformat(str(fields["expirytime"]))
        status = str(fields.get("status", ""))
        days = 0 if status == "NOT YET VALID" else (expires - now).days
        listed.append(
            {"file": fields.get("filename", ""), "subject": fields.get("subject", ""), "days": days, "status": status}
        )
    return listed


def machine_counts(machines: Iterable[Object]) -> dict[str, int]:
    """Return how many virtual machines there are in each state (``status.printableStatus``), and in all."""
    counts: dict[str, int] = {"total": 0}
    for machine in machines:
        state = machine.get("status", {}).get("printableStatus") or "Unknown"
        counts["total"] += 1
        counts[state] = counts.get(state, 0) + 1
    return counts


def phase_of(item: Object | None) -> str:
    """Return the phase of a KubeVirt or CDI resource; empty when there is none."""
    return str(item.get("status", {}).get("phase") or "unknown") if item is not None else ""


def _condition(item: Object, name: str) -> Object:
    found: list[Object] = item.get("status", {}).get("conditions") or []
    return next((condition for condition in found if condition.get("type") == name), {})


def _nodes(nodes: Sequence[Object], expected: Expected, problems: Problems) -> None:
    present = {node["metadata"]["name"]: node for node in nodes}
    for name in expected.nodes:
        if name not in present:
            problems.add(
                name,
                "is not in the cluster",
                remedy="Look at 'journalctl -u k3s -u k3s-agent' on it; run playbooks/site.yml for it.",
            )
    for name, node in sorted(present.items()):
        facts = node_facts(node)
        if not facts["ready"]:
            told = _condition(node, "Ready").get("message") or "it says nothing"
            problems.add(
                name,
                "is not ready",
                found=str(told),
                remedy="Look at 'systemctl status k3s k3s-agent' on it.",
            )
        for pressure in facts["pressures"]:
            problems.add(name, f"reports {pressure}", remedy=PRESSURES[pressure])
        if facts["cordoned"] and not expected.cordoned:
            problems.add(
                name, "takes no pods: it is cordoned", remedy="Uncordon it: k3s_node with 'state: uncordoned'."
            )
        if expected.version and name in expected.nodes and facts["version"] != expected.version:
            problems.add(
                name,
                "runs another k3s",
                found=facts["version"],
                expected=expected.version,
                remedy="Run playbooks/upgrade.yml.",
            )


def _pods(pods: Iterable[Object], problems: Problems) -> None:
    for pod in pods:
        meta, phase = pod["metadata"], pod.get("status", {}).get("phase", "Unknown")
        ready = _condition(pod, "Ready").get("status") == "True"
        if meta.get("deletionTimestamp") or phase == "Succeeded" or (phase == "Running" and ready):
            continue
        problems.add(
            f"{meta['namespace']}/{meta['name']}",
            "is a system pod that does not work",
            found=_why(pod) or f"{phase}, not ready",
            expected="Running and ready",
            remedy=f"See 'k3s kubectl -n {meta['namespace']} describe pod {meta['name']}'.",
        )


def _why(pod: Object) -> str:
    status = pod.get("status", {})
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason"):
            return f"{waiting['reason']} {waiting.get('message', '')}".strip()
    return str(_condition(pod, "PodScheduled").get("message") or "")


def _operator(name: str, item: Object, problems: Problems) -> None:
    phase = phase_of(item)
    if phase != "Deployed":
        remedy = f"See 'k3s kubectl get {name.lower()} -A -o yaml'."
        problems.add(name, "is not deployed", found=phase, expected="Deployed", remedy=remedy)
        return
    for condition, good in (("Available", "True"), ("Degraded", "False")):
        found = _condition(item, condition)
        if found and found.get("status") != good:
            told = str(found.get("message") or found.get("reason") or found.get("status"))
            problems.add(name, f"is not well: {condition} is not {good}", found=told)


def _certificate(certificate: Object, days: int, problems: Problems) -> None:
    where = f"certificate {certificate['file']} ({certificate['subject']})"
    if certificate["status"] == "NOT YET VALID":
        problems.add(where, "is not valid yet", remedy="The node's clock is behind: set it, then restart k3s.")
    elif certificate["days"] < days:
        problems.add(
            where,
            "ends soon" if certificate["days"] >= 0 else "has ended",
            found=f"{certificate['days']} days left",
            expected=f"at least {days}",
            remedy="Run playbooks/rotate.yml -e rotate=certificates.",
        )


def _images(images: Sequence[Object], expected: Sequence[str], problems: Problems) -> None:
    pinned = {tag: bool(image.get("pinned")) for image in images for tag in image.get("repoTags") or []}
    for reference in expected:
        if reference not in pinned:
            problems.add(reference, "is not in this node's store", remedy="Run playbooks/site.yml for the node.")
        elif not pinned[reference]:
            problems.add(
                reference,
                "is not pinned: the kubelet may remove it when the disk fills",
                remedy="Restart k3s with its archive in agent/images.",
            )

"""Whether objects of a cluster are as expected, and what keeps them from it, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from ansible_collections.edgewright.edge.plugins.module_utils.deployment_rollout import unfinished

Object: TypeAlias = Mapping[str, Any]

_SHOWN: Final = 12  # a broken node has hundreds of pods that wait for the same


@dataclass(frozen=True)
class Expectation:
    """How one object should be.

    Attributes:
        kind: the kind's plural and group, as ``kubevirts.kubevirt.io``; plural only for the core group.
        version: version of the group, as ``v1``.
        name: of the object.
        namespace: of the object; empty where the kind has none.
        status: fields of its status and the values they should have.
        conditions: types of its conditions and the status (``True``, ``False``, ``Unknown``) that each should have.
        rollout: whether all its pods should be of its newest form; it is a Deployment then.
    """

    kind: str
    version: str
    name: str
    namespace: str = ""
    status: Mapping[str, str] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)
    rollout: bool = False

    @property
    def path(self) -> str:
        """Return the object's path in the API (Kubernetes API concepts, resource URIs)."""
        plural, _, group = self.kind.partition(".")
        root = f"/apis/{group}/{self.version}" if group else f"/api/{self.version}"
        return (
            f"{root}/namespaces/{self.namespace}/{plural}/{self.name}"
            if self.namespace
            else f"{root}/{plural}/{self.name}"
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def unmet(expected: Expectation, found: Object | None) -> list[str]:
    """Return what is not as expected, a sentence each; nothing when the object is ready.

    An object whose controller has not seen its newest form yet (``status.observedGeneration``, where a kind has it) is
    not ready, whatever its conditions say. Of KubeVirt's machines that field tells the form of the one that runs, which
    stays until it is restarted; what the controller has seen is ``desiredGeneration`` (``api/core/v1/types.go``,
    ``VirtualMachineStatus``).
    """
    if found is None:
        return [f"{expected}: does not exist"]
    status: Object = found.get("status") or {}
    lacks = []
    seen, newest = (
        status.get("desiredGeneration", status.get("observedGeneration")),
        found.get("metadata", {}).get("generation"),
    )
    if seen is not None and newest is not None and seen < newest:
        lacks.append(f"its controller has seen generation {seen} of {newest}")
    for name, value in expected.status.items():
        if status.get(name) != value:
            lacks.append(f"{name} is {status.get(name) or 'not set'}, expected {value}")
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or ()}
    for name, value in expected.conditions.items():
        condition = conditions.get(name)
        if condition is None:
            lacks.append(f"condition {name} is not set, expected {value}")
        elif condition.get("status") != value:
            why = condition.get("message") or condition.get("reason") or "no reason given"
            lacks.append(f"condition {name} is {condition.get('status')}, expected {value} ({why})")
    if expected.rollout and (lack := unfinished(found)):
        lacks.append(f"{lack}, and those of before answer as long")
    return [f"{expected}: {'; '.join(lacks)}"] if lacks else []


def addon_name(path: str) -> str:
    """Return the name of a manifest's Addon in k3s: all before the first dot (pkg/deploy/controller.go)."""
    return path.rpartition("/")[2].partition(".")[0]


def unapplied(path: str, checksum: str, addon: Object | None, events: Sequence[Object]) -> list[str]:
    """Return why a file of k3s's manifests folder is not applied yet, or nothing when it is.

    Args:
        path: of the file.
        checksum: SHA-256 of its bytes in hexadecimal; k3s notes it in the Addon once all of the file was taken.
        addon: what the cluster has under ``addon_name(path)``.
        events: those of the namespace ``kube-system``.
    """
    if addon is not None and (addon.get("spec") or {}).get("checksum") == checksum:
        return []
    warnings = [
        event
        for event in events
        if event.get("type") == "Warning"
        and event.get("involvedObject", {}).get("kind") == "Addon"
        and event.get("involvedObject", {}).get("name") == addon_name(path)
    ]
    if not warnings:
        return [f"{path}: k3s has not applied it yet"]
    newest = max(warnings, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return [f"{path}: k3s cannot apply it: {newest.get('message')}"]


def unready_pods(
    pods: Sequence[Object], owners: Sequence[Object] = (), nodes: Sequence[Object] | None = None
) -> list[str]:
    """Return why pods do not run, a sentence each, and why there are none.

    Args:
        pods: of the namespaces concerned.
        owners: their ReplicaSets and Deployments: one that may not make pods says why in its conditions.
        nodes: all of the cluster, if they are known: what none of them has is told of a pod that no node takes.
    """
    told = [text for pod in pods if (text := _trouble(pod, nodes))]
    for owner in owners:
        told += [
            f"{_where(owner)}: its pods cannot be made: {condition.get('message')}"
            for condition in (owner.get("status") or {}).get("conditions") or ()
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True"
        ]
    told = list(dict.fromkeys(told))
    return told if len(told) <= _SHOWN else [*told[:_SHOWN], f"and {len(told) - _SHOWN} more"]


def _where(found: Object) -> str:
    metadata = found.get("metadata", {})
    return f"{metadata.get('namespace')}/{metadata.get('name')}"


def _trouble(pod: Object, nodes: Sequence[Object] | None) -> str:
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return ""
    states = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    images = {
        container.get("name"): container.get("image")
        for kind in ("initContainers", "containers")
        for container in (pod.get("spec") or {}).get(kind) or ()
    }
    reasons = [reason for state in states if (reason := _waits(state, images.get(state.get("name"))))]
    if not reasons and not states:
        scheduled = [each for each in status.get("conditions") or () if each.get("type") == "PodScheduled"]
        reasons = [
            str(each.get("message") or "no node takes it") for each in scheduled if each.get("status") == "False"
        ]
        reasons += _missing_labels(pod, nodes) if reasons and nodes is not None else []
        reasons = reasons or ["its containers have not been made yet"]
    return f"pod {_where(pod)}: {'; '.join(reasons)}" if reasons else ""


def _missing_labels(pod: Object, nodes: Sequence[Object]) -> list[str]:
    """Return which labels a pod's node must have that no node has, and what nodes have in their place.

    The scheduler says only that no node matches. KubeVirt has a label for each processor model that a node's
    virtualization gives (``cpu-model.node.kubevirt.io/<model>``), and so for machine types and features.
    """
    labels: list[Object] = [node.get("metadata", {}).get("labels") or {} for node in nodes]
    told = []
    for name, value in ((pod.get("spec") or {}).get("nodeSelector") or {}).items():
        if any(of_node.get(name) == value for of_node in labels):
            continue
        prefix = name.rpartition("/")[0] + "/"
        others = sorted(
            {other.removeprefix(prefix) for of_node in labels for other in of_node if other.startswith(prefix)}
        )
        has = f" (there are {', '.join(others)})" if prefix != "/" and others else ""
        told.append(f"no node has the label {name}={value}{has}")
    return told


def _waits(state: Object, image: str | None) -> str:
    """Return why a container does not run, or nothing when it does or has done its work."""
    now = state.get("state") or {}
    waiting, ended = now.get("waiting"), now.get("terminated")
    before = (state.get("lastState") or {}).get("terminated")
    if waiting is not None:
        message = f" ({waiting['message']})" if waiting.get("message") else ""
        last = f"; {_end(before)}" if before is not None and before.get("exitCode") else ""
        return f"container {state.get('name')} of image {image} waits: {waiting.get('reason')}{message}{last}"
    if ended is not None and ended.get("exitCode"):
        return f"container {state.get('name')} {_end(ended)}"
    if ended is None and not state.get("ready") and "running" in now:
        last = f"; before, it {_end(before)}" if before is not None and before.get("exitCode") else ""
        if last or state.get("started", True):
            return f"container {state.get('name')} runs, and is not ready{last}"
    return ""


def _end(ended: Object) -> str:
    """Return how a container ended, with what it left to say (``terminationMessagePolicy``)."""
    said = " ".join(str(ended.get("message") or "").split())
    return f"ended with exit code {ended['exitCode']}" + (f": {said}" if said else "")

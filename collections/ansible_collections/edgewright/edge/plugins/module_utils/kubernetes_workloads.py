"""What workloads of a site have in common on Kubernetes: their namespace, files, labels, priorities and nodes.

Kubernetes has no order in which workloads start: files have the start order in their names, so that k3s hands workloads
to the cluster in that order (pkg/deploy/controller.go applies a folder's files sorted by name), and nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_platform import namespace_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem

NAMESPACE: Final = "edgewright"
SITE_LABEL: Final = "edgewright.site"
WORKLOAD_LABEL: Final = "edgewright.workload"
HOSTNAME_LABEL: Final = "kubernetes.io/hostname"
NAMESPACE_FILE: Final = "edgewright-workloads-0-namespace.yaml"
"""Sorts before the files of workloads, whose start order has six digits."""
INFERENCE_SERVICE: Final = "inference-service"
VIRTUAL_MACHINE: Final = "virtual-machine"


class Workload(Protocol):
    """What both kinds of workloads have."""

    @property
    def name(self) -> str:
        """Name, unique on the site."""

    @property
    def start_order(self) -> int:
        """Lower starts earlier."""

    @property
    def priority(self) -> int:
        """0 to 100; the highest is shed last."""


AnyWorkload = TypeVar("AnyWorkload", bound=Workload)


def file_name(workload: Workload, kind: str) -> str:
    """Return the name of a workload's file in k3s's manifests folder."""
    return f"edgewright-workloads-{workload.start_order:06d}-{kind}-{workload.name}.yaml"


def labels(workload: Workload, kind: str, *, site: str) -> dict[str, str]:
    """Return the labels of each of a workload's objects; those that are no longer declared are found by them."""
    return {
        "app.kubernetes.io/name": workload.name,
        "app.kubernetes.io/managed-by": "edgewright",
        SITE_LABEL: site,
        WORKLOAD_LABEL: kind,
    }


def namespace() -> dict[str, Any]:
    """Render the namespace of all workloads.

    Pod security lets its pods be: models and disks are folders of the node, ports are the node's, and a virtual
    machine's pod has rights of its own. Inference services restrict themselves.
    """
    return namespace_object(NAMESPACE)


def priority_class(workload: Workload, kind: str, *, site: str) -> dict[str, Any]:
    """Render the workload's own ``PriorityClass``. Its value cannot be changed, so the value is part of the name."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": priority_class_name(workload, kind), "labels": labels(workload, kind, site=site)},
        "value": workload.priority,
        "description": f"Priority of {kind} {workload.name}.",
    }


def priority_class_name(workload: Workload, kind: str) -> str:
    """Return the name of the workload's ``PriorityClass``."""
    return f"edgewright-{kind}-{workload.name}-{workload.priority}"


def on_nodes(nodes: Sequence[str]) -> dict[str, Any]:
    """Render the term by which a pod or a volume is on one of these nodes."""
    return {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": HOSTNAME_LABEL, "operator": "In", "values": list(nodes)}]},
        ]
    }


def declared_once(
    declared: Mapping[str, object],
    *,
    where: str,
    read: Callable[[object], tuple[AnyWorkload, ...]],
    refusals: Callable[[AnyWorkload, str], list[Problem]],
) -> list[tuple[AnyWorkload, tuple[str, ...]]]:
    """Return each workload of a cluster once, with the nodes that declare it, in start order.

    The cluster runs a workload, and runs it once, whatever number of its nodes declares it.

    Args:
        declared: the value of ``where`` by node, nodes in the cluster's order.
        where: variable that the workloads come from.
        read: makes workloads of the variable's value; raises ``EdgeError``.
        refusals: what of a workload does not run on Kubernetes, given its path.

    Raises:
        EdgeError: everything that is wrong in any node's, and workloads of one name that nodes describe differently.
    """
    found: dict[str, tuple[AnyWorkload, list[str]]] = {}
    problems = Problems()
    for node, value in declared.items():
        workloads: tuple[AnyWorkload, ...] = ()
        with problems.collecting():
            workloads = read(value)
        for number, workload in enumerate(workloads):
            problems.found += refusals(workload, f"{where}[{number}]")
            first, nodes = found.setdefault(workload.name, (workload, []))
            if first != workload:
                problems.add(
                    f"{node}: {where}[{number}]",
                    f"describes '{workload.name}' otherwise than {nodes[0]}",
                    expected="the same description on all nodes of a cluster, which runs it once",
                    remedy="Describe it in group_vars, or rename one of them.",
                )
            nodes.append(node)
    # What all nodes have from one file is told once.
    problems.found = list(dict.fromkeys(problems.found))
    problems.raise_if_any()
    ordered = sorted(found.values(), key=lambda entry: entry[0].start_order)
    return [(workload, tuple(nodes)) for workload, nodes in ordered]

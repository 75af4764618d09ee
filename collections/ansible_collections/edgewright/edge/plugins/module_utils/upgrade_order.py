"""Which nodes of a cluster get another k3s, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import upgrade_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def upgrade_order(
    nodes: Iterable[Mapping[str, Any]], target: str, *, servers: Sequence[str], agents: Sequence[str]
) -> list[str]:
    """Return the nodes to take to ``target``: servers first, then agents, each in the inventory's order.

    These are the nodes that run another version, and those that an upgrade which was stopped has left drained.

    An API server may be newer than a kubelet, never older (Kubernetes' version skew policy), so no agent may come
    before a server.

    Args:
        nodes: as ``cluster_health_info`` returns them, with ``name``, ``version`` and ``drained``.
        target: version of k3s.
        servers: names of the inventory's servers.
        agents: names of its agents.

    Raises:
        EdgeError: a node is in the cluster but not in the inventory, or its step would go down or over a minor
            version; says all of it.
    """
    problems, listed = Problems(), list(nodes)
    versions = {str(node["name"]): str(node["version"]) for node in listed}
    drained = {str(node["name"]) for node in listed if node.get("drained")}
    order = [*servers, *agents]
    for name, version in sorted(versions.items()):
        if name not in order:
            problems.add(
                name,
                "is a node of the cluster, but not of the inventory",
                remedy="Add it to 'k3s_server' or 'k3s_agent', or remove it from the cluster (reset.yml).",
            )
        else:
            with problems.collecting():
                upgrade_path(version, target, where=f"{name}: edge_kubernetes.k3s")
    problems.raise_if_any()
    return [name for name in order if name in drained or versions.get(name, target) != target]

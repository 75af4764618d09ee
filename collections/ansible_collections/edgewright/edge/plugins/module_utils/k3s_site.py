"""A site's k3s cluster across its hosts: groups, addresses, and what all nodes must agree on.

Where the role ``k3s`` renders a node's files from the same variables, this tells before anything is built or changed
what it would refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.disk_volume import LOCAL
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_node import Node
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_options import differences
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Cluster
from ansible_collections.edgewright.edge.plugins.module_utils.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVERS: Final = "k3s_server"
AGENTS: Final = "k3s_agent"
# Variables of the role that say something of the whole cluster.
_CLUSTER: Final = (
    "k3s__api_endpoint",
    "k3s__cis_profile",
    "k3s__cluster_cidrs",
    "k3s__embedded_registry",
    "k3s__secrets_encryption",
    "k3s__service_cidrs",
)
_NODE: Final = (
    "api_endpoint",
    "cis_profile",
    "cluster_cidrs",
    "config",
    "default_route",
    "embedded_registry",
    "exempt_namespaces",
    "kubelet",
    "node_ips",
    "node_labels",
    "node_taints",
    "registries",
    "secrets_encryption",
    "service_cidrs",
)


def check_cluster(
    hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]] | None = None
) -> list[Problem]:
    """Return what is wrong between the hosts of a site with the runtime k3s; ``where`` is ``<host>: <key path>``.

    Args:
        hosts: variables of each host.
        groups: hosts of each inventory group in inventory order; without them nothing can be said.
    """
    problems = Problems()
    runs = [host for host, variables in hosts.items() if variables.get("edge_runtime") == "k3s"]
    if not runs or groups is None:
        return []
    servers, agents = ([host for host in groups.get(group, ()) if host in hosts] for group in (SERVERS, AGENTS))
    members = [*servers, *agents]
    for host in runs:
        if host not in members:
            problems.add(
                f"{host}: edge_runtime",
                "is k3s, but the host is no node of the cluster",
                found="no group of k3s",
                expected=f"the group {SERVERS} or {AGENTS}",
                remedy=f"Put '{host}' into one of them in the inventory's hosts file.",
            )
    try:
        cluster = Cluster.from_groups(servers, agents)
    except EdgeError as error:
        first = members[0]
        return [*problems.found, *(replace(problem, where=f"{first}: {problem.where}") for problem in error.problems)]
    for name in _CLUSTER:
        _same(hosts, list(cluster.nodes), name, problems)
    _stranded(hosts, list(cluster.nodes), problems)
    return [*problems.found, *_nodes(hosts, cluster)]


def _nodes(hosts: Mapping[str, Mapping[str, Any]], cluster: Cluster) -> list[Problem]:
    """Return what is wrong in the nodes themselves, each read as the role reads it."""
    found: list[Problem] = []
    configs = {}
    networks = {host: _network(hosts[host].get("edge_network")) for host in cluster.nodes}
    for host in cluster.nodes:
        role = "server" if host in cluster.servers else "agent"
        node = {
            "name": host,
            "role": role,
            "servers": list(cluster.servers),
            "agents": list(cluster.agents),
            "networks": networks,
            # A vault or the medium's seed may bring it later.
            "token": len(cluster.nodes) > 1,
            **{key: value for key in _NODE if (value := hosts[host].get(f"k3s__{key}")) is not None},
        }
        try:
            read = Node.from_role(node)
        except EdgeError as error:
            found += [replace(problem, where=f"{host}: {problem.where}") for problem in error.problems]
            continue
        if role == "server":
            configs[host] = read.config
    return found + differences(configs)


def _stranded(hosts: Mapping[str, Mapping[str, Any]], nodes: Sequence[str], problems: Problems) -> None:
    """Refuse a virtual machine that would wait for ever: on a node without KVM, where others have it.

    KubeVirt emulates all machines of a cluster or none. A machine with a disk that is a file of a node runs on the
    first node that declares it, others on any that does.
    """
    emulating = [host for host in nodes if hosts[host].get("edge_virtualization") == "emulation"]
    if len(emulating) == len(nodes):
        return
    declared: dict[str, list[tuple[str, int, Any]]] = {}
    for host in nodes:
        machines = hosts[host].get("edge_virtual_machines")
        for number, machine in enumerate(machines if isinstance(machines, list) else ()):
            if isinstance(machine, Mapping) and isinstance(machine.get("name"), str):
                declared.setdefault(machine["name"], []).append((host, number, machine.get("disks")))
    for name, places in declared.items():
        host, number, disks = places[0]
        able = places[:1] if _local(disks) else places
        if all(place in emulating for place, _, _ in able):
            problems.add(
                f"{host}: edge_virtual_machines[{number}]",
                f"'{name}' could not start there",
                found="edge_virtualization 'emulation', and 'kvm' on other nodes",
                expected="a node with 'kvm'; a cluster emulates only where all its nodes do",
                remedy="Declare it on a node with 'kvm', or set 'edge_virtualization: emulation' for all of them.",
            )


def _local(disks: object) -> bool:
    """Tell whether some disk is a file of a node; what cannot be read is for its host's own check to tell."""
    return not isinstance(disks, list) or any(
        not isinstance(disk, Mapping) or disk.get("volume", LOCAL) == LOCAL for disk in disks
    )


def _network(data: object) -> object:
    """Return an ``edge_network`` that can be read; what is wrong in another is for its host's own check to tell."""
    try:
        Network.from_inventory(data or {}, where="")
    except EdgeError:
        return {}
    return data or {}


def _same(hosts: Mapping[str, Mapping[str, Any]], of: Sequence[str], name: str, problems: Problems) -> None:
    """Refuse a variable of the site or the cluster that differs between hosts; values are not shown."""
    for host in of[1:]:
        if (hosts[host].get(name) or None) != (hosts[of[0]].get(name) or None):
            problems.add(
                f"{host}: {name}",
                "differs between hosts of one cluster",
                expected=f"the value that {of[0]} has",
                remedy="Set it in group_vars/all.yml only.",
            )

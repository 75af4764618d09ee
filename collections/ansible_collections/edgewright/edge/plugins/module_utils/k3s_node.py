"""One node of a k3s cluster, as the role ``k3s`` describes it to what renders its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, boolean, choice, text
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_addressing import KEYS as ADDRESSING_KEYS
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_addressing import Addressing
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_labels import labels, taint
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_options import ROLES, read_config
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_registries import read_registries
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_unit import PROGRAM
from ansible_collections.edgewright.edge.plugins.module_utils.kubelet_config import KubeletSettings
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Cluster
from ansible_collections.edgewright.edge.plugins.module_utils.names import label

KEYS: Final = (
    *ADDRESSING_KEYS,
    "role",
    "servers",
    "agents",
    "token",
    "config",
    "registries",
    "loopback_registries",
    "embedded_registry",
    "kubelet",
    "secrets_encryption",
    "cis_profile",
    "exempt_namespaces",
    "node_labels",
    "node_taints",
    "virtual_machines",
    "program",
)


@dataclass(frozen=True)
class Node:
    """A node, checked.

    Attributes:
        name: of the inventory host and of the node.
        role: ``server`` or ``agent``.
        cluster: hosts of the cluster.
        addressing: its addresses and the cluster's.
        token: whether the cluster's token is in a file.
        config: what the user adds to config.yaml.
        registries: content of registries.yaml.
        embedded_registry: whether nodes give each other images.
        kubelet: its settings.
        secrets_encryption: whether secrets are encrypted in the datastore.
        cis_profile: whether the CIS benchmark's settings are made.
        exempt_namespaces: further namespaces whose pods that profile does not restrict.
        labels: of the node, by name.
        taints: of the node.
        virtual_machines: whether virtual machines run on the cluster.
        program: path of k3s on the node.
    """

    name: str
    role: str
    cluster: Cluster
    addressing: Addressing
    token: bool
    config: Mapping[str, Any]
    registries: Mapping[str, Any]
    embedded_registry: bool
    kubelet: KubeletSettings
    secrets_encryption: bool
    cis_profile: bool
    exempt_namespaces: tuple[str, ...]
    labels: Mapping[str, str]
    taints: tuple[str, ...]
    virtual_machines: bool
    program: str = PROGRAM

    @property
    def starts_cluster(self) -> bool:
        """Tell whether it is the server that all others join."""
        return self.name == self.cluster.first_server

    @classmethod
    def from_role(cls, data: object) -> Node:
        """Read what the role hands over: keys as in ``KEYS``; problems name the variables that a user sets.

        Raises:
            EdgeError: everything that is wrong, in one key or between two.
        """
        fields = Fields(data, where="", known=KEYS)
        fields.raise_if_any()
        given: Mapping[Any, Any] = data if isinstance(data, Mapping) else {}
        name, role = fields.read("name", label), fields.read("role", choice(*ROLES))
        fields.raise_if_any()
        collect = fields.problems.collecting
        cluster = config = addressing = registries = kubelet = node_labels = None
        with collect():
            cluster = Cluster.from_groups(given.get("servers") or (), given.get("agents") or ())
            _check_place(name, role, cluster)
        with collect():
            config = read_config(given.get("config"), role)
        with collect():
            if cluster is not None and cluster.servers:
                port = (config or {}).get("https-listen-port", 6443)
                addressing = Addressing.from_role(given, cluster, api_port=port)
        embedded = fields.read("embedded_registry", boolean, default=False)
        with collect():
            loopback = given.get("loopback_registries") or ()
            registries = read_registries(given.get("registries"), loopback=loopback, embedded=embedded is True)
        with collect():
            kubelet = KubeletSettings.from_inventory(given.get("kubelet"))
        with collect():
            node_labels = labels(given.get("node_labels"), where="k3s__node_labels")
        users = Fields(
            {f"k3s__{key}": given.get(key) for key in ("node_taints", "exempt_namespaces")},
            where="",
            known=("k3s__node_taints", "k3s__exempt_namespaces"),
        )
        taints, exempt = users.read_list("k3s__node_taints", taint), users.read_list("k3s__exempt_namespaces", label)
        fields.problems.found += users.problems.found
        token = fields.read("token", boolean, default=False)
        if cluster is not None and len(cluster.nodes) > 1 and token is False:
            fields.problems.add(
                "k3s__token", "is missing: nodes join by it", remedy="Set 'k3s__token', the same for all nodes."
            )
        if cluster is not None and addressing is not None:
            _check_route(cluster, addressing, config or {}, fields.problems)
        encryption = fields.read("secrets_encryption", boolean, default=True)
        cis = fields.read("cis_profile", boolean, default=False)
        machines = fields.read("virtual_machines", boolean, default=False)
        program = fields.read("program", text, default=PROGRAM)
        fields.raise_if_any()
        if cluster is None or addressing is None or config is None or kubelet is None:
            message = "a check passed over a problem"
            raise AssertionError(message)
        return cls(
            name=name,
            role=role,
            cluster=cluster,
            addressing=addressing,
            token=token,
            config=config,
            registries=registries or {},
            embedded_registry=embedded,
            kubelet=kubelet,
            secrets_encryption=encryption,
            cis_profile=cis,
            exempt_namespaces=tuple(namespace for _, namespace in exempt),
            labels=node_labels or {},
            taints=tuple(item for _, item in taints),
            virtual_machines=machines,
            program=program,
        )


def _check_place(name: str, role: str, cluster: Cluster) -> None:
    """Refuse a node that is not in the group of its role."""
    problems = Problems()
    group = cluster.servers if role == "server" else cluster.agents
    if name not in group:
        problems.add(
            f"k3s_{role}",
            f"does not have '{name}', which is to be a {role}",
            found=", ".join(group) or "no host",
            remedy=f"Put '{name}' into the group k3s_{role}.",
        )
    problems.raise_if_any()


def _check_route(cluster: Cluster, addressing: Addressing, config: Mapping[str, Any], problems: Problems) -> None:
    """Refuse a cluster whose traffic between nodes would leave by an interface that leads nowhere."""
    lost = len(cluster.nodes) > 1 and not addressing.default_route and addressing.link is None
    if lost and "flannel-iface" not in config:
        problems.add(
            "k3s__config.flannel-iface",
            "is missing: a node without a default route cannot tell which interface leads to the others",
            expected="the name of that interface",
            remedy="Set it, or give the node's fixed address in 'edge_network'.",
        )

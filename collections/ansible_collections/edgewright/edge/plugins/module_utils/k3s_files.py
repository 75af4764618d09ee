"""Every configuration file of a k3s node but the token's, as plain data.

The program, its links, and what is the same on all nodes (helpers, drop-ins of the units) are the role's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils import k3s_cis
from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_addressing import DUMMY_ADDRESSES, DUMMY_GATEWAYS
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_node import Node
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_unit import k3s_unit, unit_name
from ansible_collections.edgewright.edge.plugins.module_utils.kubelet_config import (
    kubelet_configuration,
    logind_settings,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform
from ansible_collections.edgewright.edge.plugins.module_utils.network import network_files
from ansible_collections.edgewright.edge.plugins.module_utils.yaml_text import yaml_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONFIG: Final = "/etc/rancher/k3s/config.yaml"
TOKEN: Final = "/etc/rancher/k3s/token"  # noqa: S105 - a path
REGISTRIES: Final = "/etc/rancher/k3s/registries.yaml"
KUBELET: Final = "/etc/rancher/k3s/kubelet.conf"
RESOLV: Final = "/etc/rancher/k3s/resolv.conf"
# After the kubelet's own 99-kubelet.conf and Ubuntu's unattended-upgrades-logind-maxdelay.conf: the last one wins.
LOGIND: Final = "/etc/systemd/logind.conf.d/zz-edgewright-k3s.conf"
_NETWORK: Final = "/etc/systemd/network"
_DUMMY: Final = f"{_NETWORK}/90-edgewright-dummy0"
_ROUTE: Final = "50-edgewright-k3s.conf"
_IPV6: Final = 6
_TO_THE_WIRE: Final = {4: "Destination=0.0.0.0/0\nScope=link", _IPV6: "Destination=::/0"}

MANAGED: Final = (
    CONFIG,
    REGISTRIES,
    KUBELET,
    RESOLV,
    LOGIND,
    k3s_cis.ADMISSION,
    k3s_cis.AUDIT_POLICY,
    k3s_cis.SYSCTL,
    f"{_DUMMY}.netdev",
    f"{_DUMMY}.network",
    "/etc/systemd/system/k3s.service",
    "/etc/systemd/system/k3s-agent.service",
)
"""Every path that a node may get, but for drop-ins of its ``.network`` files: those not in a list are to be removed."""


_AFFECTS: Final = {"/etc/sysctl.d/": "sysctl", "/etc/systemd/logind.conf.d/": "logind", f"{_NETWORK}/": "network"}


@dataclass(frozen=True)
class K3sFile:
    """One file.

    Attributes:
        path: absolute.
        content: the whole text.
        mode: permissions, as ``0644``.
        secret: whether nobody but root may see it, in a diff or a log neither.
    """

    path: str
    content: str
    mode: str = "0644"
    secret: bool = False


def k3s_files(kubernetes: object, node: object) -> list[dict[str, Any]]:
    """Return the files of a node, sorted by path, each as a mapping: ``K3sFile``'s attributes, and what it ``affects``.

    Args:
        kubernetes: the site's ``edge_kubernetes``.
        node: what the role says of the node, keys as in ``k3s_node.KEYS``.

    Raises:
        EdgeError: everything that is wrong in either.
    """
    problems = Problems()
    platform = described = None
    with problems.collecting():
        platform = Platform.from_inventory(kubernetes)
    with problems.collecting():
        described = Node.from_role(node)
    problems.raise_if_any()
    if platform is None or described is None:
        message = "a check passed over a problem"
        raise AssertionError(message)
    return [
        {**asdict(file), "affects": affects(file.path)}
        for file in sorted(_files(platform, described), key=lambda file: file.path)
    ]


def affects(path: str) -> str:
    """Return what takes notice of a file: ``k3s`` (the service), ``sysctl``, ``logind`` or ``network``."""
    return next((what for folder, what in _AFFECTS.items() if path.startswith(folder)), "k3s")


def directories(files: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the folders that the files need, parents first, each with ``path`` and ``mode``."""
    found: dict[str, str] = {}
    for file in files:
        for parent in PurePosixPath(str(file["path"])).parents:
            path = str(parent)
            if path.count("/") > 1:  # /etc itself is always there
                found[path] = "0700" if path == "/etc/rancher/k3s" else "0755"
        if file["path"] == k3s_cis.AUDIT_POLICY:
            # Nothing of its path is there on a blank node. From the server's own folder on, k3s lets only root in.
            for parent in PurePosixPath(k3s_cis.AUDIT_LOG).parents[:-3]:
                found[str(parent)] = "0700" if "server" in parent.parts else "0755"
    return [{"path": path, "mode": mode} for path, mode in sorted(found.items())]


def absent(files: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the paths that an earlier run may have written and that are not among the files."""
    wanted = {str(file["path"]) for file in files}
    return [path for path in MANAGED if path not in wanted]


def node_config(platform: Platform, node: Node) -> dict[str, Any]:
    """Return what config.yaml says on a node: the role's part, and over it the user's."""
    addressing = node.addressing
    config = _given(
        ("node-name", node.name),
        ("token-file", TOKEN if node.token else None),
        ("server", None if node.starts_cluster else addressing.endpoint),
        ("node-ip", [str(address) for address in addressing.addresses]),
        ("node-label", [f"{name}={value}" for name, value in node.labels.items()]),
        ("node-taint", list(node.taints)),
        # k3s copies the file into its own folder of drop-ins at every start, which is state and no configuration.
        ("kubelet-arg", [f"config={KUBELET}"]),
        # A registry that cannot be reached is asked for every image otherwise, until its name or connection fails.
        ("disable-default-registry-endpoint", bool(node.registries)),
        # Disks that are block devices are opened by programs that are not root.
        ("nonroot-devices", node.virtual_machines or platform.kubevirt is not None),
        ("protect-kernel-defaults", node.cis_profile),
        ("resolv-conf", RESOLV if _needs_resolv(node) else None),
    )
    if node.role == "server":
        config |= _server_config(node)
    for key, value in node.config.items():
        config[key] = _merged(config.get(key, []), value) if isinstance(value, list) else value
    return dict(sorted(config.items()))


def _server_config(node: Node) -> dict[str, Any]:
    addressing = node.addressing
    networks = addressing.cluster_network
    return {"secrets-encryption": node.secrets_encryption} | _given(
        ("write-kubeconfig-mode", "0600"),
        ("cluster-init", node.cluster.datastore == "etcd" and node.starts_cluster),
        ("embedded-registry", node.embedded_registry),
        ("cluster-cidr", [] if addressing.default_cidrs else [str(network) for network in networks.cluster]),
        ("service-cidr", [] if addressing.default_cidrs else [str(network) for network in networks.service]),
        # Pods with private addresses reach nothing outside unless theirs are replaced; IPv4's always are.
        ("flannel-ipv6-masq", any(network.version == _IPV6 and network.is_private for network in networks.cluster)),
        ("tls-san", list(addressing.names)),
        ("kube-apiserver-arg", list(k3s_cis.API_SERVER) if node.cis_profile else []),
        ("kube-controller-manager-arg", list(k3s_cis.CONTROLLER_MANAGER) if node.cis_profile else []),
    )


def _given(*pairs: tuple[str, Any]) -> dict[str, Any]:
    """Return the pairs that say something: false, nothing and an empty list are k3s's defaults."""
    return {key: value for key, value in pairs if value}


def _merged(ours: list[str], theirs: list[str]) -> list[str]:
    """Return our list with the user's after it; an argument that the user sets too is the user's."""
    names = {item.partition("=")[0].lstrip("-") for item in theirs if "=" in item}
    return [item for item in ours if item not in theirs and item.partition("=")[0] not in names] + theirs


def _needs_resolv(node: Node) -> bool:
    addressing = node.addressing
    known = addressing.addresses and not addressing.default_route
    return bool(known) and not addressing.has_dns and "resolv-conf" not in node.config


def _files(platform: Platform, node: Node) -> list[K3sFile]:
    head = "Managed by Edgewright (role k3s)."
    files = [
        K3sFile(CONFIG, yaml_text(node_config(platform, node), head=head), "0600", secret=True),
        K3sFile(KUBELET, yaml_text(kubelet_configuration(node.kubelet, cis=node.cis_profile), head=head)),
        K3sFile(
            f"/etc/systemd/system/{unit_name(node.role)}",
            k3s_unit(
                node.role,
                wait_for_network=not node.addressing.addresses and node.addressing.default_route,
                program=node.program,
            ),
        ),
        *_network(node),
    ]
    if node.registries:
        files.append(K3sFile(REGISTRIES, yaml_text(node.registries, head=head), "0600", secret=True))
    if logind := logind_settings(node.kubelet):
        files.append(K3sFile(LOGIND, logind))
    if _needs_resolv(node):
        # Nobody answers there, and the refusal comes at once. Without this, k3s gives pods a public resolver and each
        # name takes its time to fail.
        content = f"# No name server is known.\nnameserver {node.addressing.addresses[0]}\n"
        files.append(K3sFile(RESOLV, content))
    if node.cis_profile:
        files.append(K3sFile(k3s_cis.SYSCTL, k3s_cis.SYSCTL_SETTINGS))
        if node.role == "server":
            exempt = {"kube-system", *node.exempt_namespaces}
            exempt |= {"kubevirt"} if platform.kubevirt else set()
            exempt |= {"cdi"} if platform.cdi else set()
            files.append(K3sFile(k3s_cis.ADMISSION, k3s_cis.admission(exempt), "0600"))
            files.append(K3sFile(k3s_cis.AUDIT_POLICY, k3s_cis.audit_policy(), "0600"))
    return files


def _network(node: Node) -> list[K3sFile]:
    """Return what gives a node without a gateway a default route, which k3s and flannel insist on.

    It is one of each family of addresses. A single node has it on a dummy interface. Flannel of a cluster takes the
    route's interface for its own, so there it is the one that the node's address is on, and the route leads to whoever
    is on that wire.
    """
    addressing = node.addressing
    if addressing.default_route:
        return []
    metric = "Metric=65535"  # whatever route comes later wins
    if len(node.cluster.nodes) > 1 and addressing.link is not None:
        number, _ = addressing.link
        routes = [f"[Route]\n{_TO_THE_WIRE[address.version]}\n{metric}\n" for address in addressing.addresses]
        name = list(network_files(addressing.network))[number]
        return [K3sFile(f"{_NETWORK}/{name}.d/{_ROUTE}", "\n".join(routes))]
    families = addressing.cluster_network.families
    addresses = "".join(f"Address={DUMMY_ADDRESSES[family]}\n" for family in families)
    sections = (
        "[Match]\nName=dummy0\n",
        "[Link]\nRequiredForOnline=no\n",
        f"[Network]\n{addresses}",
        *(f"[Route]\nGateway={DUMMY_GATEWAYS[family]}\n{metric}\n" for family in families),
    )
    return [
        K3sFile(f"{_DUMMY}.netdev", "[NetDev]\nName=dummy0\nKind=dummy\n"),
        K3sFile(f"{_DUMMY}.network", "\n".join(sections)),
    ]

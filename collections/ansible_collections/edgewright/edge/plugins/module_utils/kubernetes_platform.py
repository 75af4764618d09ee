"""A site's Kubernetes: which releases, which hosts, which addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import (
    FileSource,
    UrlSource,
    parse_source,
)
from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, Parser, UnfitError, text
from ansible_collections.edgewright.edge.plugins.module_utils.image_name import image_name
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import (
    TESTED,
    Release,
    cdi_version,
    k3s_version,
    kubevirt_version,
    refusals,
    release_of,
)

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_CLUSTER_CIDR: Final = ipaddress.ip_network("10.42.0.0/16")
DEFAULT_SERVICE_CIDR: Final = ipaddress.ip_network("10.43.0.0/16")
_MOST_SERVERS: Final = 5
# Shortest and longest prefix. A node gets a /24 or /64 of the pods' addresses, and Kubernetes hands out at most 2^16 of
# those; services may have 2^20 addresses at most, and need the tenth for DNS.
_CLUSTER_PREFIXES: Final = {4: (8, 24), 6: (48, 64)}
_SERVICE_PREFIXES: Final = {4: (12, 28), 6: (108, 124)}


@dataclass(frozen=True)
class Platform:
    """What ``edge_kubernetes`` says.

    Attributes:
        k3s: version of k3s.
        kubevirt: version of KubeVirt, or ``None``.
        cdi: version of CDI, or ``None``.
        manifests: sources (``file:`` or URL) of manifests that k3s applies.
        images: full names of images that no manifest names.
    """

    k3s: str = TESTED[0].k3s
    kubevirt: str | None = TESTED[0].kubevirt
    cdi: str | None = None
    manifests: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    @classmethod
    def from_inventory(cls, data: object, *, where: str = "edge_kubernetes") -> Platform:
        """Read ``edge_kubernetes``; nothing at all is the newest tested tuple without CDI.

        Raises:
            EdgeError: everything that is wrong in it, versions that do not go together included.
        """
        fields = Fields(
            {} if data is None else data, where=where, known=("k3s", "kubevirt", "cdi", "manifests", "images")
        )
        k3s = fields.read("k3s", k3s_version, default=TESTED[0].k3s)
        kubevirt = fields.read("kubevirt", kubevirt_version, optional=True)
        cdi = fields.read("cdi", cdi_version, optional=True)
        manifests = fields.read_list("manifests", _manifest)
        images = fields.read_list("images", image_name)
        fields.no_duplicates(manifests, "the manifest")
        fields.no_duplicates(images, "the image")
        names = {manifest_name(source): path for path, source in reversed(manifests)}
        for path, source in manifests:
            if names[manifest_name(source)] != path:
                fields.problems.add(path, "has the file name of another manifest", found=repr(source))
        fields.raise_if_any()
        if kubevirt is None and not (isinstance(data, Mapping) and "kubevirt" in data):
            kubevirt = release_of(k3s).kubevirt
        for reason in refusals(k3s, kubevirt, cdi):
            fields.problems.add(
                where,
                f"versions do not go together: {reason}",
                found=str(Release(k3s, kubevirt, cdi)),
                expected=f"{TESTED[0]}, or another tested combination",
                remedy="See docs/inventory.md#kubernetes for the combinations that are tested.",
            )
        fields.raise_if_any()
        return cls(k3s, kubevirt, cdi, tuple(source for _, source in manifests), tuple(name for _, name in images))

    @property
    def release(self) -> Release:
        """Return its versions."""
        return Release(self.k3s, self.kubevirt, self.cdi)


@dataclass(frozen=True)
class Cluster:
    """The hosts of the groups ``k3s_server`` and ``k3s_agent``, in inventory order; none is a site without k3s."""

    servers: tuple[str, ...]
    agents: tuple[str, ...] = ()

    @classmethod
    def from_groups(cls, servers: Iterable[str], agents: Iterable[str] = ()) -> Cluster:
        """Read the hosts of both groups.

        Raises:
            EdgeError: a number of servers that cannot agree, agents without a server, a host in both groups.
        """
        cluster = cls(tuple(servers), tuple(agents))
        problems = Problems()
        count = len(cluster.servers)
        if not count and cluster.agents:
            problems.add(
                "k3s_agent",
                "has hosts, but k3s_server has none",
                found=", ".join(cluster.agents),
                remedy="Put the host that starts the cluster into the group k3s_server.",
            )
        if count and count % 2 == 0:
            problems.add(
                "k3s_server",
                "etcd goes on only with more than half of its members: "
                f"{count} servers survive no more failures than {count - 1}, and fail more often",
                found=f"{count} servers ({', '.join(cluster.servers)})",
                expected="1, 3 or 5",
                remedy=f"Move {cluster.servers[-1]} to the group k3s_agent.",
            )
        if count > _MOST_SERVERS and count % 2:
            problems.add(
                "k3s_server",
                "more than 5 servers make every write slower and the cluster no safer",
                found=f"{count} servers",
                expected="1, 3 or 5",
                remedy="Move the others to the group k3s_agent.",
            )
        for host in cluster.servers:
            if host in cluster.agents:
                problems.add(
                    "k3s_agent",
                    "a server runs an agent itself",
                    found=f"'{host}', also in k3s_server",
                    remedy="Leave the host in one of the groups.",
                )
        problems.raise_if_any()
        return cluster

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return servers, then agents."""
        return self.servers + self.agents

    @property
    def first_server(self) -> str:
        """Return the server that starts the cluster."""
        return self.servers[0]

    @property
    def datastore(self) -> str:
        """Return ``sqlite`` or ``etcd``."""
        return "sqlite" if len(self.servers) == 1 else "etcd"


@dataclass(frozen=True)
class ClusterNetwork:
    """The networks of pods and services: one of each, or two in dual-stack, the first family being the main one."""

    cluster: tuple[IpNetwork, ...] = (DEFAULT_CLUSTER_CIDR,)
    service: tuple[IpNetwork, ...] = (DEFAULT_SERVICE_CIDR,)

    @classmethod
    def from_inventory(
        cls,
        cluster: object,
        service: object,
        *,
        taken: Iterable[tuple[str, IpNetwork]] = (),
        where: tuple[str, str] = ("k3s__cluster_cidrs", "k3s__service_cidrs"),
    ) -> ClusterNetwork:
        """Read both lists; an empty one means k3s's default.

        Args:
            cluster: networks of pods.
            service: networks of services.
            taken: (whose, network) of what the nodes are in.
            where: names of both variables.

        Raises:
            EdgeError: a malformed network, one of a size that Kubernetes refuses, families that differ, an overlap.
        """
        fields = Fields({where[0]: cluster, where[1]: service}, where="", known=where)
        pods = fields.read_list(where[0], _cidr(_CLUSTER_PREFIXES))
        services = fields.read_list(where[1], _cidr(_SERVICE_PREFIXES))
        fields.raise_if_any()
        pods = pods or [(f"{where[0]} (k3s's default)", DEFAULT_CLUSTER_CIDR)]
        services = services or [(f"{where[1]} (k3s's default)", DEFAULT_SERVICE_CIDR)]
        _check_families(pods, services, where, fields.problems)
        known = list(taken)
        for path, network in (*pods, *services):
            for whose, other in known:
                if network.version == other.version and network.overlaps(other):
                    fields.problems.add(
                        path, "overlaps another network", found=str(network), expected=f"nothing of {other} ({whose})"
                    )
            known.append((path, network))
        fields.raise_if_any()
        return cls(tuple(network for _, network in pods), tuple(network for _, network in services))

    @property
    def families(self) -> tuple[int, ...]:
        """Return IP versions, the main one first."""
        return tuple(network.version for network in self.cluster)


def manifest_name(source: str) -> str:
    """Return the file name that a manifest has in k3s's folder: ``file:manifests/a.yml`` is ``a.yml``."""
    return source.removeprefix("file:").rpartition("/")[2]


def _check_families(
    pods: Sequence[tuple[str, IpNetwork]],
    services: Sequence[tuple[str, IpNetwork]],
    where: tuple[str, str],
    problems: Problems,
) -> None:
    for name, networks in zip(where, (pods, services), strict=True):
        versions = [network.version for _, network in networks]
        if len(versions) > len(set(versions)):
            problems.add(
                name,
                "may have one network a family",
                found=", ".join(str(network) for _, network in networks),
                expected="one IPv4 network, one IPv6 network, or one of each",
            )
            return
    of_pods, of_services = ([network.version for _, network in networks] for networks in (pods, services))
    if of_pods != of_services:
        problems.add(
            where[1],
            "has other families than the pods, or in another order",
            found=", ".join(f"IPv{version}" for version in of_services),
            expected=", ".join(f"IPv{version}" for version in of_pods),
            remedy=f"Give '{where[0]}' and '{where[1]}' the same families in the same order.",
        )


def _manifest(value: object) -> str:
    source = parse_source(value)
    if not isinstance(source, FileSource | UrlSource):
        raise UnfitError("is no manifest", expected="file:<path in the inventory> or a URL")
    name = manifest_name(str(source))
    stem, _, extension = name.rpartition(".")
    # k3s names an object after the file, and objects have RFC 1123 names.
    if extension not in {"yaml", "yml", "json"}:
        raise UnfitError("is no manifest", expected="a file that ends in .yaml, .yml or .json")
    if not stem or not all(char.isascii() and (char.isdigit() or char.islower() or char in ".-") for char in stem):
        raise UnfitError(
            "has a name that k3s passes over",
            expected="a file name of a-z, 0-9, '-' and '.'",
            remedy=f"Rename it to '{name.lower().replace('_', '-')}'.",
        )
    return str(source)


def _cidr(prefixes: Mapping[int, tuple[int, int]]) -> Parser[IpNetwork]:
    """Return a parser of networks with a prefix between bounds for each family."""

    def parse(value: object) -> IpNetwork:
        expected = "a network with its prefix length, as 10.42.0.0/16"
        written = text(value)
        try:
            network = ipaddress.ip_network(written)
        except ValueError as error:
            raise UnfitError(f"is no network ({error})", expected=expected) from None
        shortest, longest = prefixes[network.version]
        if "/" not in written or not shortest <= network.prefixlen <= longest:
            raise UnfitError(
                "has a size that Kubernetes does not take", expected=f"a prefix of /{shortest} to /{longest}"
            )
        return network

    return parse

"""Which addresses the nodes of a cluster have, from what is known of their interfaces."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, UnfitError, boolean, text
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Cluster, ClusterNetwork
from ansible_collections.edgewright.edge.plugins.module_utils.network import Address, Link, Network

DUMMY_ADDRESSES: Final = {4: ip_interface("203.0.113.254/31"), 6: ip_interface("2001:db8:edfe::fe/127")}
"""By family, what the default route of a single node without a gateway is on.

IPv4's is that of k3s's documentation (air-gap install), which says nothing of IPv6; that one's is of RFC 3849.
"""
DUMMY_GATEWAYS: Final = {4: "203.0.113.255", 6: "2001:db8:edfe::ff"}
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_API_PORT: Final = 6443

KEYS: Final = ("name", "networks", "node_ips", "api_endpoint", "cluster_cidrs", "service_cidrs", "default_route")


@dataclass(frozen=True)
class Addressing:
    """Where a node is, and where its cluster is.

    Attributes:
        network: the node's interfaces; none if they are not known.
        addresses: what it is reached at in the cluster, the main family first; none if k3s has to find out.
        endpoint: URL that nodes join at.
        names: names and addresses that the API is asked by and that are no node's own.
        cluster_network: networks of pods and services.
        default_cidrs: whether those are k3s's own choice.
        default_route: whether the node has one.
    """

    network: Network
    addresses: tuple[Address, ...]
    endpoint: str
    names: tuple[str, ...]
    cluster_network: ClusterNetwork
    default_cidrs: bool
    default_route: bool

    @property
    def link(self) -> tuple[int, Link] | None:
        """Return number and interface that its first address is on, if they are known."""
        return next(
            (
                (number, link)
                for number, link in enumerate(self.network.links)
                if any(address.ip in self.addresses[:1] for address in link.addresses)
            ),
            None,
        )

    @property
    def has_dns(self) -> bool:
        """Tell whether a name server is known, or may come with the address."""
        return any(link.dns or link.dhcp for link in self.network.links)

    @classmethod
    def from_role(cls, data: Mapping[Any, Any], cluster: Cluster, *, api_port: int = _API_PORT) -> Addressing:
        """Read the keys ``KEYS`` of what the role hands over.

        Args:
            data: the mapping; other keys in it are not looked at.
            cluster: the hosts.
            api_port: port that the servers listen on.

        Raises:
            EdgeError: everything that is wrong; problems name the variables that a user sets.
        """
        fields = Fields({key: value for key, value in data.items() if key in KEYS}, where="", known=KEYS)
        networks = _networks(data.get("networks"), fields.problems)
        own = networks.get(str(data.get("name")), Network())
        cidrs = ClusterNetwork()
        with fields.problems.collecting():
            cidrs = ClusterNetwork.from_inventory(
                data.get("cluster_cidrs"), data.get("service_cidrs"), taken=_taken(networks)
            )
        given = _list(data.get("node_ips"), "k3s__node_ips", _address, fields.problems)
        addresses = tuple(given) or _fixed(own, cidrs.families)
        if given and tuple(address.version for address in given) != cidrs.families[: len(given)]:
            fields.problems.add(
                "k3s__node_ips",
                "has other families than the pods, or in another order",
                found=", ".join(map(str, given)),
                expected=", ".join(f"an IPv{version} address" for version in cidrs.families),
            )
        route = fields.read("default_route", boolean, optional=True)
        if route is None:
            route = not own.links or any(link.dhcp or link.gateway is not None for link in own.links)
        first = _fixed(networks.get(cluster.first_server, Network()), cidrs.families)
        host, port = str(first[0]) if first else cluster.first_server, api_port
        names: tuple[str, ...] = ()
        if data.get("api_endpoint"):
            with fields.problems.collecting():
                host, port = _endpoint(data["api_endpoint"], api_port)
                names = (host,)
        fields.raise_if_any()
        bracketed = f"[{host}]" if ":" in host else host
        default = not data.get("cluster_cidrs") and not data.get("service_cidrs")
        return cls(own, addresses, f"https://{bracketed}:{port}", names, cidrs, default, route)


def _networks(data: object, problems: Problems) -> dict[str, Network]:
    """Read the network of each host; a broken one of another host is for that host's own check to tell."""
    read = {}
    for host, network in data.items() if isinstance(data, Mapping) else ():
        try:
            read[str(host)] = Network.from_inventory(network or {}, where=f"edge_network of {host}")
        except EdgeError as error:
            problems.extend(error)
    return read


def _taken(networks: Mapping[str, Network]) -> list[tuple[str, Any]]:
    found = [
        (f"edge_network of {host}", address.network)
        for host, network in networks.items()
        for link in network.links
        for address in link.addresses
    ]
    return [*found, *(("of nodes without a gateway", address.network) for address in DUMMY_ADDRESSES.values())]


def _fixed(network: Network, families: tuple[int, ...]) -> tuple[Address, ...]:
    """Return the first fixed address of each family; none unless the main family has one."""
    found: list[Address] = []
    for family in families:
        address = next((a.ip for link in network.links for a in link.addresses if a.version == family), None)
        if address is None and not found:
            return ()
        found += [address] if address is not None else []
    return tuple(found)


def _list(data: object, where: str, parse: Callable[[object], Any], problems: Problems) -> list[Any]:
    fields = Fields({where: data}, where="", known=(where,))
    items = [item for _, item in fields.read_list(where, parse)]
    problems.found += fields.problems.found
    return items


def _address(value: object) -> Address:
    try:
        return ip_address(text(value))
    except ValueError as error:
        if isinstance(error, UnfitError):
            raise
        raise UnfitError("is no IP address", expected="an address without prefix length") from None


def _endpoint(value: object, port: int) -> tuple[str, int]:
    """Return host and port of ``k3s__api_endpoint``."""
    fields = Fields({"k3s__api_endpoint": value}, where="", known=("k3s__api_endpoint",))

    def parse(value: object) -> tuple[str, int]:
        written = str(text(value))
        match = _HOST.fullmatch(f"[{written}]" if written.count(":") > 1 and written[0] != "[" else written)
        if match is None or int(match["port"] or port) > 65535:
            raise UnfitError("is no host", expected="a host name or an address, with :<port> if it is not 6443")
        return match["host"].strip("[]"), int(match["port"] or port)

    read = fields.read("k3s__api_endpoint", parse)
    fields.raise_if_any()
    return read

"""The node's own network as systemd-networkd files (systemd.network(5))."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, UnfitError, boolean, text
from ansible_collections.edgewright.edge.plugins.module_utils.names import label, mac

Interface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_FIRST_NUMBER: Final = 10
_LONGEST_HOST: Final = 253


@dataclass(frozen=True)
class Link:
    """What is known of one network interface of the node.

    Attributes:
        name: of its file, not of the interface.
        mac: MAC address it is found by, or empty.
        pattern: interface name or pattern (``en*``) it is found by, or empty.
        dhcp: whether it asks for an address.
        addresses: fixed addresses with their prefix length.
        gateway: default route, if any.
        dns: name servers.
    """

    name: str
    mac: str = ""
    pattern: str = ""
    dhcp: bool = False
    addresses: tuple[Interface, ...] = ()
    gateway: Address | None = None
    dns: tuple[Address, ...] = ()

    @classmethod
    def from_inventory(cls, data: object, where: str) -> Link:
        """Read one item of ``interfaces``.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=("name", "match", "dhcp", "addresses", "gateway", "dns"))
        name = fields.read("name", label)
        match = fields.build("match", _match)
        dhcp = fields.read("dhcp", boolean, default=False)
        addresses = fields.read_list("addresses", _interface)
        gateway = fields.read("gateway", host_address, optional=True)
        dns = fields.read_list("dns", host_address)
        fields.no_duplicates(((at, str(address.ip)) for at, address in addresses), "the address")
        if not fields.problems.found and not dhcp and not addresses:
            fields.problems.add(where, "has no address", remedy="Set 'dhcp: true' or give 'addresses'.")
        # A gateway that DHCP's network would hold cannot be judged here.
        known_networks = addresses and not dhcp
        if gateway is not None and known_networks and not any(gateway in address.network for _, address in addresses):
            fields.problems.add(
                fields.at("gateway"),
                "is in none of the interface's networks",
                found=str(gateway),
                expected=f"an address in {', '.join(str(address.network) for _, address in addresses)}",
            )
        if gateway is not None and any(gateway == address.ip for _, address in addresses):
            fields.problems.add(fields.at("gateway"), "is the interface's own address", found=str(gateway))
        fields.raise_if_any()
        return cls(
            name=name,
            mac=match.get("mac", ""),
            pattern=match.get("name", ""),
            dhcp=dhcp,
            addresses=tuple(address for _, address in addresses),
            gateway=gateway,
            dns=tuple(server for _, server in dns),
        )


@dataclass(frozen=True)
class Network:
    """The node's interfaces in declared order, and its time servers (host names or addresses)."""

    links: tuple[Link, ...] = ()
    ntp: tuple[str, ...] = ()

    @classmethod
    def from_inventory(cls, data: object, *, where: str) -> Network:
        """Read ``edge_network``.

        Raises:
            EdgeError: everything that is wrong in it, with paths below ``where``.
        """
        fields = Fields(data, where=where, known=("interfaces", "ntp"))
        links = fields.build_list("interfaces", lambda item, at, _: Link.from_inventory(item, at))
        ntp = fields.read_list("ntp", _server)
        fields.no_duplicates(((f"{at}.name", link.name) for at, link in links), "the name")
        fields.no_duplicates(((f"{at}.match", link.mac or link.pattern) for at, link in links), "the match")
        addresses = (
            (f"{at}.addresses[{number}]", str(address.ip))
            for at, link in links
            for number, address in enumerate(link.addresses)
        )
        fields.no_duplicates(addresses, "the address")
        fields.raise_if_any()
        return cls(tuple(link for _, link in links), tuple(server for _, server in ntp))


def network_files(network: Network) -> dict[str, str]:
    """Render a network as ``.network`` files, by file name.

    Names begin with a number, because networkd takes the first file that matches: the interface declared first wins.
    """
    return {
        f"{_FIRST_NUMBER + number:02d}-{link.name}.network": _file(link, network.ntp)
        for number, link in enumerate(network.links)
    }


def _file(link: Link, ntp: tuple[str, ...]) -> str:
    # Neither boot nor workloads may wait for a cable, so a fixed address needs none and stays when it is pulled.
    settings = [f"DHCP={'yes' if link.dhcp else 'no'}"]
    if not link.dhcp:
        has_ipv6 = any(address.version == 6 for address in link.addresses)
        settings += [f"LinkLocalAddressing={'ipv6' if has_ipv6 else 'no'}", "IPv6AcceptRA=no"]
    settings += ["LLMNR=no", "MulticastDNS=no"]
    if link.addresses:
        settings += ["ConfigureWithoutCarrier=yes", "IgnoreCarrierLoss=yes"]
    settings += [f"Address={address}" for address in link.addresses]
    if link.gateway is not None:
        settings.append(f"Gateway={link.gateway}")
    settings += [f"DNS={server}" for server in link.dns]
    settings += [f"NTP={server}" for server in ntp]
    match = f"PermanentMACAddress={link.mac}" if link.mac else f"Name={link.pattern}"
    return f"[Match]\n{match}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\n" + "".join(
        f"{line}\n" for line in settings
    )


def _match(data: object, where: str) -> dict[str, str]:
    fields = Fields(data, where=where, known=("mac", "name"))
    found = {"mac": fields.read("mac", mac, optional=True), "name": fields.read("name", _pattern, optional=True)}
    if not fields.problems.found and len([value for value in found.values() if value]) != 1:
        fields.problems.add(where, "must say how the interface is found", expected="either 'mac' or 'name'")
    fields.raise_if_any()
    return {key: value for key, value in found.items() if value}


def _pattern(value: object) -> str:
    pattern = text(value)
    if re.fullmatch(r"[A-Za-z0-9_.*?\[\]-]{1,64}", pattern, re.ASCII) is None:
        raise UnfitError("is not an interface name", expected="a name as eth0, or a pattern as en*")
    return pattern


def _interface(value: object) -> Interface:
    expected = "an address with its prefix length, as 192.168.10.5/24"
    written = text(value)
    try:
        interface = ipaddress.ip_interface(written)
    except ValueError as error:
        raise UnfitError("is not an address with a prefix length", expected=expected) from error
    if "/" not in written:
        raise UnfitError("has no prefix length", expected=expected)
    _usable(interface.ip)
    network = interface.network
    # The last address of an IPv6 network is an ordinary one: there is no broadcast (RFC 4291).
    whole = {network.network_address} | ({network.broadcast_address} if interface.version == 4 else set())
    if network.num_addresses > 2 and interface.ip in whole:
        raise UnfitError("is the address of a whole network", expected=f"the address of one host in {network}")
    return interface


def host_address(value: object) -> Address:
    """Accept the IP address of a host, without prefix length.

    Raises:
        UnfitError: it is not one, or that of no single host on a network.
    """
    expected = "an IP address without prefix length"
    try:
        address = ipaddress.ip_address(text(value))
    except ValueError as error:
        if isinstance(error, UnfitError):
            raise
        raise UnfitError("is not an IP address", expected=expected) from error
    _usable(address)
    return address


def _usable(address: Address) -> None:
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        raise UnfitError("is not the address of a host on a network", expected="a unicast address")


def _server(value: object) -> str:
    server = text(value)
    try:
        return str(ipaddress.ip_address(server))
    except ValueError:
        labels = server.rstrip(".").split(".")
        if len(server) > _LONGEST_HOST or not all(
            re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", part, re.ASCII) for part in labels
        ):
            raise UnfitError("is not a time server", expected="a host name or an IP address") from None
    return server

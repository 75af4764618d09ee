"""What a machine sent on its link, read from a capture file of QEMU's filter-dump.

File format: draft-ietf-opsawg-pcap; frames are Ethernet II.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_TCP, _UDP = 6, 17
# Ports of services that a machine asks when it looks for a network: DNS, mDNS, LLMNR, DHCP, DHCPv6, NTP.
_SEEKING = {53: "DNS", 5353: "mDNS", 5355: "LLMNR", 67: "DHCP", 547: "DHCPv6", 123: "NTP"}


@dataclass(frozen=True)
class Frame:
    """One frame; what does not apply to its protocol is None."""

    source_mac: str
    ethertype: int
    source: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    destination: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    protocol: int | None = None
    source_port: int | None = None
    destination_port: int | None = None


def frames(file: Path) -> list[Frame]:
    """Read a whole capture; a frame that was cut short at the end, when the machine was killed, is left out."""
    data = file.read_bytes()
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}[data[:4]]
    (link_type,) = struct.unpack_from(order + "I", data, 20)
    assert link_type == 1, "not Ethernet"
    found, position = [], 24
    while position + 16 <= len(data):
        captured, _ = struct.unpack_from(order + "8x2I", data, position)
        frame = data[position + 16 : position + 16 + captured]
        position += 16 + captured
        if len(frame) == captured:
            found.append(_frame(frame))
    return found


def _frame(data: bytes) -> Frame:
    (ethertype,) = struct.unpack_from("!H", data, 12)
    mac, payload = data[6:12].hex(":"), data[14:]
    if ethertype == _ARP:
        return Frame(mac, ethertype, ipaddress.ip_address(payload[14:18]), ipaddress.ip_address(payload[24:28]))
    if ethertype == _IPV4:
        protocol, after = payload[9], (payload[0] & 0xF) * 4
        source, destination = ipaddress.ip_address(payload[12:16]), ipaddress.ip_address(payload[16:20])
    elif ethertype == _IPV6:
        protocol, after = payload[6], 40
        source, destination = ipaddress.ip_address(payload[8:24]), ipaddress.ip_address(payload[24:40])
    else:
        return Frame(mac, ethertype)
    ports = struct.unpack_from("!2H", payload, after) if protocol in (_TCP, _UDP) else (None, None)
    return Frame(mac, ethertype, source, destination, protocol, *ports)


def seeks_outside(frame: Frame, network: ipaddress.IPv4Network) -> str:
    """Say what a frame looks for beyond its own link, or nothing if it stays there."""
    if frame.protocol == _UDP and frame.destination_port in _SEEKING:
        return f"{_SEEKING[frame.destination_port]} query to {frame.destination}"
    if frame.protocol == _TCP and frame.destination_port == 53:
        return f"DNS query to {frame.destination}"
    target = frame.destination
    if target is None:
        return f"a frame of type {frame.ethertype:#06x}"
    if isinstance(target, ipaddress.IPv4Address):
        # 224.0.0.0/24 never leaves the link (RFC 5771, section 4).
        inside = target in network or target in ipaddress.IPv4Network("224.0.0.0/24")
    else:
        # ff02::/16 has link-local scope (RFC 4291, section 2.7).
        inside = target.is_link_local or target in ipaddress.IPv6Network("ff02::/16")
    return "" if inside else f"a packet to {target} (ports {frame.source_port} to {frame.destination_port})"

"""From an inventory host to a virtual machine that the image recognises as that host."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.ingress import HTTP_PORT, HTTPS_PORT

from edgewright.tools.qemu import Forward

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SSH_PORT = 22
STATUS_PORT = 8090  # the default of the base role's base__status_port
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def first_mac(variables: Mapping[str, Any]) -> str | None:
    """Return the hardware address by which the image recognises this host, or None if it goes by something else."""
    for mac in (variables.get("edge_node") or {}).get("mac") or ():
        return str(mac).lower()
    return None


def identity(variables: Mapping[str, Any], key: str) -> str:
    """Return the first ``dmi_serial`` or ``dmi_uuid`` of the host's ``edge_node``, or an empty string."""
    for value in (variables.get("edge_node") or {}).get(key) or ():
        return str(value)
    return ""


def static_address(variables: Mapping[str, Any]) -> tuple[ipaddress.IPv4Interface | None, ipaddress.IPv4Address | None]:
    """Return the host's first static IPv4 address and its gateway; None where nothing static is declared."""
    for interface in (variables.get("edge_network") or {}).get("interfaces") or ():
        for address in interface.get("addresses") or ():
            parsed = ipaddress.ip_interface(address)
            if isinstance(parsed, ipaddress.IPv4Interface):
                gateway = ipaddress.ip_address(interface["gateway"]) if interface.get("gateway") else None
                return parsed, gateway if isinstance(gateway, ipaddress.IPv4Address) else None
    return None, None


def status_port(variables: Mapping[str, Any]) -> int:
    """Return the port of the host's status page."""
    return int(variables.get("base__status_port", STATUS_PORT))


def forwards(variables: Mapping[str, Any], wanted: Sequence[Forward]) -> tuple[Forward, ...]:
    """Return the guest ports to open: SSH, status page, inference services, ingress; ``wanted`` goes before these."""
    ports = [SSH_PORT, status_port(variables)]
    ports += [int(service["port"]) for service in variables.get("edge_inference_services") or () if service.get("port")]
    if variables.get("edge_ingress") is not None:
        ports += [HTTP_PORT, HTTPS_PORT]
    asked = {forward.guest for forward in wanted}
    return (*wanted, *(Forward(0, port) for port in dict.fromkeys(ports) if port not in asked))


def parse_size(text: str, option: str) -> int:
    """Read a size such as ``512MiB``, ``2G`` or ``8GiB`` (powers of 1024) in bytes.

    Raises:
        EdgeError: not a size.
    """
    match = re.fullmatch(r"(\d+)([KMGT]?)(i?B)?", text, re.IGNORECASE)
    if not match or int(match[1]) == 0:
        raise EdgeError(Problem(option, "not a size", repr(text), "a number with a unit, such as 512MiB or 8GiB"))
    return int(match[1]) * _UNITS[match[2].upper()]


def parse_credential(text: str) -> tuple[str, str]:
    """Split ``NAME=FILE``.

    Raises:
        EdgeError: no name or no file.
    """
    name, separator, file = text.partition("=")
    if not (separator and file and re.fullmatch(r"[A-Za-z0-9_.@-]+", name)):
        raise EdgeError(
            Problem(
                "--credential",
                "not a credential",
                repr(text),
                "NAME=FILE",
                "See systemd.system-credentials(7) for names.",
            )
        )
    return name, file

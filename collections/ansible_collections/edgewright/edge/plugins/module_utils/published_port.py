"""A port that podman publishes, closed while its container comes or goes.

podman 5.4 takes hold of the port, with a socket that listens, before its network leads it to the container (prepare in
libpod/container_internal_linux.go: bindPorts, then createNetNS). Nobody reads that socket: a connection of this moment
is accepted, and hears nothing until the container ends. When a container ends, its port leads to an address that is
gone for a moment, and a connection waits in vain too. A closed port refuses connections that are new, so that whoever
asks knows at once and tries again; those that are there go on. A container that is killed, or ends by itself, is gone
before its port can be closed: that moment stays.
"""

from __future__ import annotations

from typing import Final

RULES: Final = "/usr/lib/edgewright/published-ports.nft"
"""The node's file of nftables that has the rules, and the set of ports that are closed."""
_NFT: Final = "-/usr/sbin/nft"  # a kernel without these rules has the service all the same
_TABLE: Final = "inet edgewright-published-ports"


def unit_lines(port: int) -> list[str]:
    """Return what the section ``Service`` of a quadlet has for it.

    It comes before what podman's generator adds of the same key, so a port is closed before its container is stopped.
    """
    element = f"element {_TABLE} closed {{ {port} }}"
    return [
        f"ExecStartPre={_NFT} -f {RULES}",
        f"ExecStartPre={_NFT} add {element}",
        f"ExecStartPost={_NFT} destroy {element}",
        f"ExecStop={_NFT} add {element}",
        f"ExecStopPost={_NFT} destroy {element}",
    ]

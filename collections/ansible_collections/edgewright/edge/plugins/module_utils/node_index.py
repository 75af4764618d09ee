"""The table in which a blank machine looks up which inventory host it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.node_identity import NodeIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping


def index_text(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table: a line ``<kind>TAB<value>TAB<host>`` for each thing a host claims, sorted.

    A shell script in the initrd reads it. Kinds are ``mac``, ``serial`` and ``uuid``, and ``host`` for the host's own
    name, by which it can be named outright; MAC addresses and UUIDs are in lower case, serial numbers without space
    around them. What two hosts claim is on two lines.

    Args:
        hosts: the variables of each host by its name; only ``edge_node`` is read.

    Raises:
        EdgeError: everything that is wrong in any ``edge_node``.
    """
    problems = Problems()
    lines = []
    for host, variables in hosts.items():
        lines.append(f"host\t{host}\t{host}\n")
        declared = variables.get("edge_node")
        with problems.collecting():
            identity = NodeIdentity.from_inventory({} if declared is None else declared, where=f"{host}: edge_node")
            lines += [f"{kind}\t{value}\t{host}\n" for _, kind, value in identity.claims()]
    problems.raise_if_any()
    return "".join(sorted(lines))

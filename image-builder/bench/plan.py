"""A site of five nodes on k3s, checked, and all of its nodes' files rendered.

    python image-builder/bench/plan.py INVENTORY

renders in a process of its own, as the section measures it, and prints how many files it made for how many nodes.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.k3s_files import k3s_files
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_node import KEYS
from ansible_collections.edgewright.edge.plugins.module_utils.network import Network, network_files
from bench.figures import Row
from edgewright.paths import project_root
from edgewright.site import Site, load_site
from edgewright.tools.process import run

if TYPE_CHECKING:
    from bench.workplace import Workplace

_REPEATS = 3
_LIMIT = 3.0


def plan(place: Workplace) -> list[Row]:
    """Measure both on ``inventories/plant``, whatever site the rest of the bench has."""
    inventory = project_root() / "inventories" / "plant"
    edgewright = Path(sys.executable).with_name("edgewright")
    checks, renders, processor = [], [], []
    made: dict[str, int] = {}
    with place.reporter.step(f"check and render {inventory.name}, {_REPEATS} times"):
        for _ in range(_REPEATS):
            before = _processor_seconds()
            began = time.monotonic()
            run([edgewright, "check", "-i", inventory, "--json"], log=place.reporter.run_log)
            checks.append(time.monotonic() - began)
            began = time.monotonic()
            made = json.loads(run([sys.executable, __file__, inventory], log=place.reporter.run_log))
            renders.append(time.monotonic() - began)
            processor.append(_processor_seconds() - before)
    both = statistics.median(check + render for check, render in zip(checks, renders, strict=True))
    note = (
        f"The medians of {_REPEATS}. `edgewright check`, then a second process that reads the inventory again and "
        f"renders {made['files']} files of k3s and the network for {made['nodes']} nodes."
    )
    return [
        Row("Site of five nodes, checked and rendered", both, "s", limit=_LIMIT, note=note),
        Row("Site of five nodes, checked", statistics.median(checks), "s", note=note),
        Row("Site of five nodes, rendered", statistics.median(renders), "s", note=note),
        Row("Site of five nodes, both in processor time", statistics.median(processor), "s", note=note),
    ]


def _processor_seconds() -> float:
    """Return what all ended programs of this process have had of the processors; a busy machine does not change it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rendered(site: Site) -> dict[str, list[str]]:
    """Return the paths of the files of each node.

    Raises:
        EdgeError: everything that is wrong in the site's variables.
    """
    members = {
        group: [host.name for host in site.hosts if group in host.groups] for group in ("k3s_server", "k3s_agent")
    }
    networks = {host.name: host.variables.get("edge_network") or {} for host in site.hosts}
    found = {}
    for host in site.hosts:
        node = {
            "name": host.name,
            "role": "server" if host.name in members["k3s_server"] else "agent",
            "servers": members["k3s_server"],
            "agents": members["k3s_agent"],
            "networks": networks,
            "virtual_machines": bool(host.variables.get("edge_virtual_machines")),
            **{key: value for key in KEYS if (value := host.variables.get(f"k3s__{key}")) is not None},
            # Whether there is one, not what it is.
            "token": True,
        }
        files = [file["path"] for file in k3s_files(host.variables.get("edge_kubernetes"), node)]
        network = Network.from_inventory(networks[host.name], where=f"{host.name}: edge_network")
        found[host.name] = [*files, *network_files(network)]
    return found


def main() -> None:
    """Render."""
    nodes = rendered(load_site(Path(sys.argv[1])))
    print(json.dumps({"nodes": len(nodes), "files": sum(map(len, nodes.values()))}))


if __name__ == "__main__":
    main()

"""A site of five nodes on k3s, checked, and all of its nodes' files rendered; and a hundred virtual machines.

    python image-builder/bench/plan.py INVENTORY

renders in a process of its own, as the section measures it, and prints how many files it made for how many nodes.

    python image-builder/bench/plan.py --machines RUNTIME

checks and renders a hundred virtual machines for a runtime, likewise, and prints how many objects or domains they are.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_files import k3s_files
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_node import KEYS
from ansible_collections.edgewright.edge.plugins.module_utils.network import Network, network_files
from ansible_collections.edgewright.edge.plugins.module_utils.site import check_site_variables
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kubevirt_virtual_machines import (
    kubevirt_virtual_machines,
)
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.libvirt_domains import libvirt_domains
from bench.figures import Row
from edgewright.paths import project_root
from edgewright.site import Site, load_site
from edgewright.tools.process import run

if TYPE_CHECKING:
    from bench.workplace import Workplace

_REPEATS = 3
_LIMIT = 3.0
_MACHINES = 100
_MACHINES_LIMIT = 2.0


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
    machines = [_machines(place, runtime) for runtime in ("podman", "k3s")]
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
        *machines,
    ]


def _machines(place: Workplace, runtime: str) -> Row:
    """Measure a whole process: Python's start, all imports, the check of the variables, and what is rendered."""
    times = []
    made = ""
    with place.reporter.step(f"check and render {_MACHINES} virtual machines for {runtime}, {_REPEATS} times"):
        for _ in range(_REPEATS):
            began = time.monotonic()
            made = run([sys.executable, __file__, "--machines", runtime], log=place.reporter.run_log).decode().strip()
            times.append(time.monotonic() - began)
    note = (
        f"The medians of {_REPEATS}, each a process of its own: `edge_virtual_machines` checked as `edgewright check` "
        f"does it, then rendered: {made}."
    )
    name = "libvirt" if runtime == "podman" else "KubeVirt"
    return Row(f"{_MACHINES} virtual machines, checked and rendered for {name}", statistics.median(times), "s",
               limit=_MACHINES_LIMIT, note=note)  # fmt: skip


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


def machines(runtime: str) -> str:
    """Check and render a hundred machines; return what they came to.

    Raises:
        EdgeError: one of them is wrong, so nothing was measured.
    """
    declared = [
        {
            "name": f"machine-{number}",
            "memory": "2GiB",
            "cpu": {"sockets": 2, "cores": 2},
            "firmware": "uefi" if number % 2 else "bios",
            "timezone": "Europe/Berlin",
            "disks": [
                {"source": f"file:disks/{number}-{disk}.img", "bus": "sata", "serial": f"D{number}-{disk}"}
                for disk in range(2)
            ],
            "nics": [{"model": "e1000e"}],
            "start_order": number,
        }
        for number in range(_MACHINES)
    ]
    site = {"edge_site": "bench", "edge_runtime": runtime, "edge_virtual_machines": declared}
    if problems := check_site_variables(site):
        raise EdgeError(problems)
    if runtime == "k3s":
        files = kubevirt_virtual_machines({"node": declared}, "bench")["files"]
        objects = sum(file["content"].count("\nkind: ") for file in files)
        return f"{objects} objects in {len(files)} manifests"
    return f"{len(libvirt_domains(declared, 'bench'))} domains"


def main() -> None:
    """Render."""
    if sys.argv[1] == "--machines":
        print(machines(sys.argv[2]))
        return
    nodes = rendered(load_site(Path(sys.argv[1])))
    print(json.dumps({"nodes": len(nodes), "files": sum(map(len, nodes.values()))}))


if __name__ == "__main__":
    main()

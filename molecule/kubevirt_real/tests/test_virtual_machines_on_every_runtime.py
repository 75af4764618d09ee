"""The tests that virtual machines pass on every runtime, on a real KubeVirt."""

from __future__ import annotations

import json
from typing import Any

import scenario
from real_site import CHANGED, play, power_cycle
from virtual_machine import NAME, Runtime, VirtualMachineBehaviour, links_of

CONVERGE = scenario.HERE / "converge.yml"
SUBRESOURCES = "/apis/subresources.kubevirt.io/v1/namespaces/edgewright/virtualmachines"


class _KubeVirt(Runtime):
    def machine(self) -> dict[str, Any]:
        return {
            "name": NAME,
            "machine": "q35",
            "firmware": "bios",
            "cpu": {"model": "pentium3"},
            "memory": "32MiB",
            "graphics": "none",
            "start_order": 25,
            "stop_timeout": 3,
            "disks": [{"source": "file:till.raw", "bus": "sata"}],
            "nics": [{"network": "default", "model": "virtio"}],
        }

    def apply(self, machines: list[dict[str, Any]]) -> scenario.Run:
        CHANGED["edge_virtual_machines"] = machines
        return play(CONVERGE)

    def console(self, host: Any, name: str) -> str:
        """Return the log of the pod that runs; of one that is gone, nothing."""
        return "".join(
            str(host.run("kubectl -n edgewright logs %s -c guest-console-log", pod).stdout) for pod in _pods(host, name)
        )

    def process(self, host: Any, name: str) -> str:
        return str(host.run("pgrep -f '^/[^ ]*qemu[^ ]* .*guest=edgewright_%s,'", name).stdout.strip())

    def link_states(self, host: Any, name: str) -> list[str]:
        (pod,) = _pods(host, name)
        virsh = f"kubectl -n edgewright exec {pod} -c compute -- virsh --connect qemu:///session"
        domain = host.check_output(f"{virsh} dumpxml %s", f"edgewright_{name}")
        return links_of(domain)

    def stop(self, host: Any, name: str) -> None:
        _ask(host, name, "stop")
        host.check_output("kubectl -n edgewright wait --for=delete virtualmachineinstance %s --timeout=120s", name)

    def start(self, host: Any, name: str) -> None:
        _ask(host, name, "start")

    def power_cycle(self, host: Any) -> None:
        power_cycle(host)

    def disk(self, name: str) -> str:
        return f"/var/lib/edgewright/virtual-machines/{name}/disk0/disk.img"


def _pods(host: Any, name: str) -> list[str]:
    said = host.run("kubectl -n edgewright get pods -o json -l vm.kubevirt.io/name=%s", name).stdout
    return [
        pod["metadata"]["name"]
        for pod in json.loads(said or '{"items": []}')["items"]
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    ]


def _ask(host: Any, name: str, what: str) -> None:
    """Ask KubeVirt for what ``virtctl`` asks it for."""
    host.check_output("echo '{}' | kubectl replace --raw %s -f -", f"{SUBRESOURCES}/{name}/{what}")


class TestVirtualMachine(VirtualMachineBehaviour):
    runtime = _KubeVirt()

"""The tests that virtual machines pass on every runtime, on libvirt."""

from __future__ import annotations

from typing import Any

import scenario
from virtual_machine import NAME, Runtime, VirtualMachineBehaviour

CONVERGE = scenario.HERE / "converge.yml"
SMALL = {"memory": "32MiB", "machine": "pc", "graphics": "none"}
IDE = [{"source": "file:till.raw", "bus": "ide"}]
# As side_effect.yml leaves them.
OTHERS: list[dict[str, Any]] = [
    {
        **SMALL,
        "name": "till",
        "start_order": 20,
        "memory": "48MiB",
        "stop_timeout": 3,
        "disks": [{"source": "file:till.raw", "bus": "sata", "size": "32MiB", "serial": "TILL-1"}],
        "nics": [{"network": "default", "model": "virtio"}],
    },
    {**SMALL, "name": "spare", "run_policy": "manual", "start_order": 15, "disks": IDE},
    {**SMALL, "name": "archive", "run_policy": "halted", "start_order": 5, "disks": IDE},
]


class _Libvirt(Runtime):
    def machine(self) -> dict[str, Any]:
        return {**SMALL, "name": NAME, "start_order": 25, "stop_timeout": 3, "disks": IDE}

    def apply(self, machines: list[dict[str, Any]]) -> scenario.Run:
        return scenario.play(CONVERGE, node=scenario.NODE, variables={"edge_virtual_machines": [*OTHERS, *machines]})

    def console(self, host: Any, name: str) -> str:
        return str(host.run("cat /var/log/libvirt/qemu/%s-serial.log", name).stdout)

    def process(self, host: Any, name: str) -> str:
        return str(host.run("cat /run/libvirt/qemu/%s.pid", name).stdout.strip())

    def stop(self, host: Any, name: str) -> None:
        host.check_output("systemctl stop edgewright-vm@%s.service", name)

    def start(self, host: Any, name: str) -> None:
        host.check_output("systemctl start edgewright-vm@%s.service", name)

    def power_cycle(self, host: Any) -> None:  # noqa: ARG002 - a cluster is waited for
        scenario.power_cycle(scenario.NODE)

    def disk(self, name: str) -> str:
        return f"/var/lib/edgewright/virtual-machines/{name}/disk0.img"


class TestVirtualMachine(VirtualMachineBehaviour):
    runtime = _Libvirt()

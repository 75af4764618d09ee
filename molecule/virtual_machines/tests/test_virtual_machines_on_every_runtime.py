"""The tests that virtual machines pass on every runtime, on libvirt."""

from __future__ import annotations

from typing import Any

import scenario
import yaml
from virtual_machine import NAME, Runtime, VirtualMachineBehaviour, links_of

WORKLOADS = scenario.HERE / "workloads.yml"
SMALL = {"memory": "32MiB", "machine": "pc", "graphics": "none"}
IDE = [{"source": "file:till.raw", "bus": "ide"}]
NICS = [{"network": "default", "model": "virtio"}]
# As side_effect.yml leaves them.
CHANGED = yaml.safe_load((scenario.HERE / "vars" / "changed.yml").read_text(encoding="utf-8"))
OTHERS: list[dict[str, Any]] = CHANGED["edge_virtual_machines"]


class _Libvirt(Runtime):
    def machine(self) -> dict[str, Any]:
        return {**SMALL, "name": NAME, "start_order": 25, "stop_timeout": 3, "disks": IDE, "nics": NICS}

    def apply(self, machines: list[dict[str, Any]]) -> scenario.Run:
        return scenario.play(WORKLOADS, node=scenario.NODE, variables={"edge_virtual_machines": [*OTHERS, *machines]})

    def console(self, host: Any, name: str) -> str:
        return str(host.run("cat /var/log/libvirt/qemu/%s-serial.log", name).stdout)

    def process(self, host: Any, name: str) -> str:
        return str(host.run("cat /run/libvirt/qemu/%s.pid", name).stdout.strip())

    def link_states(self, host: Any, name: str) -> list[str]:
        domain = host.check_output("virsh --connect qemu:///system dumpxml %s", name)
        return links_of(domain)

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

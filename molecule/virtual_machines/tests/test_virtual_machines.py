"""What is libvirt's of virtual machines, after one was taken away and another changed: units, order, health, status."""

from __future__ import annotations

import json
from typing import Any

CONSOLE = "/var/log/libvirt/qemu/till-serial.log"


def virsh(host: Any, command: str) -> str:
    return str(host.check_output(f"LC_ALL=C virsh --connect qemu:///system {command}"))


def show(host: Any, unit: str, name: str) -> str:
    return str(host.check_output(f"systemctl show -P {name} edgewright-vm@{unit}.service"))


def wait_for_console(host: Any, text: str) -> None:
    host.check_output('timeout 300 sh -c \'until grep -qF "$0" "$1"; do sleep 1; done\' %s %s', text, CONSOLE)


def test_disk_has_its_declared_size(host: Any) -> None:
    disk = "/var/lib/edgewright/virtual-machines/till/disk0.img"
    info = json.loads(host.check_output("qemu-img info --force-share --output=json %s", disk))
    assert info["virtual-size"] == 32 * 1024**2


def test_changed_description_counts_from_the_next_start_on(host: Any) -> None:
    host.check_output("systemctl restart edgewright-vm@till.service")
    assert "49152 KiB" in virsh(host, "dominfo till")


def test_only_machines_that_always_run_start_with_the_node(host: Any) -> None:
    wanted = host.check_output("systemctl show -P Wants multi-user.target").split()
    assert [unit for unit in wanted if unit.startswith("edgewright-vm@")] == ["edgewright-vm@till.service"]
    assert virsh(host, "domstate spare") == "shut off"
    assert virsh(host, "domstate archive") == "shut off"
    assert virsh(host, "list --autostart --name --all") == ""


def test_order_is_systemds(host: Any) -> None:
    before = {unit for unit in show(host, "till", "After").split() if unit.startswith("edgewright-vm@")}
    assert before == {"edgewright-vm@archive.service", "edgewright-vm@spare.service"}
    assert show(host, "till", "TimeoutStopUSec") == "1min 3s"


def test_machines_stop_in_reverse_order(host: Any) -> None:
    host.check_output("systemctl start edgewright-vm@spare.service")
    # In one transaction, as at shutdown: units that are stopped by name are a job each, which waits for no later one.
    host.check_output("systemctl stop virt-guest-shutdown.target")
    stopped = {unit: int(show(host, unit, "InactiveEnterTimestampMonotonic")) for unit in ("till", "spare")}
    assert stopped["till"] < stopped["spare"]
    assert virsh(host, "list --name") == ""
    host.check_output("systemctl start edgewright-vm@till.service")


def test_machine_that_always_runs_is_part_of_the_nodes_health(host: Any) -> None:
    assert host.check_output("ls /etc/edgewright/health.d") == "vm-till"
    assert host.check_output("/etc/edgewright/health.d/vm-till") == "running"
    virsh(host, "destroy till")
    assert host.run("/etc/edgewright/health.d/vm-till").rc == 1
    host.check_output("timeout 300 sh -c 'until /etc/edgewright/health.d/vm-till; do sleep 1; done'")


def test_status_tells_of_the_machines_and_their_consoles(host: Any) -> None:
    host.check_output("/usr/lib/edgewright/collect-status")
    machines = json.loads(host.file("/run/edgewright/status.json").content_string)["virtual_machines"]
    assert {machine["name"]: machine["state"] for machine in machines} == {
        "archive": "stopped",
        "office": "stopped",
        "spare": "stopped",
        "till": "running",
    }
    tail = next(machine["console_tail"] for machine in machines if machine["name"] == "till")
    assert any(line.endswith("TILL 3.1 (c) 1998") for line in tail)
    assert all(line.isprintable() and "[H" not in line for line in tail)


def test_removed_machine_leaves_only_its_disk(host: Any) -> None:
    assert "drawer" not in virsh(host, "list --all --name")
    assert not host.file("/etc/edgewright/virtual-machines/drawer.xml").exists
    assert not host.file("/etc/systemd/system/edgewright-vm@drawer.service.d").exists
    assert not host.file("/etc/edgewright/health.d/vm-drawer").exists
    assert host.file("/var/lib/edgewright/virtual-machines/drawer/disk0.img").exists


def test_no_unit_has_failed(host: Any) -> None:
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""

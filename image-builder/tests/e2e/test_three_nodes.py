"""One image, three nodes: each machine becomes the host that it is, and an unknown one becomes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .booted_node import MINUTE
from .disk_image import copy_in

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.tools.qemu import DiskBus

    from .conftest import Build, MakeNode

# What the inventory says of each: services, virtual machines, address.
DECLARED: dict[str, tuple[list[str], list[str], str]] = {
    "front-01": (["file-type"], ["till"], "10.0.2.21"),
    "back-01": ([], ["ledger", "stock"], "10.0.2.22"),
    "spare-01": (["spare-file-type"], [], "10.0.2.23"),
}


def check(status: dict[str, Any], name: str, how: str) -> None:
    """Compare what a node says of itself with the inventory."""
    services, machines, _ = DECLARED[name]
    assert status["identity"] == {"node": name, "by": how}
    assert (status["node"], status["site"]) == (name, "three-nodes")
    assert [service["name"] for service in status["inference_services"]] == services
    assert [machine["name"] for machine in status["virtual_machines"]] == machines


@pytest.mark.parametrize(("name", "how", "bus"), [("front-01", "mac", "usb"), ("back-01", "serial", "virtio")])
def test_a_machine_is_recognised_by_its_hardware_from_a_disk_and_from_a_usb_stick(
    three_nodes: Build, make_node: MakeNode, name: str, how: str, bus: DiskBus
) -> None:
    with make_node(name, three_nodes.image, three_nodes.host(name), disk_bus=bus, workloads=False) as node:
        node.start()
        with node.machine.qmp() as qmp:
            # The QEMU of the lock, which every host has, and not this one's own.
            pinned = three_nodes.lock.packages["qemu-system-x86"].version
            assert qmp.execute("query-version")["package"] == f"Debian {pinned}"
        assert node.wait_recognised() == (name, how)
        check(node.wait_status(), name, how)
        answers = node.ask(
            {
                "hostname": "hostname",
                "address": "ip -brief -4 address show scope global",
                "disk": "lsblk --noheadings --inverse --output TRAN /dev/mapper/root",
            }
        )
        assert answers["hostname"] == name
        assert f"{DECLARED[name][2]}/24" in answers["address"]
        assert ("usb" in answers["disk"].split()) == (bus == "usb")


def test_a_machine_is_recognised_by_the_node_file_on_its_medium(
    three_nodes: Build, make_node: MakeNode, tmp_path: Path
) -> None:
    with make_node("spare-01", three_nodes.image, three_nodes.host("spare-01"), workloads=False) as node:
        file = tmp_path / "node"
        file.write_bytes(b"spare-01\r\n")
        copy_in(node.disk, "edgewright/node", file)
        node.start()
        assert node.wait_recognised() == ("spare-01", "node file")
        check(node.wait_status(), "spare-01", "node file")
        assert node.ask({"hostname": "hostname"})["hostname"] == "spare-01"


def test_a_machine_is_recognised_by_a_kernel_argument(three_nodes: Build, make_node: MakeNode) -> None:
    with make_node("by-argument", three_nodes.image, kernel_arguments=("edgewright.node=back-01",)) as node:
        node.start()
        assert node.wait_recognised() == ("back-01", "kernel argument")


def test_an_unknown_machine_says_so_and_configures_nothing(three_nodes: Build, make_node: MakeNode) -> None:
    # Nothing of the inventory gives it an address, so the test does, from outside: systemd-network-generator(8).
    with make_node(
        "unknown",
        three_nodes.image,
        credentials={"network.network.50-test": b"[Match]\nName=en*\n[Network]\nAddress=10.0.2.15/24\n"},
        kernel_arguments=tuple(f"systemd.wants=systemd-{unit}.service" for unit in ("network-generator", "networkd")),
    ) as node:
        node.start()
        console = node.machine.wait_for_console(r"edgewright: NOT CONFIGURED: (.*)", 8 * MINUTE)
        assert "no host of the inventory matches this machine" in console[1]
        assert "52:54:00:ed:9e:ff" in console[1]
        node.machine.wait_for_console(r"login:", 10 * MINUTE)
        answers = node.ask(
            {
                "hosts": "cat /etc/edgewright/node.json 2>/dev/null || :",
                "containers": "podman ps --all --quiet",
                "machines": "virsh --quiet --connect qemu:///system list --all --name",
                "layers": "ls /var/lib/edgewright/etc 2>/dev/null || :",
            }
        )
        assert (answers["hosts"], answers["containers"], answers["machines"], answers["layers"]) == ("", "", "", "")
        status = node.wait_status()
        assert status["identity"]["node"] is None
        assert "no host of the inventory matches this machine" in status["identity"]["reason"]
        assert (status["inference_services"], status["virtual_machines"]) == ([], [])

"""The same image starts from a USB stick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .booted_node import MINUTE

if TYPE_CHECKING:
    from .conftest import Build, MakeNode


def test_the_image_boots_from_a_usb_stick_to_its_login(demo: Build, make_node: MakeNode) -> None:
    node = make_node("usb-stick", demo.image, demo.host("till-01"), disk_bus="usb", workloads=False)
    node.start()
    with node.machine.qmp() as qmp:
        # The QEMU of the lock, which every host has, and not this one's own.
        assert qmp.execute("query-version")["package"] == f"Debian {demo.lock.packages['qemu-system-x86'].version}"
    assert node.wait_recognised() == ("till-01", "mac")
    node.machine.wait_for_console(r"^till-01 login:", 10 * MINUTE)
    disk = node.ask({"disk": "lsblk --noheadings --inverse --output NAME,TRAN /dev/mapper/root | grep -w usb"})["disk"]
    assert disk

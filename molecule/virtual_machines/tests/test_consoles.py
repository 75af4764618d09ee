"""Consoles of real guests as an operator reaches them, and guests that are killed or shut themselves down."""

from __future__ import annotations

import time
from typing import Any

# Speaks just enough of RFC 6143 to be let in and told the size and the name of the screen.
RFB = """
import socket, struct
with socket.create_connection(("{address}", {port}), 5) as screen:
    stream = screen.makefile("rwb", 0)
    version = stream.read(12)
    stream.write(version)
    kinds = stream.read(stream.read(1)[0])
    stream.write(b"\\x01")
    refused = struct.unpack(">I", stream.read(4))[0]
    stream.write(b"\\x01")
    width, height = struct.unpack(">HH", stream.read(4))
    stream.read(16)
    name = stream.read(struct.unpack(">I", stream.read(4))[0]).decode()
    print(version.decode().strip(), 1 in kinds, refused, width > 0 and height > 0, name)
"""


def virsh(host: Any, command: str) -> str:
    return str(host.check_output(f"LC_ALL=C virsh --connect qemu:///system {command}"))


def process(host: Any, name: str) -> str:
    return str(host.check_output(f"cat /run/libvirt/qemu/{name}.pid"))


def test_serial_console_answers_what_is_typed(host: Any) -> None:
    host.check_output(
        "timeout 120 sh -c 'until grep -q ready %s; do sleep 1; done'", "/var/log/libvirt/qemu/till-serial.log"
    )
    # ^] leaves, as 'virsh console' says.
    typed = r"(sleep 2; printf 'status\r'; sleep 4; printf '\035')"
    shown = host.check_output(typed + " | script -qec 'virsh -c qemu:///system console till' /dev/null")
    assert "Connected to domain 'till'" in shown
    assert "till: ready, starts so far: |" in shown


def test_screen_speaks_vnc_on_loopback_and_nowhere_else(host: Any) -> None:
    host.check_output("systemctl start edgewright-vm@office.service")
    display = virsh(host, "vncdisplay office")
    assert display.startswith("127.0.0.1:")
    port = 5900 + int(display.split(":")[1])
    shown = host.check_output("python3 -c %s", RFB.format(address="127.0.0.1", port=port))
    assert shown == "RFB 003.008 True 0 True QEMU (office)"
    elsewhere = host.run("python3 -c %s", RFB.format(address="192.168.122.1", port=port))
    assert elsewhere.rc != 0
    assert "ConnectionRefusedError" in elsewhere.stderr


def test_guest_that_is_killed_returns(host: Any) -> None:
    before = process(host, "till")
    host.check_output(f"kill -9 {before}")
    # No process file yet is no new process; and the unit may not have noticed yet.
    host.check_output(
        "timeout 300 sh -c 'until now=$(cat /run/libvirt/qemu/till.pid) && [ \"$now\" != %s ]; do sleep 1; done' 2>&1",
        before,
    )
    host.check_output("timeout 300 sh -c 'until systemctl is-active -q edgewright-vm@till.service; do sleep 1; done'")
    assert virsh(host, "domstate till") == "running"
    assert int(host.check_output("systemctl show -P NRestarts edgewright-vm@till.service")) >= 1


def test_guest_that_shuts_itself_down_stays_off_and_its_unit_knows(host: Any) -> None:
    host.check_output("systemctl start edgewright-vm@office.service")
    host.check_output("timeout 240 sh -c 'until virsh -c qemu:///system domfsinfo office; do sleep 1; done'")
    virsh(host, "shutdown office --mode agent")
    # Inactive, and not on its way there or back.
    off = "systemctl show -P ActiveState edgewright-vm@office.service | grep -qx inactive"
    host.check_output(f"timeout 60 sh -c 'until {off}; do sleep 1; done'")
    assert virsh(host, "domstate office") == "shut off"
    shown = host.check_output("systemctl show -P ActiveState -P Result edgewright-vm@office.service").split()
    assert sorted(shown) == ["inactive", "success"]


def test_libvirt_that_is_restarted_leaves_guests_and_units_alone(host: Any) -> None:
    before = process(host, "till")
    host.check_output("systemctl restart libvirtd.service")
    time.sleep(3)
    assert process(host, "till") == before
    assert host.check_output("systemctl is-active edgewright-vm@till.service") == "active"

from __future__ import annotations

import base64
import ipaddress
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright import virtual_node
from edgewright.tools import qemu
from edgewright.tools.emulator import PROGRAM
from edgewright.tools.qemu import Files, Firmware, Forward, Hardware, Link, arguments


@pytest.fixture
def files(tmp_path: Path) -> Files:
    firmware = Firmware(Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd"))
    return Files(tmp_path / "d,isk", "qcow2", firmware, tmp_path / "vars", tmp_path / "console", tmp_path)


@pytest.mark.parametrize(
    ("address", "gateway"),
    [
        (None, None),
        ("10.0.2.15/24", "10.0.2.2"),
        ("192.168.7.2/24", "192.168.7.1"),
        ("192.168.7.3/24", None),
        ("172.16.5.6/30", "172.16.5.5"),
        ("10.20.30.40/16", "10.20.0.1"),
        ("192.168.1.5/28", "192.168.1.14"),
        ("192.168.1.5/24", "10.0.0.1"),
    ],
)
@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.usefixtures("firmware")
def test_qemu_accepts_the_network_of_any_site(
    files: Files, address: str | None, gateway: str | None, *, isolated: bool
) -> None:
    """QEMU itself checks that guest, gateway and resolver fit into the network and differ."""
    link = Link(
        isolated=isolated,
        address=ipaddress.IPv4Interface(address) if address else None,
        gateway=ipaddress.IPv4Address(gateway) if gateway else None,
        forwards=qemu.choose_ports([Forward(0, 22)]),
    )
    words = arguments(Hardware(link=link), files, "tcg")
    netdev = words[words.index("-netdev") + 1]
    command = [
        PROGRAM,
        "-nodefaults",
        "-display",
        "none",
        "-machine",
        "none",
        "-S",
        "-netdev",
        netdev,
        "-monitor",
        "stdio",
    ]
    done = subprocess.run(
        command, input="info usernet\nquit\n", capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (address or "10.0.2.15/24").split("/")[0] in done.stdout
    assert ("restrict=on" in netdev) == isolated


def test_secrets_are_in_files_and_never_in_the_arguments(files: Files) -> None:
    hardware = Hardware(credentials={"ssh.authorized_keys.root": b"ssh-ed25519 AAAA"}, kernel_arguments=("a=b", "c"))
    text = " ".join(arguments(hardware, files, "tcg"))
    assert "AAAA" not in text
    assert base64.b64encode(b"ssh-ed25519 AAAA").decode() not in text
    assert qemu.smbios_strings(hardware, "kvm") == [
        "io.systemd.credential.binary:ssh.authorized_keys.root=" + base64.b64encode(b"ssh-ed25519 AAAA").decode(),
        "io.systemd.stub.kernel-cmdline-extra=a=b c",
    ]


def test_an_emulated_kernel_makes_no_detours_around_speculation_unless_asked_to() -> None:
    (text,) = qemu.smbios_strings(Hardware(kernel_arguments=("mitigations=auto",)), "tcg")
    assert text == "io.systemd.stub.kernel-cmdline-extra=mitigations=off mitigations=auto"
    assert qemu.smbios_strings(Hardware(), "kvm") == []


def test_a_comma_in_a_path_does_not_become_an_option(files: Files) -> None:
    assert "d,,isk" in " ".join(arguments(Hardware(), files, "tcg"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8080:80", (8080, 80)), ("80", (0, 80)), (":80", (0, 80)), ("0:80", (0, 80)), ("65535:65535", (65535, 65535))],
)
def test_a_forward_is_read(text: str, expected: tuple[int, int]) -> None:
    assert Forward.parse(text) == Forward(*expected)


@pytest.mark.parametrize("text", ["", "x", "80:", "80:0", "65536:80", "80:65536", "1:2:3", "-1:80", "8080:80/udp"])
def test_what_is_no_forward_is_refused(text: str) -> None:
    with pytest.raises(EdgeError, match="not a port forward"):
        Forward.parse(text)


def test_ports_in_use_and_ports_given_twice_are_all_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(EdgeError) as caught:
            qemu.choose_ports([Forward(taken, 22), Forward(1024, 80), Forward(1024, 81)])
    text = str(caught.value)
    assert f"host port {taken} is in use" in text
    assert "host port 1024 is given twice" in text


def test_free_ports_are_free_and_different() -> None:
    chosen = qemu.choose_ports([Forward(0, guest) for guest in range(1, 30)])
    assert len({forward.host for forward in chosen}) == 29
    for forward in chosen:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", forward.host))


HOST = {
    "edge_node": {"mac": ["52:54:00:ED:9E:07"], "dmi_serial": ["SN7"]},
    "edge_network": {
        "interfaces": [
            {"name": "v6", "addresses": ["fd00::1/64"]},
            {"name": "uplink", "addresses": ["192.168.7.10/24"], "gateway": "192.168.7.1"},
        ]
    },
    "edge_inference_services": [{"name": "a", "port": 8080}, {"name": "b", "port": 8081}],
}


def test_a_host_of_the_inventory_becomes_a_machine() -> None:
    assert virtual_node.first_mac(HOST) == "52:54:00:ed:9e:07"
    assert virtual_node.identity(HOST, "dmi_serial") == "SN7"
    assert virtual_node.identity(HOST, "dmi_uuid") == ""
    address, gateway = virtual_node.static_address(HOST)
    assert (str(address), str(gateway)) == ("192.168.7.10/24", "192.168.7.1")
    ports = virtual_node.forwards(HOST, [Forward(9999, 8080)])
    assert ports == (Forward(9999, 8080), Forward(0, 22), Forward(0, 8090), Forward(0, 8081))


def test_a_host_without_anything_becomes_a_machine_too() -> None:
    assert virtual_node.first_mac({}) is None
    assert virtual_node.static_address({"edge_network": {"interfaces": [{"name": "x", "dhcp": True}]}}) == (None, None)
    assert [forward.guest for forward in virtual_node.forwards({}, [])] == [22, 8090]
    assert [forward.guest for forward in virtual_node.forwards({"edge_ingress": {}}, [])] == [22, 8090, 80, 443]


@pytest.mark.parametrize(("text", "size"), [("512MiB", 2**29), ("2G", 2**31), ("8GiB", 2**33), ("1024", 1024)])
def test_a_size_is_read(text: str, size: int) -> None:
    assert virtual_node.parse_size(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "x", "0", "1.5G", "-1G", "1XB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(EdgeError, match="--memory"):
        virtual_node.parse_size(text, "--memory")


def test_a_usb_stick_is_a_usb_stick(files: Files) -> None:
    assert "usb-storage" in " ".join(arguments(Hardware(disk_bus="usb"), files, "tcg"))
    assert "-no-reboot" in arguments(replace(Hardware(), reboots=False), files, "kvm")

"""What libvirt on a node does after the role ``libvirt``, asked of libvirt and systemd."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

NETWORK = "/etc/libvirt/qemu/networks/default.xml"
# The least that QEMU starts: no disk, so the firmware waits for ever and hears no button.
DEAF = """<domain type='qemu'><name>deaf</name><uuid>6f1d2c3b-0000-4000-8000-000000000001</uuid>
<memory unit='MiB'>32</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"""


@pytest.fixture
def deaf(host: Any) -> Iterator[str]:
    """A declared virtual machine that never shuts down by itself, with 3 s to do so."""
    host.check_output(
        "mkdir -p /etc/edgewright/virtual-machines /run/systemd/system/edgewright-vm@deaf.service.d && "
        "echo %s >/etc/edgewright/virtual-machines/deaf.xml && "
        "printf '[Service]\\nEnvironment=STOP_TIMEOUT=3\\n' >%s/stop.conf && systemctl daemon-reload",
        DEAF,
        "/run/systemd/system/edgewright-vm@deaf.service.d",
    )
    yield "deaf"
    host.run("systemctl stop edgewright-vm@deaf")
    host.run("virsh --connect qemu:///system undefine deaf")
    host.check_output(
        "rm -r /etc/edgewright/virtual-machines/deaf.xml /run/systemd/system/edgewright-vm@deaf.service.d && "
        "systemctl daemon-reload"
    )


def virsh(host: Any, command: str) -> str:
    return str(host.check_output(f"LC_ALL=C virsh --connect qemu:///system {command}"))


def test_network_of_virtual_machines_is_up_and_stays(host: Any) -> None:
    info = dict(line.split(":", 1) for line in virsh(host, "net-info default").splitlines() if ":" in line)
    assert {key: info[key].strip() for key in ("Active", "Persistent", "Autostart")} == {
        "Active": "yes",
        "Persistent": "yes",
        "Autostart": "yes",
    }
    assert "198.51.100.1/24" in host.check_output("ip -4 -o addr show virbr0")


def test_libvirt_leaves_the_declared_network_as_it_is(host: Any) -> None:
    before = host.file(NETWORK).sha256sum
    host.check_output("systemctl restart libvirtd.service")
    shown = virsh(host, "net-dumpxml default")
    assert host.file(NETWORK).sha256sum == before
    for declared in re.findall(r"<uuid>.*</uuid>|<mac .*/>", host.file(NETWORK).content_string):
        assert declared in shown


def test_virtual_machine_is_a_unit_that_starts_and_stops_it(host: Any, deaf: str) -> None:
    host.check_output("systemctl start edgewright-vm@deaf")
    assert virsh(host, f"domstate {deaf}") == "running"
    assert host.check_output("/usr/lib/edgewright/vm check deaf") == "running"
    host.check_output("systemctl stop edgewright-vm@deaf")
    assert virsh(host, f"domstate {deaf}") == "shut off"
    said = host.check_output("journalctl --output cat --unit edgewright-vm@deaf")
    waited = re.search(r"deaf did not shut down within (\d+) s; switching it off", said)
    assert waited, said
    assert int(waited[1]) >= 3  # and more where asking libvirt takes a while


def test_virtual_machine_that_runs_already_is_taken_over(host: Any, deaf: str) -> None:
    host.check_output(f"systemctl start edgewright-vm@{deaf}")
    before = host.check_output("cat /run/libvirt/qemu/deaf.pid")
    assert "deaf runs already" in host.check_output("/usr/lib/edgewright/vm start deaf")
    assert host.check_output("cat /run/libvirt/qemu/deaf.pid") == before


def test_only_a_machine_that_ended_by_itself_starts_again(host: Any, deaf: str) -> None:
    unit = f"edgewright-vm@{deaf}"
    host.check_output(f"systemctl start {unit}")
    killed = host.check_output("cat /run/libvirt/qemu/deaf.pid")
    host.check_output(f"kill -9 {killed}")
    # The unit is active until its service has seen the end; the new process is what tells that it came back.
    again = f"grep -qvx {killed} /run/libvirt/qemu/deaf.pid"
    host.check_output(f"timeout 60 sh -c 'until {again} && systemctl is-active -q {unit}; do sleep 1; done'")
    assert virsh(host, f"domstate {deaf}") == "running"
    virsh(host, f"destroy {deaf}")  # as its operator switches it off
    # Neither still stopping nor about to start again, which systemctl is-active calls inactive too.
    off = f'[ "$(systemctl show -P ActiveState {unit})" = inactive ]'
    host.check_output(f"timeout 60 sh -c 'until {off}; do sleep 1; done'")
    assert virsh(host, f"domstate {deaf}") == "shut off"


def test_virtual_machine_that_is_off_is_not_healthy(host: Any, deaf: str) -> None:
    said = host.run(f"/usr/lib/edgewright/vm check {deaf}")
    assert (said.rc, said.stdout.strip()) == (1, "undefined")


def test_virtual_machine_that_is_not_declared_cannot_be_started(host: Any) -> None:
    assert host.run("systemctl start edgewright-vm@nobody").rc != 0
    assert host.check_output("systemctl show -P AssertResult edgewright-vm@nobody") == "no"


def test_libvirt_stops_no_guests_by_itself(host: Any) -> None:
    assert host.run("systemctl is-enabled libvirt-guests.service").stdout.strip() == "masked"


def test_no_unit_has_failed(host: Any) -> None:
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""

"""The demo's guest as another hypervisor would have handed it over: imported, declared, and switched on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import controller
import pytest
import yaml
from ansible_collections.edgewright.edge.tests.unit.machine_sources import ova, source, stream_optimized
from edgewright.lockfile import LOCK_NAME, Artifact, Lock
from edgewright.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

CONSOLE = "/var/log/libvirt/qemu/imported-serial.log"


def virsh(host: Any, command: str) -> str:
    return str(host.check_output(f"LC_ALL=C virsh --connect qemu:///system {command}"))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An appliance as VirtualBox exports it: an OVA with a compressed VMDK and a manifest of digests."""
    store = Store(controller.SCENARIO / "cache" / "store")
    lock = Lock.load(controller.INVENTORY / LOCK_NAME)
    disk = stream_optimized(Path(store.path(lock.artifact("file:till.raw").digest)), tmp_path / "xp-disk001.vmdk")
    description = source("virtualbox.ovf", ('"67108864"', f'"{16 * 1024**2}"'), (">512<", ">64<"))
    return ova(tmp_path / "old till.ova", {"xp.ovf": description, disk.name: disk.read_bytes()})


@pytest.fixture
def declare() -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    """Pin a machine's disk beside the inventory, as ``edgewright lock`` does, and give the site's machines with it."""

    def add(machine: dict[str, Any]) -> list[dict[str, Any]]:
        name = machine["disks"][0]["source"]
        lock = Lock.load(controller.INVENTORY / LOCK_NAME)
        with (controller.INVENTORY / name.removeprefix("file:")).open("rb") as stream:
            digest, size = Store(controller.SCENARIO / "cache" / "store").adopt_stream(stream)
        lock.artifacts[name] = Artifact(source=name, digest=digest, size=size)
        lock.dump(controller.INVENTORY / LOCK_NAME)
        site: list[dict[str, Any]] = yaml.safe_load(controller.SITE.read_text())["edge_virtual_machines"]
        return [*site, machine]

    return add


def test_imported_machine_lands_off_and_boots_when_it_is_started(
    host: Any, package: Path, declare: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    told = controller.play(
        "import_vm", vm_host="all", vm_source=str(package), vm_name="imported", vm_need_manifest=True
    )
    assert "imported is imported, and switched off" in told
    folder = controller.INVENTORY / "disks" / "imported"
    (machine,) = yaml.safe_load((folder / "machine.yml").read_text())["edge_virtual_machines"]
    assert (machine["run_policy"], machine["disks"][0]["bus"]) == ("halted", "ide")
    converge = controller.PROJECT / "molecule" / "virtual_machines" / "converge"
    # It hears no button, and the tests after this one declare it no longer.
    controller.play(str(converge), edge_virtual_machines=declare({**machine, "stop_timeout": 3}))
    assert virsh(host, "domstate imported") == "shut off"
    assert not host.file("/etc/systemd/system/multi-user.target.wants/edgewright-vm@imported.service").exists
    host.check_output("systemctl start edgewright-vm@imported.service")
    host.check_output('timeout 120 sh -c \'until grep -qF "$0" "$1"; do sleep 1; done\' %s %s', "till: ready", CONSOLE)
    assert "TILL 3.1 (c) 1998" in host.file(CONSOLE).content_string

from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import (
    Cpu,
    Disk,
    Nic,
    VirtualMachine,
    disk_path,
    order,
    virtual_machines,
)

WHERE = "edge_virtual_machines"
LEAST = {"name": "till", "memory": "64MiB", "disks": [{"source": "build:guests/till"}]}


def read(*items):
    return virtual_machines(list(items), where=WHERE, site="demo")


def problems(*items):
    with pytest.raises(EdgeError) as caught:
        read(*items)
    return [str(problem) for problem in caught.value.problems]


def test_the_least_description_has_safe_defaults():
    (vm,) = read(LEAST)
    assert vm == VirtualMachine(
        name="till",
        uuid="aaec0d5f-bc16-5397-b570-99e035084005",
        cpu=Cpu(1, 1, 1, "host-model"),
        memory=64 * 1024**2,
        disks=(Disk("build:guests/till", "virtio", 1, None, "raw", ""),),
        nics=(),
        machine="q35",
        firmware="bios",
        secure_boot=False,
        tpm=False,
        timezone="UTC",
        graphics="vnc",
        run_policy="always",
        stop_timeout=180,
        start_order=100,
        priority=50,
    )


def test_everything_can_be_said():
    (vm,) = read(
        {
            "name": "office",
            "uuid": "4C4C4544-0042-3510-8056-B7C04F4A4D33",
            "start_order": 5,
            "priority": 0,
            "run_policy": "manual",
            "stop_timeout": "600",
            "cpu": {"sockets": 2, "cores": 3, "threads": 2, "model": "Nehalem"},
            "memory": "4GB",
            "machine": "q35",
            "firmware": "uefi",
            "secure_boot": True,
            "tpm": True,
            "timezone": "Europe/Berlin",
            "graphics": "none",
            "disks": [
                {"source": "file:a.qcow2", "bus": "sata", "size": "1GiB", "boot_order": 2, "serial": "WD-1"},
                {"source": "file:b.img", "bus": "usb", "format": "qcow2", "boot_order": 1},
            ],
            "nics": [{"network": "office", "model": "e1000e", "mac": "52:54:00:AA:BB:CC", "link_state": "down"}, {}],
        }
    )
    assert vm.uuid == "4c4c4544-0042-3510-8056-b7c04f4a4d33"
    assert vm.cpu == Cpu(2, 3, 2, "Nehalem")
    assert vm.cpu.count == 12
    assert vm.memory == 4_000_000_000
    assert vm.disks == (
        Disk("file:a.qcow2", "sata", 2, 1024**3, "qcow2", "WD-1"),
        Disk("file:b.img", "usb", 1, None, "qcow2", ""),
    )
    assert vm.nics[0] == Nic("office", "e1000e", "52:54:00:aa:bb:cc", "down")
    assert vm.nics[1].mac.startswith("52:54:00:")
    assert vm.nics[1].link_state == "up"
    assert (vm.secure_boot, vm.tpm, vm.timezone, vm.graphics) == (True, True, "Europe/Berlin", "none")
    assert (vm.run_policy, vm.stop_timeout, vm.start_order, vm.priority) == ("manual", 600, 5, 0)


BAD = [
    ({"memry": "1GiB"}, ".memry: unknown key", "Did you mean 'memory'?"),
    ({"name": "Till"}, ".name: is not an RFC 1123 label; found 'Till'", "Use 'till'."),
    ({"memory": None}, ".memory: is missing", "Add 'memory'."),
    ({"memory": "1000"}, ".memory: is out of range; found '1000'; expected 1MiB to 16TiB", ""),
    ({"memory": 1048577}, ".memory: must be a multiple of 1KiB", ""),
    (
        {"firmware": "efi"},
        ".firmware: is not one of the choices; found 'efi'; expected one of bios, uefi",
        "Did you mean 'uefi'?",
    ),
    ({"secure_boot": "false"}, ".secure_boot: must be true or false; found 'false'", ""),
    ({"secure_boot": True}, ".secure_boot: needs UEFI; found firmware bios", "Set 'firmware: uefi'."),
    ({"cpu": {"cores": 0}}, ".cpu.cores: is out of range; found 0; expected a whole number from 1 to 256", ""),
    ({"cpu": {"threads": 3}}, ".cpu.threads: is out of range", ""),
    ({"cpu": {"thread": 2}}, ".cpu.thread: unknown key", "Did you mean 'threads'?"),
    ({"cpu": 2}, ".cpu: must be a mapping; found 2", ""),
    ({"cpu": {"model": "a b"}}, ".cpu.model: is not a CPU model", ""),
    ({"uuid": "x"}, ".uuid: is not a UUID; found 'x'", ""),
    ({"timezone": "Berlin time"}, ".timezone: is not a time zone", ""),
    ({"run_policy": "on"}, ".run_policy: is not one of the choices", ""),
    ({"stop_timeout": 0}, ".stop_timeout: is out of range", ""),
    ({"priority": 101}, ".priority: is out of range", ""),
    ({"start_order": "first"}, ".start_order: must be a whole number", ""),
    ({"disks": []}, ".disks: has too few items; found 0; expected at least 1", ""),
    ({"disks": {"source": "file:x"}}, ".disks: must be a list", ""),
    ({"disks": ["file:x"]}, ".disks[0]: must be a mapping; found 'file:x'", ""),
    ({"disks": [{"source": "file:x", "bus": "nvme"}]}, ".disks[0].bus: is not one of the choices; found 'nvme'", ""),
    ({"disks": [{"bus": "ide"}]}, ".disks[0].source: is missing", "Add 'source'."),
    ({"disks": [{"source": "file:x", "size": 513}]}, ".disks[0].size: must be a multiple of 512", ""),
    ({"disks": [{"source": "file:x", "serial": "a" * 21}]}, ".disks[0].serial: is not a disk serial number", ""),
    ({"disks": [{"source": "file:x", "format": "vmdk"}]}, ".disks[0].format: is not one of the choices", ""),
    (
        {"disks": [{"source": "file:x", "boot_order": 2}, {"source": "file:y"}]},
        ".disks[1].boot_order: the boot order is used twice; found 2, also at edge_virtual_machines[0].disks[0]",
        "Give every disk its own boot_order, or none",
    ),
    ({"nics": [{"model": "vmxnet3"}]}, ".nics[0].model: is not one of the choices; found 'vmxnet3'", ""),
    ({"nics": [{"link_state": "absent"}]}, ".nics[0].link_state: is not one of the choices; found 'absent'", ""),
    ({"nics": [{"mac": 190345}]}, ".nics[0].mac: must be a string", "Put it in quotes"),
    (
        {"nics": [{"mac": "52:54:00:00:00:01"}, {"mac": "52:54:00:00:00:01"}]},
        ".nics[1].mac: the MAC address is used twice",
        "",
    ),
]


@pytest.mark.parametrize(("change", "text", "remedy"), BAD, ids=[text for _, text, _ in BAD])
def test_a_mistake_is_told_with_its_place_and_its_mend(change, text, remedy):
    (problem,) = problems({**LEAST, **change})
    assert problem.startswith(f"{WHERE}[0]{text}")
    assert remedy in problem


def test_all_mistakes_of_all_machines_come_at_once():
    found = problems(
        {"name": "A", "memory": "1gb", "disks": [{"source": "x", "bus": "y"}]},
        LEAST,
        {"memory": "1MiB", "disks": 7, "nics": [{"mac": "zz"}]},
    )
    paths = sorted(line.split(": ")[0].removeprefix(WHERE) for line in found)
    assert paths == [
        "[0].disks[0].bus",
        "[0].disks[0].source",
        "[0].memory",
        "[0].name",
        "[2].disks",
        "[2].name",
        "[2].nics[0].mac",
    ]


def test_machines_share_neither_name_nor_uuid_nor_mac():
    nic = {"nics": [{"mac": "52:54:00:00:00:01"}]}
    found = problems(
        {**LEAST, **nic}, {**LEAST, "name": "b", "uuid": "aaec0d5f-bc16-5397-b570-99e035084005"}, {**LEAST, **nic}
    )
    assert [line.split(";")[0] for line in found] == [
        f"{WHERE}[2].name: the name is used twice",
        f"{WHERE}[1].uuid: the UUID is used twice",
        f"{WHERE}[2].uuid: the UUID is used twice",
        f"{WHERE}[2].nics[0].mac: the MAC address is used twice",
    ]


@pytest.mark.parametrize("data", [7, "till", {"name": "till"}])
def test_the_list_must_be_a_list(data):
    with pytest.raises(EdgeError, match="edge_virtual_machines: must be a list"):
        virtual_machines(data, where=WHERE, site="demo")


def test_no_machines_are_none():
    assert virtual_machines(None, where=WHERE, site="demo") == ()


def test_what_is_derived_depends_on_names_and_not_on_places():
    nic = {"nics": [{}]}
    first, second = read({**LEAST, **nic}, {**LEAST, "name": "b", **nic})
    again_second, again_first = read({**LEAST, "name": "b", **nic}, {**LEAST, **nic})
    assert (first, second) == (again_first, again_second)
    assert first.nics[0].mac != second.nics[0].mac
    (elsewhere,) = virtual_machines([LEAST], where=WHERE, site="shop")
    assert elsewhere.uuid != first.uuid


def test_equal_start_orders_keep_the_order_of_the_list():
    machines = read(
        *({**LEAST, "name": name, "start_order": at} for name, at in [("c", 5), ("a", 9), ("b", 5), ("d", 1)])
    )
    assert [vm.name for vm in order(machines)] == ["d", "c", "b", "a"]


def test_disks_lie_in_the_machines_folder():
    assert disk_path("till", 1) == "/var/lib/edgewright/virtual-machines/till/disk1.img"
    assert disk_path("till", 1, runtime="k3s") == "/var/lib/edgewright/virtual-machines/till/disk1/disk.img"

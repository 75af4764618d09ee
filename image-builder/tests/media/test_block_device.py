from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright import block_device
from edgewright.block_device import BlockDevice, losses, refusals

from .conftest import MIB, sh

if TYPE_CHECKING:
    from collections.abc import Callable

GIB = 1024 * MIB
STICK = BlockDevice("sdb", "/dev/sdb", "disk", 16 * GIB, "Ultra Fit", "4C53", "usb", removable=True)
BUILT_IN = replace(STICK, name="nvme0n1", path="/dev/nvme0n1", serial="S4EV", transport="nvme", removable=False)
PART = BlockDevice("sdb1", "/dev/sdb1", "part", 8 * GIB, fstype="vfat", label="PHOTOS")


def on(device: BlockDevice, *children: BlockDevice) -> BlockDevice:
    return replace(device, children=children)


@pytest.mark.parametrize(
    ("device", "serial"),
    [
        pytest.param(STICK, None, id="a USB stick"),
        pytest.param(STICK, "4C53", id="a USB stick by its serial"),
        pytest.param(on(STICK, PART), None, id="a stick with an unmounted partition"),
        pytest.param(BUILT_IN, "S4EV", id="a built-in disk by its serial"),
        pytest.param(replace(STICK, type="loop", serial="", removable=False), None, id="a loop device"),
    ],
)
def test_is_accepted(device: BlockDevice, serial: str | None) -> None:
    assert refusals(device, need=4 * GIB, serial=serial) == []


LVM = BlockDevice("vg-data", "/dev/mapper/vg-data", "lvm", 8 * GIB)
REFUSED = [
    pytest.param(BUILT_IN, None, ["built in, not removable"], id="a built-in disk"),
    pytest.param(replace(BUILT_IN, serial=""), None, ["no serial number to be told by"], id="built in, without serial"),
    pytest.param(replace(BUILT_IN, serial=""), "", ["never overwritten"], id="an empty serial proves nothing"),
    pytest.param(BUILT_IN, "OTHER", ["does not match this disk"], id="the wrong serial"),
    pytest.param(STICK, "OTHER", ["does not match this disk"], id="the wrong serial of a stick"),
    pytest.param(PART, None, ["not a whole disk but of type part"], id="a partition"),
    pytest.param(replace(STICK, type="rom"), None, ["of type rom"], id="a DVD"),
    pytest.param(replace(STICK, read_only=True), None, ["write-protected"], id="write-protected"),
    pytest.param(replace(STICK, size=0), None, ["no medium"], id="an empty card reader"),
    pytest.param(replace(STICK, size=2 * GIB), None, ["too small", "at least 4.0 GiB"], id="too small"),
    pytest.param(replace(STICK, mounts=("/media/x",)), None, ["/dev/sdb: is mounted at /media/x"], id="mounted whole"),
    pytest.param(
        on(STICK, replace(PART, mounts=("/media/a", "/mnt"))),
        None,
        ["/dev/sdb1: is mounted at /media/a", "/dev/sdb1: is mounted at /mnt", "sudo umount /mnt"],
        id="a partition mounted twice",
    ),
    pytest.param(on(STICK, replace(PART, mounts=("[SWAP]",))), None, ["this system runs from ([SWAP])"], id="swap"),
    pytest.param(
        on(BUILT_IN, replace(PART, mounts=("/boot/efi",)), on(replace(PART, mounts=()), replace(LVM, mounts=("/",)))),
        "S4EV",
        ["a disk that this system runs from (/, /boot/efi)"],
        id="the system disk, whatever its serial",
    ),
    pytest.param(
        on(STICK, on(PART, LVM)), None, ["/dev/mapper/vg-data: lies on this disk and is active (lvm)"], id="LVM"
    ),
    pytest.param(on(STICK, replace(LVM, type="raid1")), None, ["is active (raid1)"], id="RAID on the whole disk"),
    pytest.param(on(STICK, on(PART, replace(LVM, type="crypt"))), None, ["is active (crypt)"], id="an open encryption"),
    pytest.param(
        on(replace(BUILT_IN, size=GIB, read_only=True), replace(PART, mounts=("/media/a",))),
        "OTHER",
        ["write-protected", "too small", "is mounted at", "does not match this disk"],
        id="everything at once",
    ),
]


@pytest.mark.parametrize(("device", "serial", "says"), REFUSED)
def test_is_refused_and_every_reason_is_given(device: BlockDevice, serial: str | None, says: list[str]) -> None:
    text = "\n".join(str(problem) for problem in refusals(device, need=4 * GIB, serial=serial))
    for part in says:
        assert part in text


def test_what_would_be_lost_is_listed() -> None:
    assert losses(on(STICK, PART)) == ["/dev/sdb1  8.0 GiB  vfat  “PHOTOS”"]
    assert losses(replace(STICK, fstype="ext4")) == ["/dev/sdb  16.0 GiB  ext4"]
    assert losses(STICK) == []


def test_the_disk_under_this_very_test_is_refused() -> None:
    source = Path(sh("findmnt", "--noheadings", "--output", "SOURCE", "--target", "/").split("[")[0].strip())
    if not source.is_block_device():
        pytest.skip(f"the root file system is not on a block device but on {source}")
    found = refusals(block_device.read(source), need=1)
    assert any("this system runs from" in problem.what for problem in found)


def test_lsblk_is_understood(loop: Callable[[int], Path]) -> None:
    device = loop(64 * MIB)
    sh("mke2fs", "-q", "-t", "ext4", "-L", "PAST", device)
    found = block_device.read(device)
    assert (found.path, found.type, found.size, found.mounts) == (str(device), "loop", 64 * MIB, ())
    assert found.fstype in ("ext4", "")  # lsblk knows it from udev, which a container lacks


@pytest.mark.parametrize(("name", "says"), [("nothing", "no such device"), ("file", "not a block device")])
def test_what_is_not_a_device_is_refused(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeError, match=says):
        block_device.read(tmp_path / name)

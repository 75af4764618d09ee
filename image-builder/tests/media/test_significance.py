from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgewright import blockmap, significance

from .conftest import MIB, Layout, need, sh

if TYPE_CHECKING:
    from pathlib import Path


def _restored(image: Path, target: Path) -> Path:
    """What a medium that was full of ones holds after only the mapped blocks were written to it."""
    found = blockmap.make(image, significance.meant(image))
    with target.open("w+b") as stream, image.open("rb") as source:
        for _ in range(found.image_size // MIB):
            stream.write(b"\xff" * MIB)
        for offset, size in found.extents():
            source.seek(offset)
            stream.seek(offset)
            stream.write(source.read(size))
    return target


def _part(disk: Path, offset: int, size: int, target: Path) -> Path:
    with disk.open("rb") as stream:
        stream.seek(offset)
        target.write_bytes(stream.read(size))
    return target


def test_every_file_system_is_sound_on_a_medium_that_was_full_of_ones(
    image: Path, layout: Layout, tmp_path: Path
) -> None:
    need("fsck.vfat", "fsck.erofs", "e2fsck", "debugfs", "mtype")
    disk = _restored(image, tmp_path / "disk")
    sh("sfdisk", "--verify", disk)
    esp = _part(disk, layout.esp, 40 * MIB, tmp_path / "esp")
    sh("fsck.vfat", "-n", esp)
    root = _part(disk, layout.root, 16 * MIB, tmp_path / "root")
    sh("fsck.erofs", root)
    state = _part(disk, layout.state, 24 * MIB, tmp_path / "state")
    sh("e2fsck", "-fn", state)
    sh("debugfs", "-R", f"dump /etc/zeros {tmp_path / 'zeros'}", state)
    expected = b"begin" + bytes(300_000) + b"end"
    assert (tmp_path / "zeros").read_bytes() == expected
    sh("mcopy", "-i", esp, "::/EFI/zeros", tmp_path / "zeros-esp")
    assert (tmp_path / "zeros-esp").read_bytes() == expected


def test_a_map_by_zeros_alone_would_not_have_been_enough(image: Path, layout: Layout) -> None:
    """The reason for this module: without it, free entries of the FAT would be what the medium held before."""
    plain = {block for part in blockmap.make(image).ranges for block in range(part.first, part.last + 1)}
    meant = blockmap.make(image, significance.meant(image))
    both = {block for part in meant.ranges for block in range(part.first, part.last + 1)}
    fat = range((layout.esp + 32 * 512) // 4096, (layout.esp + 300 * 1024) // 4096)
    assert any(block not in plain for block in fat)
    assert all(block in both for block in fat)


def test_an_empty_slot_does_not_look_like_what_was_there_before(image: Path, layout: Layout, tmp_path: Path) -> None:
    disk = _restored(image, tmp_path / "disk")
    slot = _part(disk, layout.empty, 16 * MIB, tmp_path / "slot").read_bytes()
    assert slot[: 128 * 1024] == bytes(128 * 1024)
    assert slot[MIB:] == b"\xff" * (15 * MIB), "the rest of an empty slot need not be written"


def test_free_space_is_left_out(image: Path, layout: Layout) -> None:
    """Compared with what dumpe2fs and minfo say, on the whole."""
    extents = significance.meant(image)
    state = sum(size for offset, size in extents if offset >= layout.state and offset < layout.state + 24 * MIB)
    text = sh("dumpe2fs", "-h", f"{image}?offset={layout.state}")
    free = int(re.findall(r"Free blocks:\s+(\d+)", text)[0]) * int(re.findall(r"Block size:\s+(\d+)", text)[0])
    assert state == 24 * MIB - free


def test_an_unknown_file_system_is_taken_whole(tmp_path: Path) -> None:
    need("sfdisk")
    disk = tmp_path / "disk"
    with disk.open("wb") as stream:
        stream.truncate(32 * MIB)
    sh("sfdisk", "--quiet", disk, data=b"label: gpt\nstart=2048, size=8MiB, type=L\n")
    with disk.open("r+b") as stream:
        stream.seek(3 * MIB)
        stream.write(b"strange")
    assert (MIB, 8 * MIB) in significance.meant(disk)


def test_an_image_without_a_partition_table_is_taken_whole(tmp_path: Path) -> None:
    need("sfdisk")
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(MIB))
    assert significance.meant(disk) == [(0, MIB)]

"""A root that is not the one that its kernel names does not come up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .booted_node import MINUTE, RECOGNISED
from .disk_image import boot_entries, flip_byte, partition

if TYPE_CHECKING:
    from .conftest import Build, MakeNode

# Where erofs keeps its superblock, from the partition's beginning (fs/erofs/erofs_fs.h, EROFS_SUPER_OFFSET).
SUPERBLOCK = 1024


def test_verity_refuses_a_flipped_byte_and_the_boot_counts_as_a_failed_try(demo: Build, make_node: MakeNode) -> None:
    node = make_node("flipped-byte", demo.image, demo.host("till-01"), reboots=False, patient=False)
    flip_byte(node.disk, partition(node.disk, "root-a").start + SUPERBLOCK)
    node.start()
    node.machine.wait_for_console(r"device-mapper: verity: .*data block 0 is corrupted", 8 * MINUTE)
    # The initrd gives up and boots again, and a machine that may not reboot goes off.
    assert node.machine.wait(8 * MINUTE) is not None, "the machine neither came up nor booted again"
    console = node.machine.console_text()
    assert "login:" not in console
    assert RECOGNISED.partition("(")[0] not in console
    assert boot_entries(node.disk) == [f"edgewright_{demo.manifest['version']}+4-1.efi"]

"""The disk: ESP, two slots for roots, state; by systemd-repart, offline, without a loop device."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.paths import node_dir
from edgewright.stages.root_image import RootImage, stable_uuid
from edgewright.stages.stage import Context, Stage, digest_of_files
from edgewright.tools.sandbox import as_root, bind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.lockfile import Lock
    from edgewright.stages.container_disks import ContainerDisk
    from edgewright.stages.guests import GuestDisk
    from edgewright.stages.install import Install
    from edgewright.stages.tools_tree import ToolsTree
    from edgewright.stages.uki import Uki
    from edgewright.store import Store

MIB = 1 << 20
# repart makes FAT with 4 KiB clusters; below 512 MiB that is fewer than 65 525 of them, and EDK2 then takes the FAT32
# for a FAT16 and finds nothing.
ESP_SIZE = 512 * MIB
# In bytes. Left alone, repart makes file systems for disks of 4096: no firmware or Windows is bound to read such a FAT
# on a disk of 512, and people write the node file to it.
SECTOR_SIZE = 512
# How many boots a new image gets to become healthy (systemd.io/AUTOMATIC_BOOT_ASSESSMENT). Power cuts use up tries too.
TRIES = 5


@dataclass(frozen=True)
class StateFile:
    """One file that the image brings along on its state partition.

    Attributes:
        path: where to, below /var.
        artifact: the locked source it comes from, or
        guest: the stage that makes it, as its file ``disk``.
        size: bytes that a disk is to have at least; ``None`` leaves it as it is.
        format: what a disk's bytes are, ``raw`` or ``qcow2``.
        owner: number of the user and group it belongs to.
    """

    path: str
    artifact: str = ""
    guest: GuestDisk | ContainerDisk | None = None
    size: int | None = None
    format: str = "raw"
    owner: int = 0


@dataclass
class Disk(Stage):
    """``<out>/disk.raw``: the sparse GPT image, and ``<out>/partitions.json``: repart's own account of it."""

    root: RootImage
    uki: Uki
    install: Install
    tools: ToolsTree
    lock: Lock
    store: Store
    files: tuple[StateFile, ...]
    root_slot: int | None = None
    state_size: int | None = None
    guests: tuple[GuestDisk | ContainerDisk, ...] = field(default=())

    name: ClassVar[str] = "disk"
    title: ClassVar[str] = "Disk image (systemd-repart)"

    def needs(self) -> tuple[Stage, ...]:
        """What is on the disk, and the tools."""
        return (self.root, self.uki, self.install, *self.guests, self.tools)

    def inputs(self) -> Mapping[str, Any]:
        """The partition table and the files of the state partition."""
        return {
            "repart": digest_of_files(node_dir() / "repart.d"),
            "loader": digest_of_files(node_dir() / "esp"),
            "files": [
                [file.path, file.artifact, file.guest.key() if file.guest else "", file.size, file.format, file.owner]
                for file in self.files
            ],
            "digests": [self.lock.artifact(file.artifact).digest for file in self.files if file.artifact],
            "sizes": [ESP_SIZE, SECTOR_SIZE, self.root_slot, self.state_size],
            "tries": TRIES,
        }

    def run(self, context: Context, out: Path) -> None:
        """Lay out the contents of each partition and let repart write them."""
        scratch = out.parent
        esp = self._esp(context, scratch / "esp")
        state = self._state(context, scratch / "state")
        definitions = self._definitions(context, scratch / "repart.d", state)
        sandbox = self.tools.sandbox(
            context,
            bind(esp, "/run/esp"),
            bind(state, "/run/state"),
            bind(definitions, "/run/repart.d"),
            bind(self.root.output(context.cache), "/run/root"),
            bind(out, "/run/out"),
        )
        seed = stable_uuid(self.key(), "disk")
        # Without hash_seed mke2fs picks a random one for the hashes of folders (mke2fs(8)).
        ext4 = f"-E hash_seed={stable_uuid(self.key(), 'ext4')}"
        report = sandbox.run(
            [
                "env",
                f"SYSTEMD_REPART_MKFS_OPTIONS_EXT4={ext4}",
                "systemd-repart",
                "--definitions=/run/repart.d",
                "--empty=create",
                "--size=auto",
                "--dry-run=no",
                "--offline=yes",
                f"--sector-size={SECTOR_SIZE}",
                f"--seed={seed}",
                "--json=short",
                "/run/out/disk.raw",
            ],
            log=context.log,
        )
        # repart reserves the space of every partition; a hole is not worth a block on the builder's disk.
        sandbox.run(["fallocate", "--dig-holes", "/run/out/disk.raw"], log=context.log)
        (out / "partitions.json").write_bytes(report)

    def _esp(self, context: Context, esp: Path) -> Path:
        """Lay out the ESP: systemd-boot, its settings, and the UKI with its tries in the name."""
        kernels = esp / "EFI" / "Linux"
        kernels.mkdir(parents=True)
        loader = self.tools.output(context.cache) / "tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
        for name in ("EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"):
            target = esp / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(loader.read_bytes())
        uki = self.uki.output(context.cache) / "edgewright.efi"
        (kernels / f"edgewright_{self.root.version}+{TRIES}.efi").hardlink_to(uki)
        as_root(["cp", "-R", f"{node_dir() / 'esp'}/.", esp], log=context.log)
        (esp / "edgewright").mkdir(exist_ok=True)
        stamp = 'find "$1" -print0 | xargs -0 touch -h -d "@$2"'
        as_root(["sh", "-c", stamp, "stamp", esp, str(context.epoch)], log=context.log)
        return esp

    def _state(self, context: Context, state: Path) -> Path:
        """Lay out the state partition: the installed root's /var, and the site's models and guest disks."""
        state.mkdir()
        as_root(["cp", "-a", f"{self.install.output(context.cache) / 'tree' / 'var'}/.", state], log=context.log)
        for file in self.files:
            source = (
                file.guest.output(context.cache) / "disk"
                if file.guest
                else self.store.path(self.lock.artifact(file.artifact).digest)
            )
            script = 'mkdir -p "${2%/*}" && cp --sparse=always "$1" "$2" && chmod 0644 "$2" && chown "$3:$3" "$2"'
            as_root(["sh", "-c", script, "place", source, state / file.path, str(file.owner)], log=context.log)
            if file.size is not None:
                self._grow(context, state, file)
        stamp = 'find "$1" -newermt "@$2" -print0 | xargs -0 -r touch -h -d "@$2"'
        as_root(["sh", "-c", stamp, "stamp", state, str(context.epoch)], log=context.log)
        return state

    def _grow(self, context: Context, state: Path, file: StateFile) -> None:
        """Give a disk its declared size.

        Raises:
            EdgeError: it is larger already: cutting it would lose what the guest has there.
        """
        sandbox = self.tools.sandbox(context, bind(state, "/run/state"))
        disk = f"/run/state/{file.path}"
        told = sandbox.run(["qemu-img", "info", "--output=json", "-f", file.format, disk], log=context.log)
        size = int(json.loads(told)["virtual-size"])
        if size > (file.size or 0):
            raise EdgeError(
                Problem(
                    f"/var/{file.path}",
                    "the disk is larger than its declared size",
                    found=f"{size} bytes",
                    expected=f"at most {file.size} bytes",
                    remedy="Declare a larger size, or none.",
                )
            )
        sandbox.run(["qemu-img", "resize", "-q", "-f", file.format, disk, str(file.size)], log=context.log)

    def _definitions(self, context: Context, folder: Path, state: Path) -> Path:
        """Fill in the partition table of ``node/repart.d``."""
        root = self.root.output(context.cache)
        roothash = (root / "roothash").read_text(encoding="ascii").strip()
        data = (root / "root.erofs").stat().st_size
        hashes = (root / "root.verity").stat().st_size
        slot = self.root_slot or _headroom(data)
        used = int(as_root(["du", "-sB1", state]).split()[0])
        values = {
            "ESP_SIZE": ESP_SIZE,
            "ROOT_SIZE": slot,
            # One SHA-256 (32 bytes) for each block of 4 KiB, on every level: under 1/126 of the data, and a superblock.
            "VERITY_SIZE": max(_round_up(slot // 120 + MIB, MIB), _round_up(hashes, MIB)),
            # ext4's own structures, a journal, and room to start before the disk's end is reached.
            "STATE_SIZE": self.state_size or _round_up(used + used // 8 + 192 * MIB, 64 * MIB),
            # systemd-veritysetup-generator finds both partitions by the two halves of the root hash.
            "ROOT_UUID": _as_uuid(roothash[:32]),
            "VERITY_UUID": _as_uuid(roothash[-32:]),
        }
        folder.mkdir()
        for template in sorted((node_dir() / "repart.d").glob("*.conf")):
            text = template.read_text(encoding="utf-8")
            for key, value in values.items():
                text = text.replace(f"@{key}@", str(value))
            (folder / template.name).write_text(text, encoding="utf-8")
        return folder


def _as_uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def _headroom(size: int) -> int:
    """Return the size of a slot in bytes: the next version may be half as large again."""
    return _round_up(size + size // 2, 64 * MIB)

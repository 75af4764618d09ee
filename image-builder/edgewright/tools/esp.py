"""The EFI system partition of a disk or image, without mounting anything: sfdisk finds it, mtools opens it."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError

from edgewright.tools.process import ToolError, run
from edgewright.tools.qemu import find_program

ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"  # UEFI specification 2.10, table 5.7
_BLKFLSBUF = 0x1261  # linux/fs.h
# mtools' own checks look for floppy geometries, which a partition of a disk does not have.
_MTOOLS = {"MTOOLS_SKIP_CHECK": "1"}


class EspError(Exception):
    """There is no EFI system partition here, or it cannot be opened."""


@dataclass(frozen=True)
class Partition:
    """A partition of a GPT disk; ``start`` and ``size`` are in bytes."""

    number: int
    start: int
    size: int
    type: str
    uuid: str
    name: str


def partitions(disk: Path) -> list[Partition]:
    """Return the partitions of a disk or disk image, in the order of the table.

    Raises:
        EspError: no partition table.
        EdgeError: sfdisk is missing.
    """
    try:
        answer = run([find_program("sfdisk", "fdisk"), "--json", disk])
    except ToolError as error:
        raise EspError(f"{disk} has no partition table: {error.output}") from error
    table = json.loads(answer)["partitiontable"]
    sector = int(table.get("sectorsize", 512))
    return [
        Partition(
            number=number,
            start=int(part["start"]) * sector,
            size=int(part["size"]) * sector,
            type=str(part["type"]).upper(),
            uuid=str(part.get("uuid", "")).lower(),
            name=str(part.get("name", "")),
        )
        for number, part in enumerate(table.get("partitions", []), start=1)
    ]


def find(disk: Path) -> Partition:
    """Return the EFI system partition.

    Raises:
        EspError: there is none.
    """
    for partition in partitions(disk):
        if partition.type == ESP_TYPE:
            return partition
    raise EspError(f"{disk} has no EFI system partition")


def names(disk: Path, folder: str) -> list[str]:
    """Return the paths of what lies in ``folder`` of the ESP, sorted.

    Raises:
        EspError: no ESP, no such folder, or mtools is missing.
    """
    return sorted(_mtools(disk, "mdir", ["-b"], [f"::/{folder}"]).decode().split("\n"))[1:]


def read(disk: Path, path: str) -> bytes:
    """Return a file of the ESP; raises as ``names`` does."""
    return _mtools(disk, "mcopy", [], [f"::{path if path.startswith('/') else '/' + path}", "-"])


def write(disk: Path, path: str, content: bytes) -> None:
    """Write a file of the ESP, over an older one, making its folder first.

    Raises:
        EspError: no ESP, no room, or mtools is missing.
    """
    for folder in reversed(PurePosixPath(path).parents[:-1]):
        if not _has_folder(disk, folder):
            _mtools(disk, "mmd", [], [f"::/{folder}"])
    _mtools(disk, "mcopy", ["-o"], ["-", f"::/{path}"], content)


def remove_folder(disk: Path, path: str) -> None:
    """Delete a folder of the ESP with all that is in it, if it is there; raises as ``write`` does."""
    folders = [*reversed(PurePosixPath(path).parents[:-1]), PurePosixPath(path)]
    if all(_has_folder(disk, folder) for folder in folders):
        _mtools(disk, "mdeltree", [], [f"::/{path}"])


def settle(disk: Path) -> None:
    """Wait until the medium itself has what was written, and forget the kernel's copy of it: reading then reads it."""
    with disk.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if disk.is_block_device() and os.geteuid() == 0:
            fcntl.ioctl(stream, _BLKFLSBUF)


def read_unified_kernel(disk: Path) -> bytes:
    """Return the ESP's first unified kernel image (Boot Loader Specification, type 2: ``EFI/Linux/*.efi``).

    Raises:
        EspError: there is none.
    """
    kernels = [name for name in names(disk, "EFI/Linux") if name.lower().endswith(".efi")]
    if not kernels:
        raise EspError(f"{disk} has no unified kernel image")
    return read(disk, kernels[0].removeprefix("::"))


def _has_folder(disk: Path, folder: PurePosixPath) -> bool:
    """Tell whether the folder is there; the one that it lies in must be."""
    above = "" if folder.parent.name == "" else str(folder.parent)
    return f"::/{folder}/" in _mtools(disk, "mdir", ["-b"], [f"::/{above}"]).decode().splitlines()


def _mtools(disk: Path, program: str, options: list[str], operands: list[str], content: bytes | None = None) -> bytes:
    place = f"{disk}@@{find(disk).start}"
    try:
        return run([find_program(program, "mtools"), "-i", place, *options, *operands], input=content, env=_MTOOLS)
    except ToolError as error:
        raise EspError(f"{program} on the EFI system partition of {disk}: {error.output}") from error
    except EdgeError as error:
        raise EspError(str(error)) from error

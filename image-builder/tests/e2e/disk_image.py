"""Disk images looked into with sfdisk, mtools and friends: programs that had no part in making them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
ROOT_X86_64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
VERITY_X86_64 = "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5"
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
_ENVIRONMENT = {
    **os.environ,
    "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
    "LC_ALL": "C.UTF-8",
    "MTOOLS_SKIP_CHECK": "1",
}


def run(*words: str | Path, data: bytes | None = None, timeout: float | None = None) -> str:
    """Run a program and return what it says on both streams; its failure is the test's."""
    done = attempt(*words, data=data, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: exit status {done.returncode}\n{done.stdout}"
    return done.stdout


def attempt(
    *words: str | Path, data: bytes | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program that may fail."""
    done = subprocess.run(
        [str(word) for word in words],
        input=data if data is not None else b"",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_ENVIRONMENT,
        timeout=timeout,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(errors="replace"))


@dataclass(frozen=True)
class Partition:
    """A partition of a GPT disk; ``start`` and ``size`` are in bytes."""

    start: int
    size: int
    type: str
    uuid: str
    name: str


def partitions(disk: Path) -> list[Partition]:
    """Return the partitions in the order of the table."""
    table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]
    assert table["label"] == "gpt"
    sector = table["sectorsize"]
    return [
        Partition(part["start"] * sector, part["size"] * sector, part["type"], part["uuid"], part.get("name", ""))
        for part in table["partitions"]
    ]


def partition(disk: Path, name: str) -> Partition:
    """Return the one partition with this label."""
    (found,) = [part for part in partitions(disk) if part.name == name]
    return found


def extract(disk: Path, part: Partition, target: Path) -> Path:
    """Copy a partition's bytes to a sparse file of its size."""
    run(
        *("dd", f"if={disk}", f"of={target}", "bs=1M", "conv=sparse", "status=none"),
        *("iflag=skip_bytes,count_bytes", f"skip={part.start}", f"count={part.size}"),
    )
    with target.open("r+b") as stream:
        stream.truncate(part.size)
    return target


def flip_byte(file: Path, offset: int) -> None:
    """Invert one byte."""
    with file.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ 0xFF]))


def boot_entries(disk: Path) -> list[str]:
    """Return the names of the unified kernel images on the ESP, tries in their names included."""
    listing = run("mdir", "-b", "-i", f"{disk}@@{partition(disk, 'esp').start}", "::/EFI/Linux")
    return sorted(line.rpartition("/")[2] for line in listing.splitlines() if line.lower().endswith(".efi"))


def copy_in(disk: Path, path: str, file: Path) -> None:
    """Put a file on the ESP."""
    run("mcopy", "-o", "-i", f"{disk}@@{partition(disk, 'esp').start}", file, f"::/{path}")


def copy_out(disk: Path, path: str, file: Path) -> Path:
    """Get a file from the ESP."""
    run("mcopy", "-o", "-i", f"{disk}@@{partition(disk, 'esp').start}", f"::/{path}", file)
    return file


def sections(uki: Path, folder: Path, *names: str) -> dict[str, bytes]:
    """Return sections of a unified kernel image, taken out by binutils."""
    content = {}
    for name in names:
        file = folder / f"section{name}"
        run("objcopy", "-O", "binary", "--only-section", name, uki, file)
        content[name] = file.read_bytes()
    return content

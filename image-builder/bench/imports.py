"""Import of a sparse VMDK, as OVF packages have it, beside ``qemu-img convert`` alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.edgewright.edge.plugins.module_utils.medium import flush
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import GIB, MIB
from bench.figures import NotMeasuredError, Row
from edgewright.paths import project_root

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.workplace import Workplace

_VIRTUAL = 10 * GIB
_REAL = 2 * GIB
_ROUNDS = 7
_LIMIT = 1.15
_OVF = """<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
<References><File ovf:id="f" ovf:href="disk.vmdk"/></References>
<DiskSection><Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="{capacity}"/></DiskSection>
<VirtualSystem ovf:id="bench"><VirtualHardwareSection>
<Item><InstanceID>1</InstanceID><ResourceType>4</ResourceType><AllocationUnits>byte * 2^20</AllocationUnits>
<VirtualQuantity>1024</VirtualQuantity></Item>
<Item><InstanceID>2</InstanceID><ResourceType>17</ResourceType><HostResource>ovf:/disk/d</HostResource></Item>
</VirtualHardwareSection></VirtualSystem></Envelope>
"""


def imports(place: Workplace, *, virtual: int = _VIRTUAL, real: int = _REAL, rounds: int = _ROUNDS) -> list[Row]:
    """Measure whole processes in turns: the module, and qemu-img.

    Args:
        place: has the log.
        virtual: bytes the guest sees.
        real: bytes of content.
        rounds: how often each is measured; the medians count.

    Raises:
        NotMeasuredError: there is too little space.
    """
    with tempfile.TemporaryDirectory(prefix="import-", dir=place.cache.root) as scratch:
        folder = Path(scratch)
        if shutil.disk_usage(folder).free < 4 * real:
            raise NotMeasuredError(f"too little space in {folder.parent}: four times {real // MIB} MiB are needed")
        with place.reporter.step(f"make a VMDK of {virtual // GIB} GiB with {real // MIB} MiB in it"):
            _package(folder, virtual, real)
        # What is not counted comes first: the medium still has the package to write.
        disk, alone = folder / "disks" / "bench" / "disk0.qcow2", folder / "alone" / "disk0.qcow2"
        turns = [(_timed(place, _import, disk), _timed(place, _convert, alone)) for _ in range(rounds + 1)][1:]
        for made in (disk, alone):
            compare = ["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2"]
            subprocess.run([*compare, folder / "disk.raw", made], check=True)
    ours = statistics.median(mine.done for mine, _ in turns)
    theirs = statistics.median(other.done for _, other in turns)
    kept = statistics.median(other.kept for _, other in turns)
    note = (
        f"A streamOptimized VMDK of {virtual / GIB:g} GiB with {real / GIB:g} GiB of content, half of it compressible, "
        f"to qcow2; the medians of {rounds}, in turns. The import is the whole module: reads the OVF, looks into the "
        "disk, takes SHA-256 of the source, and waits until the disk is on the medium, which qemu-img alone does not."
    )
    return [
        Row(
            "Import of a sparse VMDK",
            ours,
            "s",
            other=theirs,
            than="qemu-img convert",
            limit=_LIMIT,
            limited="ratio",
            note=note,
        ),
        Row(
            "Import of a sparse VMDK, both to the medium",
            ours,
            "s",
            other=kept,
            than="qemu-img convert, then fsync",
            note=note,
        ),
    ]


class _Taken(NamedTuple):
    """Seconds until a method was done, and until its disk was on the medium."""

    done: float
    kept: float


def _timed(place: Workplace, method: Callable[[Path], None], disk: Path) -> _Taken:
    shutil.rmtree(disk.parent, ignore_errors=True)  # that takes some time too
    os.sync()
    with place.reporter.step(method.__name__.strip("_")):
        began = time.monotonic()
        method(disk)
        done = time.monotonic() - began
        flush(disk)
        return _Taken(done, time.monotonic() - began)


def _package(folder: Path, virtual: int, real: int) -> None:
    dice = random.Random(1)  # noqa: S311 (content, the same in every run)
    raw = folder / "disk.raw"
    step = virtual // (real // MIB) // 4096 * 4096
    with raw.open("wb") as file:
        file.truncate(virtual)
        for number in range(real // MIB):
            file.seek(number * step)
            file.write(dice.randbytes(MIB // 2) + bytes([number % 251 + 1]) * (MIB // 2))
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run([*command, str(raw), str(folder / "disk.vmdk")], check=True)
    (folder / "bench.ovf").write_text(_OVF.format(capacity=virtual))


def _import(disk: Path) -> None:
    package = disk.parents[2] / "bench.ovf"
    arguments = {"ANSIBLE_MODULE_ARGS": {"src": str(package), "dest": str(disk.parents[1])}}
    command = [sys.executable, "-m", "ansible_collections.edgewright.edge.plugins.modules.vm_import"]
    environment = {**os.environ, "PYTHONPATH": str(project_root() / "collections")}
    done = subprocess.run(
        command, input=json.dumps(arguments), capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"vm_import: {done.stdout}{done.stderr}")


def _convert(disk: Path) -> None:
    source = disk.parents[1] / "disk.vmdk"
    disk.parent.mkdir()
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "qcow2", source, disk], check=True)

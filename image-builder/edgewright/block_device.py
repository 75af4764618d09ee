"""The disks of this machine, and which of them may be overwritten: facts from lsblk(8), decisions in pure functions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems

from edgewright.reporter import amount
from edgewright.tools.process import ToolError, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_COLUMNS = "NAME,PATH,TYPE,SIZE,MODEL,SERIAL,TRAN,RM,HOTPLUG,RO,FSTYPE,LABEL,PARTLABEL,MOUNTPOINTS,LOG-SEC"
# Where a running system lives. A disk that holds one of these is the system's, whatever else it is.
_SYSTEM = ("/", "/boot", "/boot/efi", "/efi", "/usr", "/var", "/home", "/etc", "/opt", "/srv")
# lsblk types that are whole media. Everything else is a part of one, or lies on one.
_WHOLE = ("disk", "loop")


@dataclass(frozen=True)
class BlockDevice:
    """A disk, a partition, or what lies on one (LVM, RAID, encryption); ``size`` in bytes, ``sector`` in bytes.

    ``mounts`` has ``[SWAP]`` for swap space in use. ``children`` are partitions and holders.
    """

    name: str
    path: str
    type: str
    size: int
    model: str = ""
    serial: str = ""
    transport: str = ""
    removable: bool = False
    read_only: bool = False
    sector: int = 512
    fstype: str = ""
    label: str = ""
    mounts: tuple[str, ...] = ()
    children: tuple[BlockDevice, ...] = field(default=())

    def tree(self) -> Iterator[BlockDevice]:
        """Yield this device and everything on it."""
        yield self
        for child in self.children:
            yield from child.tree()

    def describe(self) -> str:
        """Return one line for people: model, serial, size."""
        words = [
            self.model or "unknown model",
            f"serial {self.serial}" if self.serial else "no serial",
            amount(self.size),
        ]
        return ", ".join([*words, self.transport] if self.transport else words)


def from_lsblk(data: Mapping[str, Any]) -> BlockDevice:
    """Turn one element of ``lsblk --json --bytes`` into a BlockDevice."""

    def text(key: str) -> str:
        return str(data.get(key) or "").strip()

    return BlockDevice(
        name=text("name"),
        path=text("path"),
        type=text("type"),
        size=int(data.get("size") or 0),
        model=text("model"),
        serial=text("serial"),
        transport=text("tran"),
        # A USB hard disk does not call itself removable, but it can be pulled.
        removable=bool(data.get("rm")) or bool(data.get("hotplug")),
        read_only=bool(data.get("ro")),
        sector=int(data.get("log-sec") or 512),
        fstype=text("fstype"),
        label=text("label") or text("partlabel"),
        mounts=tuple(str(mount) for mount in data.get("mountpoints") or () if mount),
        children=tuple(from_lsblk(child) for child in data.get("children") or ()),
    )


def read(path: Path) -> BlockDevice:
    """Ask the running system about a device.

    Raises:
        EdgeError: there is no such device, or it is not a block device.
    """
    where = str(path)
    if not path.exists():
        remedy = "See which disks there are: lsblk -d -o NAME,SIZE,MODEL,SERIAL."
        raise EdgeError(Problem(where, "no such device", "", "a disk, such as /dev/sdb", remedy))
    if not path.is_block_device():
        raise EdgeError(
            Problem(where, "not a block device", "", "a disk, such as /dev/sdb", "To write a file, add --to-file.")
        )
    try:
        answer = run(["lsblk", "--json", "--bytes", "--output", _COLUMNS, path.resolve()])
    except ToolError as error:
        raise EdgeError(Problem(where, f"lsblk knows nothing of this device: {error.output}")) from error
    return from_lsblk(json.loads(answer)["blockdevices"][0])


def refusals(device: BlockDevice, *, need: int, serial: str | None = None) -> list[Problem]:
    """Return every reason not to overwrite ``device`` with ``need`` bytes; empty when it may be done.

    ``serial`` is the serial number that the user gave: it must match, and is what a disk that cannot be pulled needs.
    """
    problems = Problems()
    add = problems.add
    if device.type not in _WHOLE:
        add(device.path, f"is not a whole disk but of type {device.type}", remedy="Give the disk, such as /dev/sdb.")
    if device.read_only:
        add(device.path, "is write-protected", remedy="Move its write-protection switch, or use another medium.")
    if device.size == 0:
        add(device.path, "has no medium in it", remedy="Insert one.")
    elif device.size < need:
        add(device.path, "is too small for the image", found=amount(device.size), expected=f"at least {amount(need)}")
    _in_use(device, problems)
    if serial is not None and serial != device.serial:
        add("--serial", "does not match this disk", found=device.serial or "a disk without a serial", expected=serial)
    if not serial and not device.removable and device.type == "disk":
        remedy = f"If it really is the one, add --serial {device.serial or '<its serial>'}."
        if not device.serial:
            remedy = "It has no serial number to be told by, so it is never overwritten."
        add(device.path, "is built in, not removable", found=device.describe(), remedy=remedy)
    return problems.found


def _in_use(device: BlockDevice, problems: Problems) -> None:
    mounted = [(part, mount) for part in device.tree() for mount in part.mounts]
    system = sorted({mount for _, mount in mounted if mount in _SYSTEM or mount == "[SWAP]"})
    if system:
        problems.add(
            device.path, f"is a disk that this system runs from ({', '.join(system)})", remedy="Choose another."
        )
    for part, mount in mounted:
        if mount not in system:
            problems.add(part.path, f"is mounted at {mount}", remedy=f"Unmount it: sudo umount {mount}.")
    for part in device.tree():
        if part is not device and part.type not in ("part", "disk") and not any(inner.mounts for inner in part.tree()):
            problems.add(part.path, f"lies on this disk and is active ({part.type})", remedy="Deactivate it first.")


def losses(device: BlockDevice) -> list[str]:
    """Return a line for everything that overwriting the device destroys."""
    return [
        f"{part.path}  {amount(part.size)}  {part.fstype or 'unknown content'}"
        + (f"  “{part.label}”" if part.label else "")
        for part in device.tree()
        if part is not device or part.fstype
    ]

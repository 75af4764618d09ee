"""A virtual machine that comes from another home: what the operator chooses, and the rules all sources share.

Rules are those of the two runtimes: libvirt's ``domain_xml`` here, and KubeVirt 1.9's admitters (``kubevirt_machine``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils import kubevirt_machine
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain import domain_xml
from ansible_collections.edgewright.edge.plugins.module_utils.names import label, mac
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import GIB
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import NIC_MODELS, VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Mapping

SECTOR: Final = 512
_MOST_SOCKETS: Final = 64
_MOST_CORES: Final = 256
_IDE_ROOM: Final = 4


@dataclass(frozen=True)
class ImportOptions:
    """What the operator says about an import.

    Attributes:
        name: the machine's name on the site; empty takes the source's, as an RFC 1123 label.
        runtime: ``podman`` (libvirt) or ``k3s`` (KubeVirt).
        timezone: IANA name of what the guest's hardware clock shows; empty keeps what the source says, else UTC.
        networks: the site's network by the source's; one that is not in it is ``default``.
        virtio: whether the guest is known to have virtio drivers; its disks and NICs are virtio then.
        format: ``qcow2`` or ``raw``, of the disks that are made.
        folder: folder of the disks below the inventory's.
        system: which machine of a source that has several.
        memory: bytes, for a source that does not say.
        cpus: processors, for a source that does not say.
    """

    name: str = ""
    runtime: str = "podman"
    timezone: str = ""
    networks: Mapping[str, str] = field(default_factory=dict)
    virtio: bool = False
    format: str = "qcow2"
    folder: str = "disks"
    system: str = ""
    memory: int = 2 * GIB
    cpus: int = 2


@dataclass(frozen=True)
class SourceDisk:
    """Where a disk's content is.

    Attributes:
        file: path or name as the source has it; empty for a disk that begins empty.
        capacity: bytes the guest sees; ``None`` where only the file itself knows.
        format: image format as the source names it (``vmdk``, ``qcow2``, ``raw`` …); empty where it does not say.
        gzip: whether the file is compressed with gzip.
        chunk_size: bytes of each file but the last, where it is split into several; 0 where it is not.
        size: bytes of the file as it is in the package; ``None`` where the source does not say.
    """

    file: str
    capacity: int | None = None
    format: str = ""
    gzip: bool = False
    chunk_size: int = 0
    size: int | None = None


@dataclass(frozen=True)
class ImportedMachine:
    """What a source makes: the machine as ``edge_virtual_machines`` takes it, its disks' contents, and the report."""

    vm: dict[str, Any]
    disks: tuple[SourceDisk, ...]
    report: list[dict[str, str]]


def machine_name(found: str, options: ImportOptions, *, where: str) -> tuple[str, str]:
    """Return the machine's name, and why it is not the source's; nothing when it is.

    Raises:
        EdgeError: the wished name is no label, or nothing of the found one can be in a label.
    """
    if options.name:
        try:
            name = label(options.name)
        except UnfitError as error:
            raise EdgeError(
                Problem("name", error.what, found=repr(options.name), expected=error.expected, remedy=error.remedy)
            ) from None
        return name, "" if name == found else f"it is {name} now, as you wished"
    name = re.sub(r"[^a-z0-9-]+", "-", found.lower())[:63].strip("-")
    if not name:
        raise EdgeError(Problem(where, "has no name that can be used", found=repr(found), remedy="Give one in 'name'."))
    return name, "" if name == found else f"{found!r} became {name}: names here are RFC 1123 labels"


def topology(count: int, cores_per_socket: int) -> tuple[dict[str, int], str]:
    """Return sockets, cores and threads whose product is ``count``, and why they are not the source's.

    Six processors of four to a socket are six sockets of one core: no socket is half full, and none is lost.
    """
    cores, why = max(1, cores_per_socket), ""
    if count % cores:
        why = f"{count} processors cannot be in sockets of {cores} cores: they are {count} sockets of one core"
        cores = 1
    if count // cores > _MOST_SOCKETS and count <= _MOST_CORES:
        cores, why = count, f"a machine has {_MOST_SOCKETS} sockets at most: all {count} processors are in one"
    return {"sockets": count // cores, "cores": cores, "threads": 1}, why


def disk_bus(found: str, options: ImportOptions, *, ide_before: int = 0, secure_boot: bool = False) -> tuple[str, str]:
    """Return the bus of a disk and why it is another one than the source's.

    Args:
        found: ``ide``, ``sata``, ``nvme``, ``usb``, ``virtio``, ``virtio-scsi``, or ``scsi`` for every other.
        options: the operator's.
        ide_before: how many disks on IDE there are already.
        secure_boot: whether the guest has it, which wants a machine without IDE.
    """
    if options.virtio:
        return "virtio", "" if found == "virtio" else f"{found} became virtio: you say that the guest has its drivers"
    if found == "ide":
        if options.runtime == "k3s":
            return "sata", (
                "KubeVirt has no IDE, so it is on SATA (AHCI): Linux and Windows Vista and later have its driver; put "
                "one into an older guest first, or it stops with 0x7B; or run it with 'edge_runtime: podman', on IDE"
            )
        if secure_boot:
            return "sata", "secure boot wants machine q35, which has no IDE"
        return ("ide", "") if ide_before < _IDE_ROOM else ("sata", f"IDE has room for {_IDE_ROOM} disks")
    if found == "virtio-scsi":
        return "scsi", "as virtio-scsi, which it was"
    if found in {"sata", "usb", "virtio"}:
        return found, ""
    return "sata", (
        f"{found} became sata: no runtime has this controller, and AHCI's driver is in most guests; "
        "if it does not boot, put virtio drivers into it and import it with 'virtio'"
    )


def nic_model(found: str, options: ImportOptions, *, board: str) -> tuple[str, str]:
    """Return the model of a network card, and why it is another one than the source's; ``found`` in any case."""
    name = found.lower()
    if options.virtio:
        return "virtio", "" if name == "virtio" else f"{found} became virtio: you say that the guest has its drivers"
    model, why = name, ""
    if name.startswith("virtio"):
        model, why = "virtio", "" if name == "virtio" else f"{found} became virtio"
    elif name.startswith(("pcnet", "vlance", "flexible", "ne2k")) or not name:
        model = "rtl8139"
        why = f"{found or 'no model'} became rtl8139: guests of its time have the driver, both runtimes the card"
    elif name.startswith(("i8254", "82540", "82545", "82543")):
        model, why = "e1000", f"{found} became e1000, the same family"
    elif name not in NIC_MODELS:
        model = "e1000e"
        why = f"{found} became e1000e: no runtime has the card, and virtio only works where its driver is known to be"
    if model == "e1000e" and board == "pc":
        why = f"{found} became e1000: machine pc has no PCI Express"
        model = "e1000"
    return model, why


def usable_mac(found: str, taken: set[str]) -> tuple[str, str]:
    """Return the address of a card, or nothing and why; adds it to ``taken``."""
    derived = "one is derived from the site's and the machine's name"
    try:
        address = mac(re.sub(r"(?i)^([0-9a-f]{2})" + r"([0-9a-f]{2})" * 5 + "$", r"\1:\2:\3:\4:\5:\6", found))
    except UnfitError as error:
        return "", f"it {error.what}: {derived}"
    if address in taken:
        return "", f"another card has it already: {derived}"
    if address.startswith("fe:"):
        return "", f"libvirt keeps addresses that begin with fe: for itself: {derived}"
    taken.add(address)
    return address, "" if address == found.lower() else "written with colons"


def clock(windows: bool, local: bool, options: ImportOptions) -> tuple[str, str]:
    """Return the time zone of the hardware clock, and why it needs the operator's eye.

    Args:
        windows: whether the guest is Windows, whose clock shows local time.
        local: whether the source says that the clock shows local time.
        options: the operator's.
    """
    if options.timezone:
        return options.timezone, f"the hardware clock shows {options.timezone}, as you wished"
    if local or windows:
        who = "the source's clock shows local time" if local else "Windows takes the hardware clock for local time"
        return "UTC", f"{who}, and nothing says which: it is UTC now; give 'timezone' as Europe/Berlin"
    return "UTC", ""


def whole_sectors(capacity: int) -> int:
    """Return a capacity rounded up to sectors of 512 bytes."""
    return -(-capacity // SECTOR) * SECTOR


def refusals(vm: Mapping[str, Any], options: ImportOptions) -> list[str]:
    """Return what the runtime has against a machine, each with its remedy, as sentences."""
    try:
        machine = VirtualMachine.from_inventory(vm, where=str(vm["name"]), site="import")
    except EdgeError as error:
        return [str(problem) for problem in error.problems]
    if options.runtime == "k3s":
        return [str(problem) for problem in kubevirt_machine.refusals(machine, where=machine.name)]
    try:
        domain_xml(machine, virtualization="kvm")
    except EdgeError as error:
        return [str(problem) for problem in error.problems]
    return []


def checked(vm: dict[str, Any], *, where: str) -> dict[str, Any]:
    """Return the machine if the inventory would take it.

    Raises:
        EdgeError: all of what it would not take, with paths below ``where``.
    """
    problems = Problems()
    with problems.collecting():
        VirtualMachine.from_inventory(vm, where=where, site="import")
    problems.raise_if_any()
    return vm

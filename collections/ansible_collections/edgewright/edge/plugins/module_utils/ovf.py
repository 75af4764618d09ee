"""An OVF envelope (DSP0243 1.x and 2.x), as VMware and VirtualBox write it: files, disks, networks and machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.allocation_units import bytes_in_unit
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.import_report import local_name
from ansible_collections.edgewright.edge.plugins.module_utils.ova_archive import plain_name
from ansible_collections.edgewright.edge.plugins.module_utils.xml_document import (
    attribute,
    child,
    children,
    parse,
    text,
)

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

_ITEMS = ("Item", "StorageItem", "EthernetPortItem")
_LARGEST = 2**63


@dataclass(frozen=True)
class OvfFile:
    """A file of the package: its name, bytes if told, whether it is compressed with gzip, bytes of a chunk or 0."""

    element: ET.Element
    href: str
    size: int | None
    gzip: bool
    chunk_size: int


@dataclass(frozen=True)
class OvfDisk:
    """A disk: bytes the guest sees, and its file; a disk without one begins empty."""

    element: ET.Element
    file: OvfFile | None
    capacity: int


@dataclass(frozen=True)
class Envelope:
    """What an envelope declares, by its identifiers; ``systems`` are its machines in order."""

    root: ET.Element
    files: dict[str, OvfFile]
    disks: dict[str, OvfDisk]
    systems: tuple[ET.Element, ...]
    configuration: str


def read_envelope(data: bytes, *, where: str) -> Envelope:
    """Read an ``.ovf`` file.

    Raises:
        EdgeError: no envelope, or all of the files and disks that cannot be used.
    """
    root = parse(data, where=where)
    if local_name(root.tag) != "Envelope":
        raise EdgeError(Problem(where, "is not an OVF envelope", found=f"<{local_name(root.tag)}>"))
    problems = Problems()
    files: dict[str, OvfFile] = {}
    for element in children(child(root, "References"), "File"):
        with problems.collecting():
            files[attribute(element, "id")] = _file(element, where)
    disks: dict[str, OvfDisk] = {}
    for section in ("DiskSection", "Section"):
        for element in children(child(root, section), "Disk"):
            with problems.collecting():
                disks[attribute(element, "diskId")] = _disk(element, files, where)
    problems.raise_if_any()
    systems = tuple(element for element in root.iter() if local_name(element.tag) == "VirtualSystem")
    systems = systems or tuple(
        element
        for element in children(root, "Content")  # OVF 0.9
        if "VirtualSystem" in attribute(element, "type")
    )
    configurations = children(child(root, "DeploymentOptionSection"), "Configuration")
    default = next((each for each in configurations if attribute(each, "default") in {"true", "1"}), None)
    default = default if default is not None else next(iter(configurations), None)
    return Envelope(root, files, disks, systems, attribute(default, "id"))


def chosen_system(envelope: Envelope, wanted: str, *, where: str) -> ET.Element:
    """Return the machine with the identifier ``wanted``, or the only one.

    Raises:
        EdgeError: there is none, or there are several and none was chosen.
    """
    known = [attribute(system, "id") for system in envelope.systems]
    if not known:
        raise EdgeError(Problem(where, "describes no virtual machine"))
    if not wanted and len(known) == 1:
        return envelope.systems[0]
    if wanted not in known:
        raise EdgeError(
            Problem(
                where,
                f"has no machine '{wanted}'" if wanted else "has several machines",
                expected=f"one of {', '.join(known)}",
                remedy="Name one in 'system', and import one after the other.",
            )
        )
    return envelope.systems[known.index(wanted)]


def section(parent: ET.Element, name: str) -> ET.Element | None:
    """Return a section of an envelope or a machine; OVF 0.9 names them all ``Section`` and tells them by their type."""
    found = child(parent, name)
    if found is not None:
        return found
    return next((each for each in children(parent, "Section") if name in attribute(each, "type")), None)


def instance(item: ET.Element) -> str:
    """Return what other items name an item by, which is spelled in two ways (``InstanceId`` in OVF 0.9)."""
    return text(item, "InstanceID") or text(item, "InstanceId")


def items(hardware: ET.Element, configuration: str) -> tuple[list[ET.Element], list[ET.Element]]:
    """Return the items of a hardware section that apply, and those that do not: other configurations and bounds."""
    used: list[ET.Element] = []
    unused: list[ET.Element] = []
    for element in hardware:
        if not isinstance(element.tag, str) or local_name(element.tag) not in _ITEMS:
            continue
        of = attribute(element, "configuration").split()
        applies = not attribute(element, "bound") and (not of or configuration in of)
        (used if applies else unused).append(element)
    # An item of the chosen configuration stands in for the general one with the same number.
    special = {instance(element) for element in used if attribute(element, "configuration")}
    for element in list(used):
        if not attribute(element, "configuration") and instance(element) in special:
            used.remove(element)
            unused.append(element)
    return used, unused


def amount(element: ET.Element | None, *, where: str, what: str) -> int:
    """Return a whole number of an element's text.

    Raises:
        EdgeError: it is none, or absurdly large.
    """
    return _number(text(element), where, what)


def _number(written: str, where: str, what: str) -> int:
    if not (written.isascii() and written.isdecimal()) or len(written) > 19 or int(written) >= _LARGEST:
        raise EdgeError(Problem(where, f"{what} is not a whole number", found=repr(written[:40])))
    return int(written)


def _file(element: ET.Element, where: str) -> OvfFile:
    href, compression = attribute(element, "href"), attribute(element, "compression")
    at = f"{where}: File {attribute(element, 'id')}"
    problems = Problems()
    if not plain_name(href):
        problems.add(
            f"{at}: href",
            "is no file of the package",
            found=repr(href),
            expected="a relative path without '..'",
            remedy="Download the file beside the envelope, and name it there.",
        )
    if compression not in {"", "identity", "gzip"}:
        problems.add(f"{at}: compression", "is not known", found=repr(compression), expected="identity or gzip")
    problems.raise_if_any()
    size, chunk = attribute(element, "size"), attribute(element, "chunkSize")
    return OvfFile(
        element,
        href,
        _number(size, at, "size") if size else None,
        compression == "gzip",
        _number(chunk, at, "chunkSize") if chunk else 0,
    )


def _disk(element: ET.Element, files: dict[str, OvfFile], where: str) -> OvfDisk:
    at = f"{where}: Disk {attribute(element, 'diskId')}"
    if attribute(element, "parentRef"):
        raise EdgeError(
            Problem(
                at, "holds only what differs from another disk", remedy="Merge its snapshots, then export it again."
            )
        )
    reference = attribute(element, "fileRef")
    if reference and reference not in files:
        raise EdgeError(Problem(f"{at}: fileRef", "names no file of the package", found=repr(reference)))
    try:
        unit = bytes_in_unit(attribute(element, "capacityAllocationUnits"))
    except UnfitError as error:
        found = repr(attribute(element, "capacityAllocationUnits"))
        raise EdgeError(
            Problem(f"{at}: capacityAllocationUnits", error.what, found=found, expected=error.expected)
        ) from None
    capacity = _number(attribute(element, "capacity"), at, "capacity") * unit
    return OvfDisk(element, files.get(reference), capacity)

"""Disks and network cards of an OVF's hardware section, in the order the guest has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.imported_machine import (
    ImportOptions,
    SourceDisk,
    disk_bus,
    nic_model,
    usable_mac,
    whole_sectors,
)
from ansible_collections.edgewright.edge.plugins.module_utils.ovf import instance
from ansible_collections.edgewright.edge.plugins.module_utils.xml_document import attribute, child, text

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET
    from collections.abc import Sequence

    from ansible_collections.edgewright.edge.plugins.module_utils.import_report import XmlReport
    from ansible_collections.edgewright.edge.plugins.module_utils.ovf import Envelope, OvfDisk, OvfFile
    from ansible_collections.edgewright.edge.plugins.module_utils.virtualbox_machine import Adapter

_DISKS: Final = frozenset({"17", "31", "32"})
_NICS: Final = frozenset({"10", "33"})
_CONTROLLERS: Final = {"5": "ide", "6": "scsi", "20": "sata"}
_NOT_TAKEN: Final = {
    "1": "a device of VMware's own",
    "7": "a Fibre Channel adapter",
    "14": "a floppy drive: neither runtime gives a guest one",
    "15": "a CD drive: what was in it is not part of the machine",
    "16": "a DVD drive: what was in it is not part of the machine",
    "18": "a tape drive",
    "21": "a serial port: every machine here has one, which is logged",
    "22": "a parallel port: neither runtime gives a guest one",
    "23": "a USB controller: machines here have one where they need it",
    "24": "a graphics card: 'graphics: vnc' gives a plain VGA",
    "35": "a sound card: neither runtime gives a guest one",
}


class OvfDevices:
    """What hangs on a machine of an envelope.

    Args:
        envelope: what ``read_envelope`` gave.
        items: the items of its hardware section that apply.
        options: the operator's.
        report: takes the outcome of each field.
        where: path of the source, for errors.

    Raises:
        EdgeError: a disk is not declared, or there is none.
    """

    def __init__(
        self, envelope: Envelope, items: Sequence[ET.Element], options: ImportOptions, report: XmlReport, *, where: str
    ) -> None:
        self._envelope = envelope
        self._options = options
        self._report = report
        self._where = where
        self._items = items
        self._controllers = {
            instance(item): (number, item)
            for number, item in enumerate(items)
            if text(item, "ResourceType") in _CONTROLLERS
        }
        drives = [item for item in items if text(item, "ResourceType") in _DISKS]
        # As firmware counts: controller by controller, then by the place on each.
        self._drives = sorted(drives, key=self._place)
        self._sources = {id(drive): self._source(drive) for drive in drives}
        if not drives:
            raise EdgeError(Problem(where, "describes a machine without a disk", remedy="Export it with its disks."))

    @property
    def sources(self) -> tuple[SourceDisk, ...]:
        """The disks' contents, in boot order."""
        return tuple(self._sources[id(drive)][0] for drive in self._drives)

    def model(
        self,
        name: str,
        *,
        secure_boot: bool,
        chipset: str,
        first: ET.Element | None,
        adapters: Sequence[Adapter],
    ) -> dict[str, Any]:
        """Return ``machine``, ``disks`` and ``nics``.

        Args:
            name: of the machine.
            secure_boot: whether it has secure boot.
            chipset: VirtualBox's name of the board; empty where the source does not say.
            first: VMware's setting ``bios.hddOrder``, which names the disk to boot first.
            adapters: VirtualBox's network adapters, which have the MAC addresses and the cables.
        """
        if first is not None:
            self._reorder(first)
        disks = self._disks(name, secure_boot=secure_boot)
        ide = any(disk["bus"] == "ide" for disk in disks)
        modern = secure_boot or self._options.runtime == "k3s"
        board = "pc" if ide or (chipset.upper().startswith("PIIX") and not modern) else "q35"
        self._report.changed(
            "machine", f"it is {board}" + (", which has IDE" if ide else f" for {chipset or 'the source board'}")
        )
        nics = self._nics(board, adapters)
        for item in self._items:
            kind, subtype = text(item, "ResourceType"), text(item, "ResourceSubType")
            if kind in _CONTROLLERS:
                self._report.drop(item, f"a controller ({subtype or kind}): disks name their bus themselves")
            elif kind in _NOT_TAKEN:
                self._report.drop(item, _NOT_TAKEN[kind])
        return {"machine": board, "disks": disks, "nics": nics}

    def _place(self, drive: ET.Element) -> tuple[int, int]:
        number, _ = self._controllers.get(text(drive, "Parent"), (len(self._items), None))
        on = text(drive, "AddressOnParent") or text(drive, "Address")
        return number, int(on) if on.isascii() and on.isdecimal() and len(on) < 9 else 0

    def _bus(self, drive: ET.Element) -> str:
        _, controller = self._controllers.get(text(drive, "Parent"), (0, None))
        if controller is None:
            return "sata"
        subtype = text(controller, "ResourceSubType").lower()
        if "nvme" in subtype:
            return "nvme"
        if "virtio" in subtype and "scsi" in subtype:
            return "virtio-scsi"
        return _CONTROLLERS[text(controller, "ResourceType")]

    def _source(self, drive: ET.Element) -> tuple[SourceDisk, OvfDisk | None]:
        resource = text(drive, "HostResource").removeprefix("ovf:")
        kind, _, name = resource.strip("/").partition("/")
        disk = self._envelope.disks.get(name) if kind == "disk" else None
        file: OvfFile | None = disk.file if disk else self._envelope.files.get(name) if kind == "file" else None
        if disk is None and file is None:
            raise EdgeError(
                Problem(
                    f"{self._where}: {text(drive, 'ElementName') or 'disk'}: HostResource",
                    "names no disk of the package",
                    found=repr(text(drive, "HostResource")),
                    expected=f"one of {', '.join(f'ovf:/disk/{known}' for known in self._envelope.disks)}",
                )
            )
        capacity = whole_sectors(disk.capacity) if disk else None
        if file is None:
            return SourceDisk("", capacity), disk
        return SourceDisk(file.href, capacity, "", file.gzip, file.chunk_size, file.size), disk

    def _reorder(self, first: ET.Element) -> None:
        """Put the disk that ``bios.hddOrder`` names (as ``scsi0:1``) before the others."""
        wanted = attribute(first, "value").split(",")[0].strip().lower()
        counts: dict[str, int] = {}
        names: dict[str, str] = {}
        for _, item in self._controllers.values():
            bus = (
                "nvme" if "nvme" in text(item, "ResourceSubType").lower() else _CONTROLLERS[text(item, "ResourceType")]
            )
            names[instance(item)] = f"{bus}{counts.get(bus, 0)}"
            counts[bus] = counts.get(bus, 0) + 1
        at = {f"{names.get(text(drive, 'Parent'))}:{self._place(drive)[1]}": drive for drive in self._drives}
        if (drive := at.get(wanted)) is not None:
            self._drives = [drive, *(each for each in self._drives if each is not drive)]
            for name in ("key", "value"):
                self._report.keep(first, "disks[].boot_order", attribute=name)

    def _disks(self, name: str, *, secure_boot: bool) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        for number, drive in enumerate(self._drives):
            ide = sum(disk["bus"] == "ide" for disk in made)
            bus, why = disk_bus(self._bus(drive), self._options, ide_before=ide, secure_boot=secure_boot)
            parent = child(drive, "Parent")
            if parent is not None:
                (self._report.change if why else self._report.keep)(parent, why or f"disks[{number}].bus")
            elif why:
                self._report.changed(f"disks[{number}].bus", why)
            source, disk = self._sources[id(drive)]
            self._tell_disk(drive, source, disk, number)
            form = self._options.format
            file = f"file:{self._options.folder}/{name}/disk{number}.{'qcow2' if form == 'qcow2' else 'img'}"
            entry = {"source": file, "format": form, "bus": bus, "boot_order": number + 1}
            made.append(entry if source.capacity is None else {**entry, "size": source.capacity})
        return made

    def _tell_disk(self, drive: ET.Element, source: SourceDisk, disk: OvfDisk | None, number: int) -> None:
        at = f"disks[{number}]"
        for tag, becomes in (("HostResource", "source"), ("AddressOnParent", "boot_order"), ("ResourceType", "source")):
            self._report.keep(child(drive, tag), f"{at}.{becomes}")
        if disk is not None:
            for name in ("diskId", "fileRef"):
                if name in (key.rpartition("}")[2] for key in disk.element.attrib):
                    self._report.keep(disk.element, f"{at}.source", attribute=name)
            self._report.keep(disk.element, f"{at}.size", attribute="capacity")
            if attribute(disk.element, "capacityAllocationUnits"):
                self._report.keep(disk.element, f"{at}.size", attribute="capacityAllocationUnits")
            self._report.drop(disk.element, f"the disk is converted to {self._options.format}")
        file = next((each for each in self._envelope.files.values() if each.href == source.file), None)
        if file is not None:
            self._report.change(file.element, f"{at}.source is the converted disk", attribute="href")
        elif disk is not None:
            self._report.changed(self._report.path(disk.element, "diskId"), f"{at}: it has no file, and begins empty")

    def _nics(self, board: str, adapters: Sequence[Adapter]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        taken: set[str] = set()
        cards = [item for item in self._items if text(item, "ResourceType") in _NICS]
        for number, item in enumerate(cards):
            at = f"nics[{number}]"
            subtype = child(item, "ResourceSubType")
            model, why = nic_model(text(subtype), self._options, board=board)
            if subtype is not None:
                (self._report.change if why else self._report.keep)(subtype, why or f"{at}.model")
            else:
                self._report.changed(f"{at}.model", why)
            nic = {"network": self._network(item, at), "model": model}
            adapter = adapters[number] if number < len(adapters) else None
            address = self._mac(item, adapter, at, taken)
            nic |= {"mac": address} if address else {}
            made.append(nic if self._connected(item, adapter, at) else {**nic, "link_state": "down"})
        return made

    def _connected(self, item: ET.Element, adapter: Adapter | None, at: str) -> bool:
        """Tell whether the card's cable is in: what VMware calls "connect at power on", and VirtualBox's ``cable``."""
        automatic = child(item, "AutomaticAllocation")
        self._report.keep(automatic, f"{at}.link_state")
        plugged = text(automatic).lower() not in {"false", "0"}
        if adapter is None:
            return plugged
        if "cable" in adapter.element.attrib:
            self._report.keep(adapter.element, f"{at}.link_state", attribute="cable")
        elif not adapter.connected:
            self._report.changed(f"{at}.link_state", "it is down: what this version of VirtualBox leaves out is pulled")
        return plugged and adapter.connected

    def _network(self, item: ET.Element, at: str) -> str:
        connection = child(item, "Connection")
        found = text(connection)
        network = self._options.networks.get(found, "default")
        if connection is not None:
            why = f"{found!r} became {network}: 'networks' maps names of networks"
            same = network == found
            (self._report.keep if same else self._report.change)(connection, f"{at}.network" if same else why)
        return network

    def _mac(self, item: ET.Element, adapter: Adapter | None, at: str, taken: set[str]) -> str:
        address = child(item, "Address")
        written, fields = text(address), [] if address is None else [self._report.path(address)]
        if adapter is not None and attribute(adapter.element, "MACAddress"):
            written = written or attribute(adapter.element, "MACAddress")
            fields.append(self._report.path(adapter.element, "MACAddress"))
        if not written:
            self._report.changed(f"{at}.mac", "the source has none: one is derived from the site's and machine's name")
            return ""
        found, why = usable_mac(written, taken)
        for field in fields:
            tell = self._report.changed if why and not found else self._report.kept
            tell(field, f"{at}.mac" if found else why)
        return found

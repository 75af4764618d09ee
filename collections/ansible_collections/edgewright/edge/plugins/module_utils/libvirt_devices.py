"""Disks and network cards of a libvirt domain, in boot order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.import_report import XmlReport, local_name
from ansible_collections.edgewright.edge.plugins.module_utils.imported_machine import (
    ImportOptions,
    SourceDisk,
    disk_bus,
    nic_model,
    usable_mac,
)
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain import METADATA_NAMESPACE
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import disk_path
from ansible_collections.edgewright.edge.plugins.module_utils.xml_document import attribute, child, children, text

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

_SOURCES: Final = ("file", "dev", "volume", "name", "dir")
_LAST: Final = 1_000_000


class LibvirtDevices:
    """What hangs on a domain.

    Args:
        domain: the definition.
        notes: our own metadata in it, which say where its disks came from; ``None`` in a domain that is not ours.
        options: the operator's.
        report: takes the outcome of each field.
        where: path of the source, for errors.

    Raises:
        EdgeError: there is no disk.
    """

    def __init__(
        self,
        domain: ET.Element,
        notes: ET.Element | None,
        options: ImportOptions,
        report: XmlReport,
        *,
        where: str,
    ) -> None:
        self._domain = domain
        self._options = options
        self._report = report
        self._where = where
        disks = children(child(domain, "devices"), "disk")
        self._notes = [] if notes is None else notes.findall(f"{{{METADATA_NAMESPACE}}}disk")
        hard = [disk for disk in disks if attribute(disk, "device") in {"", "disk", "lun"}]
        for disk in disks:
            if disk not in hard:
                report.drop(disk, f"a {attribute(disk, 'device')} drive: what was in it is not part of the machine")
        self._disks = self._ordered(hard)
        if not self._disks:
            raise EdgeError(Problem(where, "describes a machine without a disk"))

    @property
    def sources(self) -> tuple[SourceDisk, ...]:
        """The disks' contents, in the model's order."""
        return tuple(
            SourceDisk(_path(disk), None, attribute(child(disk, "driver"), "type"), size=None) for disk in self._disks
        )

    def model(self, name: str, *, secure_boot: bool) -> dict[str, Any]:
        """Return ``machine``, ``disks`` and ``nics``; ``name`` is the machine's."""
        kinds = [self._kind(disk) for disk in self._disks]
        found = attribute(child(self._domain, "os", "type"), "machine")
        old = found.startswith("pc-i440fx") or found in {"", "pc"}
        made = [
            self._disk(name, number, disk, kinds, secure_boot=secure_boot) for number, disk in enumerate(self._disks)
        ]
        ide = any(disk["bus"] == "ide" for disk in made)
        modern = secure_boot or self._options.runtime == "k3s"
        board = "pc" if ide or (old and not modern) else "q35"
        system = child(self._domain, "os", "type")
        if system is not None and "machine" in system.attrib:
            same = board == ("pc" if old else "q35")
            why = f"{found} became {board}, which the runtime has"
            (self._report.keep if same else self._report.change)(
                system, "machine" if same else why, attribute="machine"
            )
        elif not old or board != "pc":
            self._report.changed("machine", f"it is {board}")
        return {"machine": board, "disks": made, "nics": self._nics(board)}

    def _ordered(self, disks: list[ET.Element]) -> list[ET.Element]:
        """Sort disks as the model numbers them: ours by their number, others as the firmware tries them."""
        ours = {disk_path(text(self._domain, "name"), number): number for number in range(len(disks))}
        if self._notes and len(self._notes) == len(disks) and {_path(disk) for disk in disks} == set(ours):
            return sorted(disks, key=lambda disk: ours[_path(disk)])
        self._notes = []
        return sorted(disks, key=lambda disk: _order(disk) or _LAST)

    def _kind(self, disk: ET.Element) -> str:
        bus = attribute(child(disk, "target"), "bus")
        if bus == "scsi":
            index = attribute(child(disk, "address"), "controller") or "0"
            models = {
                attribute(each, "index") or "0": attribute(each, "model")
                for each in children(child(self._domain, "devices"), "controller")
                if attribute(each, "type") == "scsi"
            }
            return "virtio-scsi" if models.get(index, "").startswith("virtio") else "scsi"
        if not bus:
            prefix = attribute(child(disk, "target"), "dev")[:2]
            return {"hd": "ide", "vd": "virtio", "sd": "scsi"}.get(prefix, "sata")
        return bus

    def _disk(self, name: str, number: int, disk: ET.Element, kinds: list[str], *, secure_boot: bool) -> dict[str, Any]:
        bus, why = disk_bus(
            kinds[number], self._options, ide_before=kinds[:number].count("ide"), secure_boot=secure_boot
        )
        target, boot, source = child(disk, "target"), child(disk, "boot"), child(disk, "source")
        at = f"disks[{number}]"
        if target is not None and "bus" in target.attrib:
            same = not why or bus == attribute(target, "bus")
            (self._report.keep if same else self._report.change)(target, f"{at}.bus" if same else why, attribute="bus")
        elif why:
            self._report.changed(f"{at}.bus", why)
        if boot is not None:
            self._report.keep(boot, f"{at}.boot_order", attribute="order")
        for key in (local_name(each) for each in (source.attrib if source is not None else ())):
            if source is not None and key in _SOURCES:
                self._report.change(source, f"{at}.source is the converted disk", attribute=key)
        form = attribute(child(disk, "driver"), "type") or "raw"
        driver = child(disk, "driver")
        if driver is not None and "type" in driver.attrib:
            self._report.keep(driver, f"{at}: read as such", attribute="type")
        entry: dict[str, Any] = {
            "source": f"file:{self._options.folder}/{name}/disk{number}.img",
            "format": form,
            "bus": bus,
            "boot_order": number + 1,
        }
        if self._notes:
            note = self._notes[number]
            entry |= {"source": attribute(note, "source"), "boot_order": _order(disk) or number + 1}
            self._report.change(note, f"{at}.source is the converted disk", attribute="source")
            if size := attribute(note, "size"):
                entry["size"] = int(size)
                self._report.keep(note, f"{at}.size", attribute="size")
        return {**entry, **self._serial(disk, bus, at)}

    def _serial(self, disk: ET.Element, bus: str, at: str) -> dict[str, str]:
        element = child(disk, "serial")
        serial = text(element)
        if element is None:
            return {}
        longest = 64 if bus in {"scsi", "usb"} else 20
        if re.fullmatch(rf"[A-Za-z0-9_.+-]{{1,{longest}}}", serial, re.ASCII) is None:
            self._report.drop(element, f"a serial number here has 1 to {longest} of letters, digits and _ . + -")
            return {}
        self._report.keep(element, f"{at}.serial")
        return {"serial": serial}

    def _nics(self, board: str) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        taken: set[str] = set()
        for number, element in enumerate(children(child(self._domain, "devices"), "interface")):
            at = f"nics[{number}]"
            if attribute(element, "type") == "hostdev":
                self._report.drop(element, "a network card of the old host")
                continue
            found, address = child(element, "model"), child(element, "mac")
            model, why = nic_model(attribute(found, "type"), self._options, board=board)
            if found is not None:
                (self._report.change if why else self._report.keep)(found, why or f"{at}.model", attribute="type")
            elif why:
                self._report.changed(f"{at}.model", why)
            nic = {"network": self._network(element, at), "model": model}
            if address is None:
                self._report.changed(f"{at}.mac", "the source has none: one is derived from the names")
            else:
                written, why = usable_mac(attribute(address, "address"), taken)
                tell = self._report.keep if written else self._report.change
                tell(address, f"{at}.mac" if written else why, attribute="address")
                nic |= {"mac": written} if written else {}
            link = child(element, "link")
            if link is not None and "state" in link.attrib:
                self._report.keep(link, f"{at}.link_state", attribute="state")
            made.append({**nic, "link_state": "down"} if attribute(link, "state") == "down" else nic)
        return made

    def _network(self, element: ET.Element, at: str) -> str:
        source = child(element, "source")
        key = next((name for name in ("network", "bridge", "dev") if attribute(source, name)), "")
        found = attribute(source, key) if key else ""
        ours = self._notes and key == "network"
        network = self._options.networks.get(found, found if ours else "default")
        if source is not None and key:
            why = f"{found!r} became {network}: 'networks' maps names of networks"
            same = network == found
            (self._report.keep if same else self._report.change)(
                source, f"{at}.network" if same else why, attribute=key
            )
        return network


def _path(disk: ET.Element) -> str:
    source = child(disk, "source")
    return next((attribute(source, name) for name in _SOURCES if attribute(source, name)), "")


def _order(disk: ET.Element) -> int:
    order = attribute(child(disk, "boot"), "order")
    return int(order) if order.isascii() and order.isdecimal() and len(order) < 7 else 0

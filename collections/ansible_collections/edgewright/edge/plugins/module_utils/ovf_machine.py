"""A machine of an OVF envelope, as ``edge_virtual_machines`` takes it, with the outcome of every field.

Items are those of CIM_ResourceAllocationSettingData (DSP1041); keys of ``vmw:Config`` and ``vmw:ExtraConfig`` are those
that vSphere and ovftool export.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.allocation_units import bytes_in_unit
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.import_report import XmlReport, local_name
from ansible_collections.edgewright.edge.plugins.module_utils.imported_machine import (
    ImportedMachine,
    ImportOptions,
    checked,
    clock,
    machine_name,
    topology,
)
from ansible_collections.edgewright.edge.plugins.module_utils.names import uuid_text
from ansible_collections.edgewright.edge.plugins.module_utils.ovf import Envelope, amount, chosen_system, items, section
from ansible_collections.edgewright.edge.plugins.module_utils.ovf_devices import OvfDevices
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import KIB, MIB
from ansible_collections.edgewright.edge.plugins.module_utils.virtualbox_machine import virtualbox_machine
from ansible_collections.edgewright.edge.plugins.module_utils.xml_document import attribute, child, children, text

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

    from ansible_collections.edgewright.edge.plugins.module_utils.disk_contents import DiskContents

_REST: Final = "the model of a virtual machine has nothing for it"
_VIRTUALBOX: Final = "VirtualBox's own; the hardware section has what counts"
_DESCRIBING: Final = ("NetworkSection", "OperatingSystemSection", "ProductSection", "EulaSection", "AnnotationSection")
_NVRAM: Final = "UEFI variables are not taken along: the firmware begins with its own"


class OvfMachine:
    """One machine of an envelope, on its way.

    Args:
        envelope: what ``read_envelope`` gave.
        options: the operator's.
        where: path of the source, for errors.

    Raises:
        EdgeError: which machine is meant is not clear.
    """

    def __init__(self, envelope: Envelope, options: ImportOptions, *, where: str) -> None:
        self._envelope = envelope
        self._options = options
        self._where = where
        self._system = chosen_system(envelope, options.system, where=where)
        self._hardware = child(self._system, "VirtualHardwareSection")
        if self._hardware is None:
            # Of OVF 0.9's sections it is the one with items.
            self._hardware = next((each for each in children(self._system, "Section") if children(each, "Item")), None)
        if self._hardware is None:
            raise EdgeError(Problem(where, "describes a machine without hardware"))
        self._items, self._unused = items(self._hardware, envelope.configuration)
        self._configs = self._vmware_configs()
        self._virtualbox = virtualbox_machine(self._system)
        self.report = XmlReport(envelope.root, rest=_REST)
        self.devices = OvfDevices(envelope, self._items, options, self.report, where=where)

    def imported(self, contents: DiskContents | None) -> ImportedMachine:
        """Return the machine; ``contents`` is what its first disk shows, where that can be read.

        Raises:
            EdgeError: all that the model cannot take.
        """
        problems = Problems()
        vm: dict[str, Any] = {"name": self._name(), "run_policy": "halted"}
        with problems.collecting():
            vm |= self._uuid()
        with problems.collecting():
            vm["cpu"] = self._cpu()
        with problems.collecting():
            vm["memory"] = self._memory()
        vm |= self._firmware(contents)
        vm["timezone"] = self._timezone(contents)
        with problems.collecting():
            vm |= self.devices.model(
                vm["name"],
                secure_boot=bool(vm["secure_boot"]),
                chipset=attribute(self._virtualbox.chipset, "type"),
                first=self._configs.get("bios.hddorder"),
                adapters=self._virtualbox.adapters,
            )
        problems.raise_if_any()
        if self._virtualbox.chipset is not None:
            self.report.keep(self._virtualbox.chipset, "machine", attribute="type")
        vm["graphics"] = "vnc"
        self._tell_the_rest()
        return ImportedMachine(checked(vm, where=self._where), self.devices.sources, self.report.as_list())

    def _vmware_configs(self) -> dict[str, ET.Element]:
        return {
            attribute(each, "key").lower(): each
            for each in (self._hardware if self._hardware is not None else ())
            if isinstance(each.tag, str) and local_name(each.tag) in {"Config", "ExtraConfig"}
        }

    def _name(self) -> str:
        element = child(self._system, "Name")
        vssd = child(self._hardware, "System", "VirtualSystemIdentifier")
        found = text(element) or text(vssd) or attribute(self._system, "id")
        name, why = machine_name(found, self._options, where=f"{self._where}: Name")
        for each in (element, vssd):
            if each is not None and text(each):
                (self.report.change if why else self.report.keep)(each, why or "name")
        tell = self.report.changed if why or element is not None else self.report.kept
        tell(self.report.path(self._system, "id"), why or "the name is")
        return name

    def _uuid(self) -> dict[str, str]:
        element = self._configs.get("uuid.bios")
        written = attribute(element, "value")
        field = "" if element is None else self.report.path(element, "value")
        if element is None and self._virtualbox.element is not None:
            written = self._virtualbox.uuid
            field = self.report.path(self._virtualbox.element, "uuid")
        digits = re.sub(r"[^0-9A-Fa-f]", "", written)
        derived = "it is derived from the site's and the machine's name"
        if not written:
            self.report.changed("uuid", f"the source has none: {derived}")
            return {}
        try:
            found = uuid_text("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))
        except UnfitError as error:
            self.report.dropped(field, f"it {error.what}: {derived}")
            return {}
        self.report.kept(field, "uuid")
        return {"uuid": found}

    def _cpu(self) -> dict[str, Any]:
        item = self._one("3")
        if item is None:
            self.report.changed("cpu", f"the source does not say: {self._options.cpus} processors are assumed")
            return {"sockets": 1, "cores": self._options.cpus, "threads": 1, "model": "host-model"}
        quantity, per_socket = child(item, "VirtualQuantity"), child(item, "CoresPerSocket")
        count = amount(quantity, where=f"{self._where}: processors", what="VirtualQuantity")
        cores = (
            1 if per_socket is None else amount(per_socket, where=f"{self._where}: processors", what="CoresPerSocket")
        )
        shape, why = topology(count, cores)
        self.report.keep(quantity, "cpu: sockets, cores")
        if per_socket is not None:
            (self.report.change if why else self.report.keep)(per_socket, why or "cpu.cores")
        elif why:
            self.report.changed("cpu", why)
        for name in ("AllocationUnits", "Reservation", "Limit", "Weight"):
            self._drop_child(item, name, "processors are shared out by 'priority', not reserved")
        return {**shape, "model": "host-model"}

    def _memory(self) -> int:
        item = self._one("4")
        if item is None:
            self.report.changed("memory", "the source does not say: see 'memory' of this import")
            return self._options.memory
        quantity, units = child(item, "VirtualQuantity"), child(item, "AllocationUnits")
        at = f"{self._where}: memory"
        count = amount(quantity, where=at, what="VirtualQuantity")
        try:
            # Exporters that give no unit mean MiB, though the standard's default is the byte.
            unit = bytes_in_unit(text(units), default=MIB)
        except UnfitError as error:
            raise EdgeError(
                Problem(f"{at}: AllocationUnits", error.what, found=repr(text(units)), expected=error.expected)
            ) from None
        size = count * unit
        self.report.keep(units, "unit of memory")
        if size % KIB:
            size += KIB - size % KIB
            if quantity is not None:
                self.report.change(quantity, "memory, rounded up to whole KiB")
        else:
            self.report.keep(quantity, "memory")
        for name in ("Reservation", "Limit", "Weight"):
            self._drop_child(item, name, "memory is the guest's own, and not overcommitted")
        return size

    def _firmware(self, contents: DiskContents | None) -> dict[str, Any]:
        config, box = self._configs.get("firmware"), self._virtualbox
        if config is not None:
            uefi = attribute(config, "value").lower() in {"efi", "uefi"}
            self._keep_config(config, "firmware")
        elif box.element is not None:
            uefi = box.uefi
            if box.firmware is not None:
                self.report.keep(box.firmware, "firmware", attribute="type")
            else:
                self.report.changed("firmware", "VirtualBox leaves BIOS unsaid, and only names EFI: it is bios")
        elif contents is not None:
            uefi = contents.firmware == "uefi"
            seen = "an EFI system partition" if contents.esp else "no EFI system partition"
            self.report.changed(
                "firmware", f"the source does not say: {seen} on the first disk, so {contents.firmware}"
            )
        else:
            uefi = False
            self.report.changed("firmware", "the source does not say, and its disk cannot be read: bios is assumed")
        secure = self._flag("bootoptions.efisecurebootenabled", "uefi.secureboot.enabled", becomes="secure_boot")
        if uefi and contents is not None and not (contents.esp and contents.fallback_loader):
            self.report.changed("boot entry", no_fallback(contents))
        return {"firmware": "uefi" if uefi else "bios", "secure_boot": uefi and secure, "tpm": self._tpm()}

    def _flag(self, *keys: str, becomes: str) -> bool:
        answer = False
        for key in keys:
            if (element := self._configs.get(key)) is not None:
                answer = answer or attribute(element, "value").lower() in {"true", "yes", "1"}
                self._keep_config(element, becomes)
        return answer

    def _keep_config(self, element: ET.Element, becomes: str) -> None:
        for name in ("key", "value"):
            self.report.keep(element, becomes, attribute=name)

    def _tpm(self) -> bool:
        item = next((each for each in self._items if "vtpm" in text(each, "ResourceSubType").lower()), None)
        box = self._virtualbox.tpm
        wanted = item is not None or attribute(box, "type").lower() not in {"", "none"}
        if not wanted:
            if box is not None:
                self.report.keep(box, "tpm", attribute="type")
            return False
        fields = [] if box is None else [self.report.path(box, "type")]
        if item is not None:
            fields.append(self.report.path(child(item, "ResourceSubType") or item))
        for field in fields:
            self.report.changed(field, tpm_why(self._options))
        return self._options.runtime != "k3s"

    def _timezone(self, contents: DiskContents | None) -> str:
        system = section(self._system, "OperatingSystemSection")
        said = f"{attribute(system, 'osType')} {text(system, 'Description')} {text(system, 'OSType')}".lower()
        # "darwin" ends in "win": words are looked at from their beginning.
        windows = re.search(r"\bwin", said) is not None
        seen = contents is not None and contents.os_family == "windows"
        zone, why = clock(windows or (seen and not said.strip()), self._virtualbox.local_time, self._options)
        if self._virtualbox.clock is not None:
            tell = self.report.change if why else self.report.keep
            tell(self._virtualbox.clock, why or "timezone", attribute="localOrUTC")
        elif why:
            self.report.changed("timezone", why)
        return zone

    def _one(self, kind: str) -> ET.Element | None:
        found = [each for each in self._items if text(each, "ResourceType") == kind]
        if len(found) > 1:
            raise EdgeError(
                Problem(f"{self._where}: ResourceType {kind}", "is there several times", found=str(len(found)))
            )
        return found[0] if found else None

    def _drop_child(self, item: ET.Element, name: str, why: str) -> None:
        element = child(item, name)
        if element is not None:
            self.report.drop(element, why)

    def _tell_the_rest(self) -> None:
        """Say why fields are dropped that nobody has spoken of."""
        drop, envelope, box = self.report.drop, self._envelope, self._virtualbox
        reasons = [
            (item, "it is of another configuration, or a bound, and not of this machine") for item in self._unused
        ]
        reasons += [
            (item, "it only tells the item apart, or means nothing on another hypervisor") for item in self._items
        ]
        reasons += [
            (each, "it is another machine of the package") for each in envelope.systems if each is not self._system
        ]
        reasons += [(each, _NVRAM) for key, each in self._configs.items() if "nvram" in key]
        reasons += [(each, "it is a setting of VMware's own") for each in self._configs.values()]
        reasons += [(each, why) for each, why in ((box.nvram, _NVRAM), (box.element, _VIRTUALBOX)) if each is not None]
        for name in _DESCRIBING:
            sections = [*children(envelope.root, name), *children(self._system, name)]
            sections += [
                each for each in (section(envelope.root, name), section(self._system, name)) if each is not None
            ]
            reasons += [(each, "it describes, and changes nothing about the machine") for each in sections]
        for file in envelope.files.values():
            unread = _NVRAM if file.href.lower().endswith(".nvram") else "it is checked as the package is read"
            reasons.append((file.element, unread))
        for element, why in reasons:
            drop(element, why)


def no_fallback(contents: DiskContents) -> str:
    """Return why a guest with UEFI may not start by itself: nobody takes its boot entries along."""
    if not contents.esp:
        return "UEFI is asked for, and the first disk has no EFI system partition: it may be on another disk"
    return (
        "the EFI system partition has no EFI/BOOT/BOOTX64.EFI, which firmware without boot entries starts: choose the "
        "loader once in the firmware's menu (Boot from file), or copy it there"
    )


def tpm_why(options: ImportOptions) -> str:
    """Return what became of a TPM: what it holds cannot leave its home."""
    if options.runtime == "k3s":
        return "it is off: KubeVirt's would forget what it holds; have BitLocker's recovery key at hand"
    return "a new TPM without the old one's secrets: have BitLocker's recovery key at hand"

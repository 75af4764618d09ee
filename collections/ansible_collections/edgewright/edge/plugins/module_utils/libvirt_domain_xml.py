"""A libvirt domain from anywhere (https://libvirt.org/formatdomain.html) as ``edge_virtual_machines`` takes a machine.

A domain that ``domain_xml`` has rendered gives the very machine back; of others, what no runtime has is changed or left
out, and the report says so. ``libvirt_definition`` reads only the former, and tells whether two are the same.
"""

from __future__ import annotations

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
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_devices import LibvirtDevices
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain import METADATA_NAMESPACE
from ansible_collections.edgewright.edge.plugins.module_utils.names import uuid_text
from ansible_collections.edgewright.edge.plugins.module_utils.ovf_machine import no_fallback, tpm_why
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import KIB
from ansible_collections.edgewright.edge.plugins.module_utils.xml_document import (
    attribute,
    child,
    children,
    parse,
    text,
)

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

    from ansible_collections.edgewright.edge.plugins.module_utils.disk_contents import DiskContents

_REST: Final = "the model of a virtual machine has nothing for it; the runtime chooses"
_NOTES: Final = ("run_policy", "stop_timeout", "start_order", "priority")
_SIZES: Final = {"KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
_DROPPED: Final = {
    "hostdev": "a device of the old host: the new one has others",
    "redirdev": "USB redirection: no runtime here has it",
    "sound": "a sound card: neither runtime gives a guest one",
    "audio": "a sound card: neither runtime gives a guest one",
    "filesystem": "a folder of the old host",
    "parallel": "a parallel port: neither runtime gives a guest one",
    "smartcard": "a smart card reader: neither runtime gives a guest one",
    "video": "'graphics: vnc' gives a plain VGA",
    "watchdog": "a watchdog: health checks watch machines here",
}


class LibvirtDomain:
    """One domain definition, on its way.

    Args:
        data: what ``virsh dumpxml`` gives.
        options: the operator's.
        where: path of the file, for errors.

    Raises:
        EdgeError: not such a definition.
    """

    def __init__(self, data: bytes, options: ImportOptions, *, where: str) -> None:
        self._domain = parse(data, where=where)
        self._where = where
        self._options = options
        if local_name(self._domain.tag) != "domain" or not text(self._domain, "name"):
            raise EdgeError(Problem(where, "is not a libvirt domain", expected="<domain> with a <name>"))
        self.report = XmlReport(self._domain, rest=_REST)
        self._notes = self._domain.find(f"metadata/{{{METADATA_NAMESPACE}}}machine")
        self.devices = LibvirtDevices(self._domain, self._notes, options, self.report, where=where)

    def imported(self, contents: DiskContents | None) -> ImportedMachine:
        """Return the machine, to be imported: it stays off, and its disks are those that the import makes.

        Raises:
            EdgeError: all that the model cannot take.
        """
        vm = self.model(contents)
        name = vm["name"]
        suffix = "qcow2" if self._options.format == "qcow2" else "img"
        for number, disk in enumerate(vm["disks"]):
            disk["source"] = f"file:{self._options.folder}/{name}/disk{number}.{suffix}"
            disk["format"] = self._options.format
        vm["run_policy"] = "halted"
        return ImportedMachine(checked(vm, where=self._where), self.devices.sources, self.report.as_list())

    def model(self, contents: DiskContents | None = None) -> dict[str, Any]:
        """Return the machine as it is described; ``contents`` is what its first disk shows, where that can be read.

        Raises:
            EdgeError: all that the model cannot take.
        """
        problems = Problems()
        name, why = machine_name(text(self._domain, "name"), self._options, where=f"{self._where}: name")
        self._tell(child(self._domain, "name"), "name", why)
        vm: dict[str, Any] = {"name": name, **self._uuid(), **self._firmware(contents)}
        for key, read in (("cpu", self._cpu), ("memory", self._memory)):
            with problems.collecting():
                vm[key] = read()
        vm["timezone"] = self._timezone(contents)
        with problems.collecting():
            vm |= self.devices.model(name, secure_boot=bool(vm["secure_boot"]))
        problems.raise_if_any()
        vm |= self._tpm() | self._graphics() | self._policy()
        for tag, reason in _DROPPED.items():
            for device in children(child(self._domain, "devices"), tag):
                self.report.drop(device, reason)
        return vm

    def _tell(self, element: ET.Element | None, becomes: str, why: str = "", *, attribute: str = "") -> None:
        if element is not None:
            (self.report.change if why else self.report.keep)(element, why or becomes, attribute=attribute)

    def _uuid(self) -> dict[str, str]:
        element = child(self._domain, "uuid")
        if element is None:
            self.report.changed("uuid", "the source has none: it is derived from the site's and the machine's name")
            return {}
        try:
            found = uuid_text(text(element))
        except UnfitError as error:
            self.report.drop(element, f"it {error.what}: it is derived from the site's and the machine's name")
            return {}
        self._tell(element, "uuid")
        return {"uuid": found}

    def _cpu(self) -> dict[str, Any]:
        element, vcpu = child(self._domain, "cpu"), child(self._domain, "vcpu")
        shape = child(element, "topology")
        written = text(vcpu) or "1"
        if not (written.isascii() and written.isdecimal()) or not 0 < int(written[:9]) <= 16384:
            raise EdgeError(Problem(f"{self._where}: vcpu", "is not a number of processors", found=repr(written[:40])))
        count, why = int(written), ""
        numbers = {name: attribute(shape, name) for name in ("sockets", "dies", "clusters", "cores", "threads")}
        values = {name: int(value) for name, value in numbers.items() if value.isascii() and value.isdecimal()}
        product = 1
        for value in values.values():
            product *= value
        if shape is not None and product == count and values.get("threads", 1) in {1, 2}:
            made = {
                "sockets": values.get("sockets", 1) * values.get("dies", 1) * values.get("clusters", 1),
                "cores": values.get("cores", 1),
                "threads": values.get("threads", 1),
            }
            why = "its dies and clusters are sockets" if made["sockets"] != values.get("sockets", 1) else ""
        else:
            cores = values.get("cores", 1) * (values.get("threads", 1) if values.get("threads", 1) > 2 else 1)
            made, why = topology(count, cores)
            why = (
                why or f"it makes {product} processors, and vcpu is {count}, which counts" if shape is not None else ""
            )
        self._tell(vcpu, "cpu: sockets, cores, threads")
        for name in values:
            self._tell(shape, f"cpu.{name}", why, attribute=name)
        return {**made, "model": self._cpu_model(element)}

    def _cpu_model(self, element: ET.Element | None) -> str:
        if self._notes is not None and attribute(self._notes, "cpu_model"):
            self._tell(self._notes, "cpu.model", attribute="cpu_model")
            return attribute(self._notes, "cpu_model")
        mode, named = attribute(element, "mode"), child(element, "model")
        if mode in {"host-passthrough", "maximum"}:
            self._tell(element, "cpu.model is host-passthrough", attribute="mode")
            return "host-passthrough"
        if mode == "host-model" or not text(named):
            if mode:
                self._tell(element, "cpu.model", attribute="mode")
            return "host-model"
        self._tell(named, "cpu.model")
        return text(named)

    def _memory(self) -> int:
        element = child(self._domain, "memory")
        written, unit = text(element), attribute(element, "unit") or "KiB"
        at = f"{self._where}: memory"
        if not (written.isascii() and written.isdecimal()) or len(written) > 19:
            raise EdgeError(Problem(at, "is not a whole number", found=repr(written[:40])))
        try:
            # libvirt's KB, MB … are decimal, unlike OVF's (formatdomain, "Memory Allocation").
            factor = _SIZES.get(unit) or bytes_in_unit(unit)
        except UnfitError as error:
            raise EdgeError(Problem(f"{at}: unit", error.what, found=repr(unit))) from None
        size = int(written) * factor
        rounded = -(-size // KIB) * KIB
        self._tell(element, "memory", "rounded up to whole KiB" if rounded != size else "")
        if element is not None and "unit" in element.attrib:
            self._tell(element, "memory", attribute="unit")
        current = child(self._domain, "currentMemory")
        if current is not None:
            self.report.drop(current, "a balloon's size now: the guest begins with all of its memory")
        return rounded

    def _firmware(self, contents: DiskContents | None) -> dict[str, Any]:
        system = child(self._domain, "os")
        loader, nvram = child(system, "loader"), child(system, "nvram")
        auto = attribute(system, "firmware")
        uefi = auto == "efi" or attribute(loader, "type") == "pflash" or nvram is not None
        if system is not None and auto:
            self._tell(system, "firmware", attribute="firmware")
        elif loader is None and contents is not None and contents.firmware == "uefi":
            self.report.changed("boot", "the definition says BIOS, and the first disk looks like one that UEFI starts")
        if loader is not None:
            self.report.change(loader, "the runtime has its own build of the firmware")
            for name in ("type", "secure"):
                if name in loader.attrib:
                    self._tell(loader, "firmware" if name == "type" else "secure_boot", attribute=name)
        secure = attribute(loader, "secure") == "yes" and auto != "efi"
        for feature in children(child(system, "firmware"), "feature"):
            for name in feature.attrib:
                self._tell(feature, "secure_boot", attribute=local_name(name))
            secure |= attribute(feature, "name") == "secure-boot" and attribute(feature, "enabled") == "yes"
        if nvram is not None:
            self.report.drop(nvram, "UEFI variables are not taken along: the firmware begins with its own")
        if uefi and contents is not None and not (contents.esp and contents.fallback_loader):
            self.report.changed("boot entry", no_fallback(contents))
        return {"firmware": "uefi" if uefi else "bios", "secure_boot": uefi and secure}

    def _timezone(self, contents: DiskContents | None) -> str:
        element = child(self._domain, "clock")
        offset, named = attribute(element, "offset"), attribute(element, "timezone")
        if offset == "timezone" and named and not self._options.timezone:
            self._tell(element, "timezone", attribute="offset")
            self._tell(element, "timezone", attribute="timezone")
            return named
        local = offset == "localtime" or (offset == "variable" and attribute(element, "basis") == "localtime")
        windows = offset in {"", "variable"} and contents is not None and contents.os_family == "windows"
        zone, why = clock(windows, local, self._options)
        if element is None:
            if why:
                self.report.changed("timezone", why)
        elif offset:
            self._tell(element, "timezone", why, attribute="offset")
        return zone

    def _tpm(self) -> dict[str, Any]:
        element = child(self._domain, "devices", "tpm")
        if element is None:
            return {"tpm": False}
        backend = child(element, "backend")
        if self._notes is not None and self._options.runtime != "k3s":
            self._tell(backend, "tpm", attribute="type")
        elif backend is not None:
            self._tell(backend, "", tpm_why(self._options), attribute="type")
        return {"tpm": self._options.runtime != "k3s"}

    def _graphics(self) -> dict[str, Any]:
        screens = children(child(self._domain, "devices"), "graphics")
        for number, screen in enumerate(screens):
            kind = attribute(screen, "type")
            if number == 0:
                why = "" if kind == "vnc" else f"{kind} became vnc, on the node's loopback address"
                self._tell(screen, "graphics", why, attribute="type")
            # Whatever else it says, its password among it, is the old host's.
            self.report.drop(screen, "VNC here listens on the node's loopback address only, without a password")
        return {"graphics": "vnc" if screens else "none"}

    def _policy(self) -> dict[str, Any]:
        if self._notes is None:
            return {}
        for name in _NOTES:
            why = "it stays off until you start it" if name == "run_policy" else ""
            self._tell(self._notes, name, why, attribute=name)
        values = {name: attribute(self._notes, name) for name in _NOTES}
        return {key: int(value) if value.isdecimal() else value for key, value in values.items() if value}

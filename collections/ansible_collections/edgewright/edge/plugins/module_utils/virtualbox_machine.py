"""VirtualBox's own description in an OVF (``vbox:Machine``): what the standard's part does not say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.import_report import local_name
from ansible_collections.edgewright.edge.plugins.module_utils.xml_document import attribute, child, children

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

_CONNECTED_UNLESS_SAID: Final = (1, 16)


@dataclass(frozen=True)
class Adapter:
    """An enabled network adapter: its element, and whether its cable is in."""

    element: ET.Element
    connected: bool


@dataclass(frozen=True)
class VirtualBoxMachine:
    """What ``vbox:Machine`` adds; empty where it does not say.

    Attributes:
        element: itself; ``None`` where the OVF has none.
        uuid: of the machine, without braces.
        firmware: element that names it; VirtualBox leaves it out for BIOS.
        chipset: element that names it (``PIIX3``, ``ICH9``).
        tpm: element of a trusted platform module.
        clock: element that says whether the hardware clock is UTC.
        nvram: element that names the file of UEFI variables.
        adapters: enabled network adapters, in slot order.
    """

    element: ET.Element | None
    uuid: str = ""
    firmware: ET.Element | None = None
    chipset: ET.Element | None = None
    tpm: ET.Element | None = None
    clock: ET.Element | None = None
    nvram: ET.Element | None = None
    adapters: tuple[Adapter, ...] = ()

    @property
    def uefi(self) -> bool:
        """Whether it starts with UEFI: ``EFI``, ``EFI32``, ``EFI64`` or ``EFIDUAL``."""
        return attribute(self.firmware, "type").upper().startswith("EFI")

    @property
    def local_time(self) -> bool:
        """Whether the hardware clock shows local time."""
        return attribute(self.clock, "localOrUTC").lower() == "local"


def virtualbox_machine(system: ET.Element) -> VirtualBoxMachine:
    """Read ``vbox:Machine`` of a virtual system (VirtualBox settings 1.12 to 1.20, ``Settings.cpp``)."""
    machine = child(system, "Machine")
    if machine is None:
        return VirtualBoxMachine(None)
    hardware = child(machine, "Hardware")

    def first(*names: str) -> ET.Element | None:
        return next((each for each in machine.iter() if local_name(each.tag) in names and each.attrib), None)

    adapters = sorted(
        (each for each in children(child(hardware, "Network"), "Adapter") if attribute(each, "enabled") == "true"),
        key=lambda each: (len(attribute(each, "slot")), attribute(each, "slot")),
    )
    # What is not written is the default of the settings' version: since 1.16 (VirtualBox 5.1) the cable is in.
    unsaid = "false" if _version(machine) < _CONNECTED_UNLESS_SAID else "true"
    return VirtualBoxMachine(
        machine,
        attribute(machine, "uuid").strip("{}"),
        first("Firmware"),
        first("Chipset"),
        first("TrustedPlatformModule"),
        first("RTC"),
        first("NVRAM"),
        tuple(
            Adapter(each, (attribute(each, "cable") or unsaid).lower() not in {"false", "0", "no", "off"})
            for each in adapters
        ),
    )


def _version(machine: ET.Element) -> tuple[int, ...]:
    """Return the version of the settings (``1.16-linux``); the newest rules where it is not written."""
    found = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", attribute(machine, "version"), re.ASCII)
    return tuple(int(number) for number in found.groups()) if found else _CONNECTED_UNLESS_SAID

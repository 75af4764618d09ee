"""VirtualBox's own description in an OVF (``vbox:Machine``): what the standard's part does not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.import_report import local_name
from ansible_collections.edgewright.edge.plugins.module_utils.xml_document import attribute, child, children

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET


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
    adapters: tuple[ET.Element, ...] = ()

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

    adapters = children(child(hardware, "Network"), "Adapter")
    return VirtualBoxMachine(
        machine,
        attribute(machine, "uuid").strip("{}"),
        first("Firmware"),
        first("Chipset"),
        first("TrustedPlatformModule"),
        first("RTC"),
        first("NVRAM"),
        tuple(
            sorted(
                (each for each in adapters if attribute(each, "enabled") == "true"),
                key=lambda each: (len(attribute(each, "slot")), attribute(each, "slot")),
            )
        ),
    )

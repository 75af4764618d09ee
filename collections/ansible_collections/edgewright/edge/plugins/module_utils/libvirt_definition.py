"""A libvirt domain definition read back into the model it was rendered from, whatever libvirt has filled in since."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.libvirt_domain import (
    DOMAIN_TYPES,
    METADATA_NAMESPACE,
    domain_xml,
)
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import KIB
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import (
    Cpu,
    Disk,
    Nic,
    VirtualMachine,
    disk_path,
)

# What the rendering makes, and what libvirt adds on its own to every definition.
_KNOWN_DEVICES: Final = frozenset(
    ("disk", "controller", "interface", "serial", "console", "channel", "tpm", "input", "graphics", "video")
) | {"emulator", "audio", "memballoon", "watchdog", "hub"}


def domain_from_xml(xml: str, *, live: bool = False) -> tuple[VirtualMachine, str]:
    """Return the machine and the virtualization (``kvm`` or ``emulation``) that a domain was rendered from.

    The inverse of ``domain_xml``, also of what ``virsh dumpxml --inactive`` gives for a domain defined from it:
    addresses, controllers, firmware paths and other things that libvirt adds are no difference.

    Args:
        xml: the definition.
        live: whether it is that of a running domain, in which libvirt has put a model of its own for ``host-model``.

    Raises:
        EdgeError: not XML, or not a domain that ``domain_xml`` makes; says what is not.
    """
    domain = _root(xml)
    problems = Problems()
    devices = domain.find("devices")
    for device in devices if devices is not None else ():
        if device.tag not in _KNOWN_DEVICES:
            problems.add("devices", "has a device that no rendered domain has", found=f"<{device.tag}>")
    try:
        virtualization = {kind: name for name, kind in DOMAIN_TYPES.items()}[domain.get("type", "")]
        vm = _machine(domain, live=live)
    except (KeyError, ValueError, TypeError) as error:
        problems.add("domain", f"was not rendered from a virtual machine of an inventory ({error})")
        problems.raise_if_any()
        raise
    problems.raise_if_any()
    return vm, virtualization


def same_definition(one: str, other: str) -> bool:
    """Tell whether two definitions give the same machine; false when either was not rendered from the model."""
    try:
        return domain_from_xml(one) == domain_from_xml(other)
    except EdgeError:
        return False


def runs_as_defined(live: str, defined: str) -> bool:
    """Tell whether a running domain has what its definition says; true when neither was rendered from the model.

    Args:
        live: what ``virsh dumpxml`` gives.
        defined: what ``virsh dumpxml --inactive`` gives.
    """
    return _read(live) == _read(defined)


def with_links_of(defined: str, live: str) -> tuple[str, list[str]]:
    """Give a running domain's network cards the link states that its definition has.

    Args:
        defined: the definition.
        live: what ``virsh dumpxml`` gives of the running domain.

    Returns:
        what the running domain is then, and the cards that this changes, as ``virDomainUpdateDeviceFlags`` takes them;
        none where one of the two was not rendered from the model.
    """
    wanted, found = _read(defined), _read(live)
    if wanted is None or found is None:
        return live, []
    states = {nic.mac: nic.link_state for nic in wanted[0].nics}
    domain = _root(live)
    changed = []
    for card, nic in zip(domain.iterfind("devices/interface"), found[0].nics, strict=True):
        state = states.get(nic.mac, nic.link_state)
        if state != nic.link_state:
            link = card.find("link")
            (ET.SubElement(card, "link") if link is None else link).set("state", state)
            # libvirt takes what a network came to (a bridge of the host) for the card's own, and forgets the network.
            card.set("type", "network")
            source = _need(card.find("source"))
            source.attrib = {"network": nic.network}
            changed.append(ET.tostring(card, encoding="unicode"))
    return ET.tostring(domain, encoding="unicode"), changed


def _read(xml: str) -> tuple[VirtualMachine, str] | None:
    try:
        return domain_from_xml(xml, live=True)
    except EdgeError:
        return None


def normal_form(xml: str) -> str:
    """Return a definition as ``domain_xml`` writes it, for showing a difference; a foreign one as it is."""
    try:
        vm, virtualization = domain_from_xml(xml)
        return domain_xml(vm, virtualization=virtualization)
    except EdgeError:
        return xml


def domain_name(xml: str) -> str:
    """Return the name a definition gives its domain.

    Raises:
        EdgeError: not XML, or no domain.
    """
    return _root(xml).findtext("name", "").strip()


def _root(xml: str) -> ET.Element:
    # Neither libvirt nor the rendering writes a document type, and refusing one leaves no entity to expand.
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise EdgeError(Problem("domain", "has a document type, which a domain never needs"))
    try:
        root = ET.fromstring(xml)  # noqa: S314 (no document type, see above)
    except ET.ParseError as error:
        raise EdgeError(Problem("domain", f"is not well-formed XML ({error})")) from error
    if root.tag != "domain" or not root.findtext("name", "").strip():
        raise EdgeError(Problem("domain", "is not a libvirt domain", expected="<domain> with a <name>"))
    return root


def _need(element: ET.Element | None) -> ET.Element:
    if element is None:
        message = "an element is missing"
        raise ValueError(message)
    return element


def _machine(domain: ET.Element, *, live: bool) -> VirtualMachine:
    notes = domain.find(f"metadata/{{{METADATA_NAMESPACE}}}machine")
    if notes is None:
        message = "its metadata are missing"
        raise ValueError(message)
    disk_notes = notes.findall(f"{{{METADATA_NAMESPACE}}}disk")
    system = _need(domain.find("os"))
    uefi = system.get("firmware") == "efi"
    if not uefi and system.find("loader") is not None:
        message = "its firmware was chosen by hand"
        raise ValueError(message)
    if len(domain.findall("devices/graphics")) > 1 or len(domain.findall("devices/tpm")) > 1:
        message = "it has a second display or TPM"
        raise ValueError(message)
    clock = _need(domain.find("clock"))
    memory = _need(domain.find("memory"))
    return VirtualMachine(
        name=domain.findtext("name", ""),
        uuid=domain.findtext("uuid", ""),
        cpu=_cpu(domain, notes.attrib["cpu_model"], live=live),
        memory=int(memory.text or "") * {"KiB": KIB}[memory.get("unit", "KiB")],
        disks=tuple(_disk(*pair) for pair in zip(_numbered_disks(domain), disk_notes, strict=True)),
        nics=tuple(_nic(element, live=live) for element in domain.iterfind("devices/interface")),
        machine=_board(_need(system.find("type")).get("machine", "")),
        firmware="uefi" if uefi else "bios",
        secure_boot=system.find("firmware/feature[@name='secure-boot'][@enabled='yes']") is not None,
        tpm=domain.find("devices/tpm/backend[@type='emulator']") is not None,
        timezone={"utc": "UTC", "timezone": clock.get("timezone", "")}[clock.get("offset", "")],
        graphics="none" if (graphics := domain.find("devices/graphics")) is None else graphics.attrib["type"],
        run_policy=notes.attrib["run_policy"],
        stop_timeout=int(notes.attrib["stop_timeout"]),
        start_order=int(notes.attrib["start_order"]),
        priority=int(notes.attrib["priority"]),
    )


def _board(machine: str) -> str:
    """Return the board behind libvirt's versioned name: ``pc-q35-10.0`` is q35, ``pc-i440fx-10.0`` is pc."""
    if machine == "q35" or machine.startswith("pc-q35-"):
        return "q35"
    if machine == "pc" or machine.startswith("pc-i440fx-"):
        return "pc"
    message = f"machine {machine} is unknown"
    raise ValueError(message)


def _cpu(domain: ET.Element, declared: str, *, live: bool) -> Cpu:
    cpu = _need(domain.find("cpu"))
    topology = _need(cpu.find("topology"))
    mode = cpu.get("mode", "custom")
    model = cpu.findtext("model", declared) if mode == "custom" else mode
    if declared == "host-model" and (live or domain.get("type") == "qemu"):
        model = declared
    made = Cpu(int(topology.attrib["sockets"]), int(topology.attrib["cores"]), int(topology.attrib["threads"]), model)
    if int(domain.findtext("vcpu", "0")) != made.count:
        message = "vcpu is not what the topology makes"
        raise ValueError(message)
    return made


def _numbered_disks(domain: ET.Element) -> list[ET.Element]:
    """Return the disks by their number; libvirt groups them by bus."""
    disks = {_need(element.find("source")).get("file", ""): element for element in domain.iterfind("devices/disk")}
    paths = [disk_path(domain.findtext("name", ""), number) for number in range(len(disks))]
    strange = sorted(set(disks) - set(paths))
    if strange or len(disks) != len(domain.findall("devices/disk")):
        message = f"disks are not where a rendered domain has them: {', '.join(strange)}"
        raise ValueError(message)
    return [disks[path] for path in paths]


def _disk(element: ET.Element, notes: ET.Element) -> Disk:
    size = notes.get("size")
    return Disk(
        source=notes.attrib["source"],
        bus=_need(element.find("target")).attrib["bus"],
        boot_order=int(_need(element.find("boot")).attrib["order"]),
        size=None if size is None else int(size),
        format=_need(element.find("driver")).attrib["type"],
        serial=element.findtext("serial", ""),
    )


def _nic(element: ET.Element, *, live: bool) -> Nic:
    # A running domain's card on a network that is a bridge of the host is shown as what it came to, of that network.
    if element.get("type") != "network" and not (live and _need(element.find("source")).get("network")):
        message = "a network card is on no libvirt network"
        raise ValueError(message)
    return Nic(
        network=_need(element.find("source")).attrib["network"],
        model=_need(element.find("model")).attrib["type"],
        mac=_need(element.find("mac")).attrib["address"],
        link_state="up" if (link := element.find("link")) is None else link.attrib["state"],
    )

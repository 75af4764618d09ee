"""A virtual machine as a libvirt domain (https://libvirt.org/formatdomain.html)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import count
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import KIB
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import (
    Cpu,
    Disk,
    Nic,
    VirtualMachine,
    disk_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

METADATA_NAMESPACE: Final = "https://edgewright.example.org/xml/virtual-machine/1"
"""Namespace of the part of the model that libvirt has no element for; it rides in ``<metadata>``."""

DOMAIN_TYPES: Final = {"kvm": "kvm", "emulation": "qemu"}
_TARGET_PREFIXES: Final = {"virtio": "vd", "scsi": "sd", "sata": "sd", "usb": "sd", "ide": "hd"}
_IDE_DISKS: Final = 4


def domain_xml(vm: VirtualMachine, *, virtualization: str, where: str = "") -> str:
    """Render a machine as the XML that ``virsh define`` takes; the same machine is always the same bytes.

    Args:
        vm: the machine.
        virtualization: ``kvm`` or ``emulation`` (QEMU's TCG).
        where: path of the machine in the inventory, for errors.

    Raises:
        EdgeError: everything that libvirt and QEMU cannot give this machine.
    """
    _check(vm, virtualization, where or vm.name)
    domain = ET.Element("domain", type=DOMAIN_TYPES[virtualization])
    _text(domain, "name", vm.name)
    _text(domain, "uuid", vm.uuid)
    domain.append(_metadata(vm))
    _text(domain, "memory", str(vm.memory // KIB), unit="KiB")
    _text(domain, "vcpu", str(vm.cpu.count), placement="static")
    domain.append(_os(vm))
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    if vm.secure_boot:
        # OVMF's secure boot keeps its variables behind System Management Mode.
        ET.SubElement(features, "smm", state="on")
    domain.append(_cpu(vm.cpu, virtualization))
    domain.append(_clock(vm.timezone, virtualization))
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "restart")
    devices = ET.SubElement(domain, "devices")
    devices.extend(_disks(vm))
    devices.extend(_controllers(vm))
    devices.extend(_nic(nic) for nic in vm.nics)
    devices.extend(_consoles(vm.name))
    if vm.tpm:
        tpm = ET.SubElement(devices, "tpm", model="tpm-crb" if vm.machine == "q35" else "tpm-tis")
        ET.SubElement(tpm, "backend", type="emulator", version="2.0")
    devices.extend(_graphics(vm))
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def serial_log(name: str) -> str:
    """Return where a node keeps what the machine with this name writes to its serial console."""
    return f"/var/log/libvirt/qemu/{name}-serial.log"


def _check(vm: VirtualMachine, virtualization: str, where: str) -> None:
    problems = Problems()
    _check_board(vm, virtualization, where, problems)
    _check_disks(vm, where, problems)
    for number, nic in enumerate(vm.nics):
        _check_nic(nic, vm.machine, f"{where}.nics[{number}]", problems)
    problems.raise_if_any()


def _check_board(vm: VirtualMachine, virtualization: str, where: str, problems: Problems) -> None:
    if virtualization not in DOMAIN_TYPES:
        problems.add(
            "edge_virtualization",
            "is not known",
            found=repr(virtualization),
            expected=f"one of {', '.join(DOMAIN_TYPES)}",
        )
    if virtualization == "emulation" and vm.cpu.model == "host-passthrough":
        problems.add(
            f"{where}.cpu.model",
            "needs hardware virtualization",
            found="'host-passthrough' with edge_virtualization 'emulation'",
            remedy="Name a model as qemu64, or leave cpu.model out.",
        )
    if vm.memory % KIB:
        problems.add(f"{where}.memory", "must be a multiple of 1KiB for libvirt", found=str(vm.memory))
    if vm.secure_boot and vm.machine != "q35":
        problems.add(f"{where}.machine", "secure boot needs q35", found=vm.machine, remedy="Set 'machine: q35'.")


def _check_disks(vm: VirtualMachine, where: str, problems: Problems) -> None:
    for number, disk in enumerate(vm.disks):
        if not disk.volume.local:
            problems.add(
                f"{where}.disks[{number}].volume",
                "is one of a Kubernetes cluster",
                found=disk.volume.kind,
                expected="local",
                remedy="Leave 'volume' out: then the disk is a file on the node, taken out of its image if it has one.",
            )
    ide = [number for number, disk in enumerate(vm.disks) if disk.bus == "ide"]
    if vm.machine == "q35":
        for number in ide:
            problems.add(
                f"{where}.disks[{number}].bus",
                "machine q35 has no IDE controller",
                found="ide",
                remedy="Set 'machine: pc' for this guest, or 'bus: sata' if it has an AHCI driver.",
            )
    for number in ide[_IDE_DISKS:]:
        problems.add(
            f"{where}.disks[{number}].bus",
            "machine pc has room for 4 IDE disks",
            found=f"{len(ide)} of them",
            remedy="Put the others on bus scsi, sata or virtio.",
        )


def _check_nic(nic: Nic, machine: str, where: str, problems: Problems) -> None:
    if nic.mac.startswith("fe:"):
        # libvirt keeps this prefix for the host's side of the cable (virDomainActualNetDefValidate).
        problems.add(
            f"{where}.mac",
            "libvirt keeps addresses that begin with fe: for itself",
            found=nic.mac,
            remedy="Leave mac out to have one derived.",
        )
    if nic.model == "e1000e" and machine == "pc":
        problems.add(
            f"{where}.model",
            "e1000e is a PCI Express device, and machine pc has none",
            found="e1000e",
            remedy="Use e1000, or 'machine: q35'.",
        )


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _metadata(vm: VirtualMachine) -> ET.Element:
    metadata = ET.Element("metadata")
    machine = ET.SubElement(
        metadata,
        f"{{{METADATA_NAMESPACE}}}machine",
        {
            "run_policy": vm.run_policy,
            "stop_timeout": str(vm.stop_timeout),
            "start_order": str(vm.start_order),
            "priority": str(vm.priority),
            # libvirt writes QEMU's default model into a definition that has none.
            "cpu_model": vm.cpu.model,
        },
    )
    for disk in vm.disks:
        element = ET.SubElement(machine, f"{{{METADATA_NAMESPACE}}}disk", source=disk.source)
        if disk.size is not None:
            element.set("size", str(disk.size))
    return metadata


def _os(vm: VirtualMachine) -> ET.Element:
    system = ET.Element("os")
    if vm.firmware == "uefi":
        # libvirt chooses the OVMF build from its firmware descriptors by these features.
        system.set("firmware", "efi")
    _text(system, "type", "hvm", arch="x86_64", machine=vm.machine)
    if vm.firmware == "uefi":
        firmware = ET.SubElement(system, "firmware")
        answer = "yes" if vm.secure_boot else "no"
        ET.SubElement(firmware, "feature", enabled=answer, name="enrolled-keys")
        ET.SubElement(firmware, "feature", enabled=answer, name="secure-boot")
    return system


def _cpu(cpu: Cpu, virtualization: str) -> ET.Element:
    emulated = virtualization == "emulation"
    element = ET.Element("cpu")
    if cpu.model == "host-passthrough":
        element.attrib |= {"mode": "host-passthrough", "check": "none"}
    elif cpu.model != "host-model":
        # Emulation leaves out features a named model has; a check would refuse to start the guest for it.
        element.attrib |= {"mode": "custom", "match": "exact", "check": "none" if emulated else "partial"}
        _text(element, "model", cpu.model, fallback="forbid")
    elif not emulated:
        element.attrib |= {"mode": "host-model", "check": "partial"}
    ET.SubElement(element, "topology", sockets=str(cpu.sockets), cores=str(cpu.cores), threads=str(cpu.threads))
    return element


def _clock(timezone: str, virtualization: str) -> ET.Element:
    if timezone == "UTC":
        clock = ET.Element("clock", offset="utc")
    else:
        clock = ET.Element("clock", offset="timezone", timezone=timezone)
    if virtualization == "kvm":
        ET.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
        ET.SubElement(clock, "timer", name="pit", tickpolicy="delay")
        ET.SubElement(clock, "timer", name="hpet", present="no")
    return clock


def _disks(vm: VirtualMachine) -> Iterator[ET.Element]:
    letters = {prefix: count() for prefix in _TARGET_PREFIXES.values()}
    for number, disk in enumerate(vm.disks):
        prefix = _TARGET_PREFIXES[disk.bus]
        yield _disk(disk, disk_path(vm.name, number), prefix + _letters(next(letters[prefix])))


def _disk(disk: Disk, path: str, target: str) -> ET.Element:
    element = ET.Element("disk", type="file", device="disk")
    ET.SubElement(element, "driver", name="qemu", type=disk.format, discard="unmap")
    ET.SubElement(element, "source", file=path)
    ET.SubElement(element, "target", dev=target, bus=disk.bus)
    if disk.serial:
        _text(element, "serial", disk.serial)
    ET.SubElement(element, "boot", order=str(disk.boot_order))
    return element


def _letters(index: int) -> str:
    """Count as disk names do: a, b to z, aa, ab and so on."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _controllers(vm: VirtualMachine) -> Iterator[ET.Element]:
    buses = {disk.bus for disk in vm.disks}
    if "scsi" in buses:
        # libvirt's own choice on machine pc would be the LSI 53C895A, which current guests have no driver for.
        yield ET.Element("controller", type="scsi", index="0", model="virtio-scsi")
    if "usb" in buses:
        yield ET.Element("controller", type="usb", index="0", model="qemu-xhci")


def _nic(nic: Nic) -> ET.Element:
    element = ET.Element("interface", type="network")
    ET.SubElement(element, "mac", address=nic.mac)
    ET.SubElement(element, "source", network=nic.network)
    ET.SubElement(element, "model", type=nic.model)
    if nic.link_state == "down":
        ET.SubElement(element, "link", state="down")
    return element


def _consoles(name: str) -> Iterator[ET.Element]:
    serial = ET.Element("serial", type="pty")
    ET.SubElement(serial, "log", file=serial_log(name), append="on")
    ET.SubElement(serial, "target", type="isa-serial", port="0")
    yield serial
    console = ET.Element("console", type="pty")
    ET.SubElement(console, "log", file=serial_log(name), append="on")
    ET.SubElement(console, "target", type="serial", port="0")
    yield console
    channel = ET.Element("channel", type="unix")
    ET.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    yield channel


def _graphics(vm: VirtualMachine) -> Iterator[ET.Element]:
    if vm.graphics == "none":
        return
    # An absolute pointer keeps the mouse of a VNC client where the guest draws it.
    yield ET.Element("input", type="tablet", bus="usb")
    graphics = ET.Element("graphics", type="vnc", port="-1", autoport="yes")
    ET.SubElement(graphics, "listen", type="address", address="127.0.0.1")
    yield graphics
    video = ET.Element("video")
    ET.SubElement(video, "model", type="vga")
    yield video


ET.register_namespace("edgewright", METADATA_NAMESPACE)

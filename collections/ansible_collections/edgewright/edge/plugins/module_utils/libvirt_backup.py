"""What belongs to a libvirt domain and goes into its backup, and the job that copies its disks while it runs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import disk_path
from ansible_collections.edgewright.edge.plugins.module_utils.xml_document import (
    attribute,
    child,
    children,
    parse,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

AGENT: Final = "org.qemu.guest_agent.0"
NVRAM_FOLDER: Final = "qemu/nvram"
"""Where libvirt keeps UEFI variables, below its folder of state (``/var/lib/libvirt``)."""
TPM_STATE: Final = "swtpm/{uuid}/tpm2"
"""Where libvirt keeps what a TPM 2.0 has, likewise (qemu_tpm.c, qemuTPMEmulatorStorageBuildPath)."""


@dataclass(frozen=True)
class DomainDisk:
    """A disk of a domain: its name there (``vda``), the file, and the file's format."""

    target: str
    path: str
    format: str


@dataclass(frozen=True)
class DomainParts:
    """What a domain is made of besides its definition.

    Attributes:
        uuid: of the domain.
        disks: in the model's order.
        nvram: file of its UEFI variables; empty when it has none, or libvirt chose none yet.
        uefi: whether its firmware is UEFI.
        tpm: whether it has an emulated TPM.
        agent: whether something in the guest has opened the channel of the guest agent.
    """

    uuid: str
    disks: tuple[DomainDisk, ...]
    nvram: str
    uefi: bool
    tpm: bool
    agent: bool


def domain_parts(xml: str, *, where: str) -> DomainParts:
    """Read them from a definition, a live one or not.

    Raises:
        EdgeError: not XML, or a disk that is no file here; says all of them.
    """
    domain = parse(xml.encode(), where=where)
    problems = Problems()
    disks = []
    for disk in children(child(domain, "devices"), "disk"):
        if attribute(disk, "device") not in {"", "disk"}:
            continue
        target, path = attribute(child(disk, "target"), "dev"), attribute(child(disk, "source"), "file")
        if not path:
            problems.add(
                f"{where}: disk {target}",
                "is no file of this node",
                found=attribute(disk, "type"),
                remedy="Back it up with the tools of where it lies.",
            )
        disks.append(DomainDisk(target, path, attribute(child(disk, "driver"), "type") or "raw"))
    if not disks:
        problems.add(where, "has no disk")
    problems.raise_if_any()
    system = child(domain, "os")
    nvram = child(system, "nvram")
    backend = child(domain, "devices", "tpm", "backend")
    return DomainParts(
        uuid=text(domain, "uuid"),
        disks=_numbered(text(domain, "name"), disks),
        nvram=text(nvram) or attribute(child(nvram, "source"), "file"),
        uefi=attribute(system, "firmware") == "efi" or nvram is not None,
        tpm=attribute(backend, "type") == "emulator",
        agent=any(
            attribute(target, "name") == AGENT and attribute(target, "state") == "connected"
            for target in (child(each, "target") for each in children(child(domain, "devices"), "channel"))
        ),
    )


def _numbered(name: str, disks: list[DomainDisk]) -> tuple[DomainDisk, ...]:
    """Return disks by their number, for libvirt groups them by bus; those of a foreign domain as they come."""
    paths = [disk_path(name, number) for number in range(len(disks))]
    if {disk.path for disk in disks} != set(paths):
        return tuple(disks)
    return tuple(sorted(disks, key=lambda disk: paths.index(disk.path)))


def backup_xml(targets: Mapping[str, str]) -> str:
    """Return the job that copies these disks (name in the domain: path of an existing qcow2 image) as of one moment.

    libvirt.org/formatbackup.html, push mode. All disks are in one transaction of QEMU, and other disks are left out.
    """
    job = ET.Element("domainbackup", mode="push")
    disks = ET.SubElement(job, "disks")
    for target, path in targets.items():
        disk = ET.SubElement(disks, "disk", name=target, backup="yes", type="file")
        ET.SubElement(disk, "target", file=path)
        ET.SubElement(disk, "driver", type="qcow2")
    return ET.tostring(job, encoding="unicode")


def job_files(xml: str, *, where: str) -> list[str]:
    """Return the files that a running job writes: copies, or in pull mode what the guest overwrites meanwhile.

    Raises:
        EdgeError: not XML.
    """
    disks = children(child(parse(xml.encode(), where=where), "disks"), "disk")
    found = (attribute(child(disk, name), "file") for disk in disks for name in ("target", "scratch"))
    return [path for path in found if path]

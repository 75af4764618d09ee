"""Virtio drivers put into a guest by ``virt-v2v-in-place``, where that is installed (virt-v2v 2.x, its own manual)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "virt-v2v-in-place"
_LONGEST: Final = 6 * 3600


def check_installed() -> None:
    """Check that the program is there.

    Raises:
        EdgeError: it is not.
    """
    if shutil.which(PROGRAM) is None:
        raise EdgeError(
            Problem(
                "inject_drivers",
                f"needs {PROGRAM}, which is not installed where this runs",
                remedy="Install it (Debian: package virt-v2v), or leave 'inject_drivers' out.",
            )
        )


def inject(disks: Sequence[Path], form: str, *, uefi: bool, where: str) -> None:
    """Put virtio drivers into the guest on these disks, which are changed where they are.

    Args:
        disks: images, the one with the operating system among them.
        form: ``qcow2`` or ``raw``.
        uefi: whether the guest starts with UEFI.
        where: the machine's name, for errors.

    Raises:
        EdgeError: the program fails; it knows RHEL, SUSE, Debian, Ubuntu and Windows.
    """
    with tempfile.TemporaryDirectory(prefix="edgewright-import-") as scratch:
        description = Path(scratch) / "guest.xml"
        description.write_bytes(_description(disks, form, uefi=uefi))
        command = [PROGRAM, "-i", "libvirtxml", str(description)]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=_LONGEST)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EdgeError(Problem(where, f"{PROGRAM} cannot be run ({error})")) from error
    if done.returncode:
        lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise EdgeError(
            Problem(
                where,
                f"{PROGRAM} fails: {lines[-1][:300] if lines else 'it does not say why'}",
                remedy="Import without 'inject_drivers', and put the drivers in from inside the guest.",
            )
        )


def _description(disks: Sequence[Path], form: str, *, uefi: bool) -> bytes:
    domain = ET.Element("domain", type="kvm")
    ET.SubElement(domain, "name").text = "import"
    ET.SubElement(domain, "memory", unit="MiB").text = "2048"
    ET.SubElement(domain, "vcpu").text = "1"
    system = ET.SubElement(domain, "os", firmware="efi") if uefi else ET.SubElement(domain, "os")
    ET.SubElement(system, "type", arch="x86_64").text = "hvm"
    devices = ET.SubElement(domain, "devices")
    for number, path in enumerate(disks):
        disk = ET.SubElement(devices, "disk", type="file", device="disk")
        ET.SubElement(disk, "driver", name="qemu", type=form)
        ET.SubElement(disk, "source", file=str(path))
        ET.SubElement(disk, "target", dev=f"sd{chr(ord('a') + number)}", bus="sata")
    return ET.tostring(domain)

"""A machine for a disk that comes alone: what can be seen in the disk, and what has to be assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.import_report import ImportReport
from ansible_collections.edgewright.edge.plugins.module_utils.imported_machine import (
    ImportedMachine,
    ImportOptions,
    SourceDisk,
    checked,
    clock,
    machine_name,
    topology,
    whole_sectors,
)
from ansible_collections.edgewright.edge.plugins.module_utils.ovf_machine import no_fallback

if TYPE_CHECKING:
    from ansible_collections.edgewright.edge.plugins.module_utils.disk_contents import DiskContents
    from ansible_collections.edgewright.edge.plugins.module_utils.disk_image import ImageInfo


def machine_of_disk(
    file: str, stem: str, info: ImageInfo, contents: DiskContents, options: ImportOptions, *, where: str
) -> ImportedMachine:
    """Return a machine with this one disk.

    Args:
        file: path of the image.
        stem: its name without suffix, which names the machine if the operator does not.
        info: what the image is.
        contents: what it shows.
        options: the operator's.
        where: path of the image, for errors.

    Raises:
        EdgeError: no name, or all that the model cannot take.
    """
    report = ImportReport()
    name, why = machine_name(stem, options, where=where)
    (report.changed if why else report.kept)("file name", why or "name")
    _tell_disk(report, info, contents, options)
    bus = "virtio" if options.virtio else "sata"
    model = "virtio" if options.virtio else "e1000e"
    windows = contents.os_family == "windows"
    zone, clock_why = clock(windows, local=False, options=options)
    if clock_why:
        report.changed("timezone", clock_why)
    shape, _ = topology(options.cpus, options.cpus)
    for key, told in (
        ("cpu", f"a disk does not say: {options.cpus} processors, by 'cpus'"),
        ("memory", f"a disk does not say: {options.memory} bytes, by 'memory'"),
        ("disks[0].bus", f"a disk does not say: {bus}, whose driver guests have"),
        ("nics", f"a disk does not say: one {model} on network default"),
        ("uuid", "a disk does not say: it is derived from the site's and the machine's name"),
    ):
        report.changed(key, told)
    size = whole_sectors(info.virtual_size)
    disk: dict[str, Any] = {
        "source": f"file:{options.folder}/{name}/disk0.{'qcow2' if options.format == 'qcow2' else 'img'}",
        "format": options.format,
        "bus": bus,
        "boot_order": 1,
        "size": size,
    }
    vm = {
        "name": name,
        "run_policy": "halted",
        "cpu": {**shape, "model": "host-model"},
        "memory": options.memory,
        "firmware": contents.firmware,
        "secure_boot": False,
        "tpm": False,
        "timezone": zone,
        "machine": "q35",
        "disks": [disk],
        "nics": [{"network": "default", "model": model}],
        "graphics": "vnc",
    }
    return ImportedMachine(checked(vm, where=where), (SourceDisk(file, size, info.format),), report.as_list())


def _tell_disk(report: ImportReport, info: ImageInfo, contents: DiskContents, options: ImportOptions) -> None:
    same = info.format == options.format
    tell = report.kept if same else report.changed
    tell("format", "disks[0].format" if same else f"{info.format} becomes {options.format}")
    report.kept("virtual size", "disks[0].size")
    report.kept("partition table", f"{contents.partition_table}, on the disk")
    for number, part in enumerate(contents.partitions, 1):
        report.kept(f"partition {number}", f"type {part.type}, {part.file_system or 'unknown'} in it, on the disk")
    seen = "found" if contents.esp else "not found"
    report.kept("EFI system partition", f"{seen}: firmware is {contents.firmware}")
    report.kept("operating system", f"{contents.os_family}, by its partitions and file systems")
    if contents.firmware == "uefi" and not contents.fallback_loader:
        report.changed("boot entry", no_fallback(contents))

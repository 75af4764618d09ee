"""A virtual machine of another home, brought along: what it will be, and its disks made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils import driver_injection
from ansible_collections.edgewright.edge.plugins.module_utils.disk_import import DiskImport, enough_space
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.imported_machine import (
    ImportedMachine,
    ImportOptions,
    refusals,
)
from ansible_collections.edgewright.edge.plugins.module_utils.qemu_image import SourceImage
from ansible_collections.edgewright.edge.plugins.module_utils.vm_source import VmSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ansible_collections.edgewright.edge.plugins.module_utils.disk_contents import DiskContents
    from ansible_collections.edgewright.edge.plugins.module_utils.vm_source import Content

    Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Seen:
    """What a source is: its kind, the machine, sizes of its disks where they can be told, and what was in the way."""

    kind: str
    machine: ImportedMachine
    refusals: list[str]
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return it as a module's result."""
        return {
            "kind": self.kind,
            "vm": self.machine.vm,
            "report": self.machine.report,
            "refusals": self.refusals,
        }


def options_of(parameters: Mapping[str, Any], *, memory: int) -> ImportOptions:
    """Return the operator's options from a module's parameters; ``memory`` is in bytes."""
    return ImportOptions(
        name=parameters["name"] or "",
        runtime=parameters["runtime"],
        timezone=parameters["timezone"] or "",
        networks=dict(parameters["networks"]),
        virtio=parameters["virtio"],
        format=parameters["format"] or ("raw" if parameters["runtime"] == "k3s" else "qcow2"),
        folder=parameters["folder"],
        system=parameters["system"] or "",
        memory=memory,
        cpus=parameters["cpus"],
    )


def look(path: Path, options: ImportOptions, folders: Sequence[Path]) -> Seen:
    """Look at a source; nothing is written, but for pieces of some ten KiB in the folder for temporary files.

    Disks that cannot be read are no error: then the machine is what the description alone says.

    Raises:
        EdgeError: it is no source, or says what the model cannot take.
    """
    source = VmSource(path, options, folders)
    warnings: list[str] = []
    contents = None
    sizes: list[int | None] = []
    try:
        found = source.contents()
        sizes = [content.image().info().virtual_size if content.plain else None for content in found]
        if found[0].plain:
            contents = source.look(found[0].image())
        elif found[0].pieces:
            warnings.append("The first disk is compressed or split: what is in it shows when it is imported.")
    except EdgeError as error:
        warnings += [str(problem) for problem in error.problems]
    machine = with_sizes(source.imported(contents), sizes)
    return Seen(source.kind, machine, refusals(machine.vm, options), warnings)


def with_sizes(machine: ImportedMachine, sizes: Sequence[int | None]) -> ImportedMachine:
    """Return the machine with the sizes of those disks that its description has none for."""
    disks = [
        {**disk, "size": sizes[number]} if number < len(sizes) and sizes[number] and "size" not in disk else dict(disk)
        for number, disk in enumerate(machine.vm["disks"])
    ]
    return replace(machine, vm={**machine.vm, "disks": disks})


class MachineImport:
    """One import.

    Args:
        path: the source.
        folder: where the machines' folders with disks are.
        options: the operator's.
        folders: where disks of a libvirt domain may lie.
        force: whether disks of something else are replaced.
        need_manifest: whether a package without a manifest is refused.
        inject: whether virtio drivers are put into the guest.

    Raises:
        EdgeError: all that speaks against it and can be known before anything is written.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        options: ImportOptions,
        *,
        folders: Sequence[Path] = (),
        force: bool = False,
        need_manifest: bool = False,
        inject: bool = False,
    ) -> None:
        self._options = replace(options, virtio=True) if inject else options
        self._inject = inject
        if inject:
            driver_injection.check_installed()
        self._source = VmSource(path, self._options, folders)
        if need_manifest and self._source.manifest is None:
            raise EdgeError(
                Problem(str(path), "has no manifest (.mf)", remedy="Export it with one, or leave 'need_manifest' out.")
            )
        found = self._source.contents()
        self.name = str(self._source.imported(None).vm["name"])
        self._folder = folder / self.name
        self._disks = [self._disk(number, content) for number, content in enumerate(found)]
        self._check(force=force)

    def unmade(self) -> list[str]:
        """Return the paths of the disks that are to be made."""
        return [str(disk.target) for disk, stamp in zip(self._disks, self._stamps, strict=True) if stamp is None]

    def run(self, tell: Tell) -> None:
        """Make the disks that are not finished; ``tell`` gets a disk's name and percents.

        Raises:
            EdgeError: a source is damaged, or not what its manifest says; nothing of that disk is left.
        """
        waiting: list[DiskImport] = []
        try:
            for number, disk in enumerate(self._disks):
                if self._stamps[number] is not None:
                    disk.discard()  # what an interrupted run has left
                    continue
                disk.assemble()
                if not disk.content.plain:  # else it was looked at before
                    self._look(number)
                waiting.append(disk)
                disk.convert(self._sizes[number] or 0, partial(tell, disk.target.name))
                if not self._inject:
                    self._stamps[number] = disk.commit()
            if self._inject and waiting:
                uefi = self._source.imported(self._contents).vm["firmware"] == "uefi"
                driver_injection.inject(
                    [disk.partial for disk in waiting], self._options.format, uefi=uefi, where=self.name
                )
                for number, disk in enumerate(self._disks):
                    self._stamps[number] = disk.commit() if disk in waiting else self._stamps[number]
        finally:
            for disk in waiting:
                disk.discard()

    def seen(self) -> Seen:
        """Return the machine; before ``run``, of a disk that is packed only what the description says."""
        machine = with_sizes(self._source.imported(self._contents), self._sizes)
        return Seen(self._source.kind, machine, refusals(machine.vm, self._options), [])

    def disks(self) -> list[dict[str, Any]]:
        """Return path, format, size and digests of each disk; no digests of one that is not made yet."""
        made = []
        for disk, stamp, size in zip(self._disks, self._stamps, self._sizes, strict=True):
            files = [] if stamp is None else stamp["files"]
            made.append(
                {
                    "path": str(disk.target),
                    "format": disk.form,
                    "size": size,
                    "source": [{"name": file["name"], "sha256": file["sha256"]} for file in files],
                }
            )
        return made

    def _disk(self, number: int, content: Content) -> DiskImport:
        form = self._options.format
        target = self._folder / f"disk{number}.{'qcow2' if form == 'qcow2' else 'img'}"
        return DiskImport(content, target, form, self._source.manifest)

    def _check(self, *, force: bool) -> None:
        problems = Problems()
        self._contents: DiskContents | None = None
        self._stamps: list[dict[str, Any] | None] = []
        self._sizes: list[int | None] = []
        making: list[DiskImport] = []
        for number, disk in enumerate(self._disks):
            stamp: dict[str, Any] | None = None
            with problems.collecting():
                stamp = None if force else disk.finished()
            self._stamps.append(stamp)
            self._sizes.append(stamp["size"] if stamp else disk.content.disk.capacity)
            with problems.collecting():
                self._look(number)
                making += [] if stamp else [disk]
        with problems.collecting():
            enough_space(making, self._folder)
        problems.raise_if_any()

    def _look(self, number: int) -> None:
        """Take the size of a disk, and what the first one shows, from where they can be had now."""
        disk, stamp = self._disks[number], self._stamps[number]
        image = disk.image() if stamp is None or disk.content.plain else SourceImage(disk.target, disk.form)
        if image is None:
            return
        self._sizes[number] = disk.fits(image) if stamp is None else stamp["size"]
        if number == 0:
            self._contents = self._source.look(image)

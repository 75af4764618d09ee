"""A backup of a virtual machine: one folder with its disks, its state and a manifest, and whether it fits a machine."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils import backup_members
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.names import label
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import bytes_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT: Final = 1
DEFINITION: Final = "domain.xml"
NVRAM: Final = "nvram.fd"
TPM_FOLDER: Final = "tpm/"
CONSISTENCIES: Final = ("offline", "filesystem", "crash")
"""How the disks are: the machine was off; its file systems were frozen; as a power cut would leave them."""
DISK_FORMATS: Final = ("raw", "qcow2")


@dataclass(frozen=True)
class DiskCopy:
    """One disk in a backup.

    Attributes:
        member: name of its copy, a qcow2 image.
        format: ``raw`` or ``qcow2``, as the node had it.
        size: bytes that the guest sees.
    """

    member: str
    format: str
    size: int


@dataclass(frozen=True)
class MachineBackup:
    """What a backup says of itself.

    Attributes:
        site: name of the site.
        machine: name of the virtual machine.
        node: name of the node it was made on.
        created: UTC, as ``20261123T021500Z``.
        consistency: one of ``CONSISTENCIES``.
        disks: in the model's order.
        members: lower-case hexadecimal SHA-256 of each file but the manifest, by name.
    """

    site: str
    machine: str
    node: str
    created: str
    consistency: str
    disks: tuple[DiskCopy, ...]
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its folder: ``shop-till-20261123T021500Z``."""
        return f"{self.site}-{self.machine}-{self.created}"

    @property
    def tpm(self) -> list[str]:
        """The names of the members that are the state of its TPM."""
        return sorted(name for name in self.members if name.startswith(TPM_FOLDER))

    def to_json(self) -> str:
        """Return it as the text of ``manifest.json``."""
        data = {"format": FORMAT, **asdict(self), "members": dict(sorted(self.members.items()))}
        return json.dumps(data, indent=2) + "\n"


def disk_member(number: int) -> str:
    """Return the name of the copy of the disk with this number."""
    return f"disk{number}.qcow2"


def from_json(text: str, *, where: str) -> MachineBackup:
    """Return what a manifest says; ``where`` is the path of the backup.

    Raises:
        EdgeError: it is no manifest of this format, or lacks something; says all of it.
    """
    problems = Problems()
    data = backup_members.manifest_data(text, FORMAT, where=where, problems=problems)
    backup_members.check_texts(data, ("site", "machine", "node", "created"), where=where, problems=problems)
    at = f"{where}: {backup_members.MANIFEST}"
    if data.get("consistency") not in CONSISTENCIES:
        expected = " or ".join(CONSISTENCIES)
        problems.add(f"{at}: consistency", "is none", found=repr(data.get("consistency")), expected=expected)
    listed = data.get("disks")
    disks = [_disk(item) for item in listed] if isinstance(listed, list) else []
    whole = tuple(disk for disk in disks if disk is not None)
    if not whole or len(whole) != len(disks):
        problems.add(f"{at}: disks", "are not images with format and size in bytes", remedy=backup_members.ANOTHER)
    problems.raise_if_any()
    texts = {key: data[key] for key in ("site", "machine", "node", "created", "consistency")}
    return MachineBackup(**texts, disks=whole, members=data["members"])


def _disk(item: Any) -> DiskCopy | None:
    if not isinstance(item, dict) or set(item) != {"member", "format", "size"}:
        return None
    size = item["size"]
    right = item["format"] in DISK_FORMATS and isinstance(size, int) and not isinstance(size, bool) and size > 0
    return DiskCopy(**item) if right and isinstance(item["member"], str) else None


def check_members(backup: MachineBackup, found: Mapping[str, str], *, where: str) -> None:
    """Compare the files of a backup (name: SHA-256) with its manifest.

    Raises:
        EdgeError: something is missing, too much or damaged; says all of it.
    """
    problems = Problems()
    backup_members.compare(backup.members, found, where=where, problems=problems)
    for disk in backup.disks:
        if disk.member not in backup.members:
            problems.add(f"{where}: {disk.member}", "is a disk without a digest", remedy=backup_members.ANOTHER)
    problems.raise_if_any()


def check_names(site: str, machine: str) -> None:
    """Accept a site and a machine whose names can begin a folder's name.

    Raises:
        EdgeError: one is not an RFC 1123 label; says both.
    """
    problems = Problems()
    for where, name in (("site", site), ("name", machine)):
        try:
            label(name)
        except UnfitError as error:
            problems.add(where, error.what, found=repr(name), expected=error.expected)
    problems.raise_if_any()


def backups_of(names: Iterable[str], site: str, machine: str) -> list[str]:
    """Return which names of folders are backups of a machine, oldest first."""
    pattern = re.compile(rf"{re.escape(f'{site}-{machine}')}-[0-9]{{8}}T[0-9]{{6}}Z", re.ASCII)
    return sorted(name for name in names if pattern.fullmatch(name))


def check_fit(
    backup: MachineBackup, site: str, machine: str, *, disks: int, tpm: bool | None, nvram: bool | None, where: str
) -> None:
    """Compare a backup with the machine that is to have it.

    Args:
        backup: what the manifest says.
        site: name of the site.
        machine: name of the machine.
        disks: how many it has.
        tpm: whether it has a TPM; ``None`` where the runtime keeps that to itself.
        nvram: whether its firmware keeps variables; ``None`` likewise.
        where: path of the backup.

    Raises:
        EdgeError: it is another's, or the machine has changed too much; says all of it.
    """
    problems = Problems()
    for what, found, expected in (("site", backup.site, site), ("machine", backup.machine, machine)):
        if found != expected:
            problems.add(where, f"is of another {what}", found=found, expected=expected)
    remedy = "Declare the machine as it was, restore, and change it afterwards."
    if len(backup.disks) != disks:
        problems.add(
            where, "has another number of disks", found=str(len(backup.disks)), expected=str(disks), remedy=remedy
        )
    for what, has, wants in (("a TPM", backup.tpm, tpm), ("UEFI variables", NVRAM in backup.members, nvram)):
        if has and wants is False:
            problems.add(where, f"has the state of {what}, which the machine is declared without", remedy=remedy)
    problems.raise_if_any()


def check_space(needed: int, free: int, *, where: str) -> None:
    """Accept a folder with enough room; both in bytes.

    Raises:
        EdgeError: it has less.
    """
    if free < needed:
        raise EdgeError(
            Problem(
                where,
                "has too little free space",
                found=bytes_text(free),
                expected=f"{bytes_text(needed)}",
                remedy="Make room, or give another folder.",
            )
        )

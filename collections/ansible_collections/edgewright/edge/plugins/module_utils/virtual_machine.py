"""One model of a virtual machine, the same for every runtime."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import guest_disk
from ansible_collections.edgewright.edge.plugins.module_utils.disk_volume import (
    KEYS,
    ON_NODE,
    Volume,
    read_volume,
)
from ansible_collections.edgewright.edge.plugins.module_utils.fields import (
    Fields,
    Parser,
    UnfitError,
    boolean,
    choice,
    integer,
    text,
)
from ansible_collections.edgewright.edge.plugins.module_utils.names import (
    derived_mac,
    derived_uuid,
    label,
    mac,
    uuid_text,
)
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import KIB, MIB, TIB, size

if TYPE_CHECKING:
    from collections.abc import Iterable

DISKS_ROOT: Final = "/var/lib/edgewright/virtual-machines"
DISK_OWNERS: Final = {"podman": 0, "k3s": 107}
"""User and group id of a disk by runtime: root's libvirt, and the user that KubeVirt runs QEMU as."""
BUSES: Final = ("virtio", "scsi", "sata", "usb", "ide")
NIC_MODELS: Final = ("virtio", "e1000", "e1000e", "rtl8139")
LINK_STATES: Final = ("up", "down")
_SECTOR: Final = 512

_MACHINE_KEYS: Final = (
    "name",
    "uuid",
    "start_order",
    "priority",
    "run_policy",
    "stop_timeout",
    "cpu",
    "memory",
    "machine",
    "firmware",
    "secure_boot",
    "tpm",
    "timezone",
    "graphics",
    "disks",
    "nics",
)


@dataclass(frozen=True)
class Cpu:
    """The processors a guest sees.

    Attributes:
        sockets: packages.
        cores: cores in a socket.
        threads: threads in a core, 1 or 2.
        model: a QEMU CPU model; ``host-model`` is as near to the host's as the virtualization gives (emulation: QEMU's
            own default); ``host-passthrough`` is the host's itself.
    """

    sockets: int = 1
    cores: int = 1
    threads: int = 1
    model: str = "host-model"

    @property
    def count(self) -> int:
        """Return how many processors that makes."""
        return self.sockets * self.cores * self.threads

    @classmethod
    def from_inventory(cls, data: object, where: str) -> Cpu:
        """Read the ``cpu`` mapping.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=("sockets", "cores", "threads", "model"))
        sockets = fields.read("sockets", integer(1, 64), default=1)
        cores = fields.read("cores", integer(1, 256), default=1)
        threads = fields.read("threads", integer(1, 2), default=1)
        model = fields.read("model", _cpu_model, default="host-model")
        fields.raise_if_any()
        return cls(sockets, cores, threads, model)


@dataclass(frozen=True)
class Disk:
    """One disk of a machine; its number is its place in the list.

    Attributes:
        source: artifact source of its first content.
        bus: what the guest finds it on.
        size: bytes the guest sees at least; ``None`` keeps the size the artifact has.
        format: ``raw`` or ``qcow2``, as the artifact is.
        boot_order: 1 is tried first.
        serial: serial number the guest reads; empty for none.
        volume: how the machine has it.
    """

    source: str
    bus: str
    boot_order: int
    size: int | None = None
    format: str = "raw"
    serial: str = ""
    volume: Volume = ON_NODE

    @classmethod
    def from_inventory(cls, data: object, where: str, *, number: int) -> Disk:
        """Read one item of ``disks``; ``number`` is its place in the list, from 0.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=("source", "bus", "size", "format", "boot_order", "serial", *KEYS))
        source = fields.read("source", guest_disk)
        bus = fields.read("bus", choice(*BUSES), default="virtio")
        length = fields.read("size", size(_SECTOR, 64 * TIB, multiple=_SECTOR), optional=True)
        likely = "qcow2" if str(source).endswith(".qcow2") else "raw"
        form = fields.read("format", choice("raw", "qcow2"), default=likely)
        boot_order = fields.read("boot_order", integer(1, 64), default=number + 1)
        serial = fields.read("serial", _serial(bus), default="")
        volume = read_volume(fields, source=source, form=form, size=length)
        fields.raise_if_any()
        return cls(source, bus, boot_order, length, form, serial, volume)


@dataclass(frozen=True)
class Nic:
    """One network interface.

    Attributes:
        network: the one it is on.
        model: what the guest sees.
        mac: its address, in lower case.
        link_state: ``up``, or ``down`` while its cable is pulled: the guest has the card and no carrier.
    """

    network: str
    model: str
    mac: str
    link_state: str = "up"

    @classmethod
    def from_inventory(cls, data: object, where: str, *, default_mac: str) -> Nic:
        """Read one item of ``nics``.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=("network", "model", "mac", "link_state"))
        network = fields.read("network", label, default="default")
        model = fields.read("model", choice(*NIC_MODELS), default="virtio")
        address = fields.read("mac", mac, default=default_mac)
        link_state = fields.read("link_state", choice(*LINK_STATES), default="up")
        fields.raise_if_any()
        return cls(network, model, address, link_state)


@dataclass(frozen=True)
class VirtualMachine:
    """A virtual machine as the inventory describes it.

    Attributes:
        name: RFC 1123 label, unique on the site.
        uuid: what the guest's firmware reports.
        cpu: topology and model.
        memory: bytes.
        disks: by number.
        nics: in the order the guest finds them.
        machine: ``pc`` (i440FX) or ``q35``.
        firmware: ``bios`` or ``uefi``.
        secure_boot: whether UEFI refuses unsigned boot loaders; Microsoft's keys are enrolled.
        tpm: whether it has an emulated TPM 2.0, which keeps its state.
        timezone: zone its hardware clock shows: ``UTC``, or an IANA name for guests whose clock runs in local time.
        graphics: ``vnc`` (loopback only) or ``none``.
        run_policy: ``always`` (started at boot), ``manual`` (left as the operator put it), ``halted`` (kept off).
        stop_timeout: seconds it gets to shut down before it is switched off.
        start_order: lower starts earlier and stops later.
        priority: 0 to 100; the highest is shed last.
    """

    name: str
    uuid: str
    cpu: Cpu
    memory: int
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...] = ()
    machine: str = "q35"
    firmware: str = "bios"
    secure_boot: bool = False
    tpm: bool = False
    timezone: str = "UTC"
    graphics: str = "vnc"
    run_policy: str = "always"
    stop_timeout: int = 180
    start_order: int = 100
    priority: int = 50

    @classmethod
    def from_inventory(cls, data: object, *, where: str, site: str) -> VirtualMachine:
        """Read one item of ``edge_virtual_machines``.

        A UUID and MAC addresses that are absent are derived from the site's and the machine's name, so that they never
        change between two runs.

        Raises:
            EdgeError: everything that is wrong in it, with paths below ``where``.
        """
        fields = Fields(data, where=where, known=_MACHINE_KEYS)
        name = fields.read("name", label)
        made = str(name)
        disks = fields.build_list(
            "disks", lambda item, at, number: Disk.from_inventory(item, at, number=number), at_least=1
        )
        nics = fields.build_list(
            "nics",
            lambda item, at, number: Nic.from_inventory(item, at, default_mac=derived_mac(site, made, str(number))),
        )
        vm = cls(
            name=name,
            uuid=fields.read("uuid", uuid_text, default=derived_uuid(site, made)),
            cpu=fields.build("cpu", Cpu.from_inventory, default=Cpu()),
            memory=fields.read("memory", size(MIB, 16 * TIB, multiple=KIB)),
            disks=tuple(disk for _, disk in disks),
            nics=tuple(nic for _, nic in nics),
            machine=fields.read("machine", choice("pc", "q35"), default="q35"),
            firmware=fields.read("firmware", choice("bios", "uefi"), default="bios"),
            secure_boot=fields.read("secure_boot", boolean, default=False),
            tpm=fields.read("tpm", boolean, default=False),
            timezone=fields.read("timezone", _timezone, default="UTC"),
            graphics=fields.read("graphics", choice("vnc", "none"), default="vnc"),
            run_policy=fields.read("run_policy", choice("always", "manual", "halted"), default="always"),
            stop_timeout=fields.read("stop_timeout", integer(1, 3600), default=180),
            start_order=fields.read("start_order", integer(0, 100_000), default=100),
            priority=fields.read("priority", integer(0, 100), default=50),
        )
        fields.no_duplicates(
            ((f"{at}.boot_order", disk.boot_order) for at, disk in disks),
            "the boot order",
            remedy="Give every disk its own boot_order, or none: then they boot in the order of the list.",
        )
        fields.no_duplicates(((f"{at}.mac", nic.mac) for at, nic in nics), "the MAC address")
        if vm.secure_boot and vm.firmware == "bios":
            fields.problems.add(
                fields.at("secure_boot"), "needs UEFI", found="firmware bios", remedy="Set 'firmware: uefi'."
            )
        fields.raise_if_any()
        return vm


def virtual_machines(data: object, *, where: str, site: str) -> tuple[VirtualMachine, ...]:
    """Read the whole list ``edge_virtual_machines``; ``where`` is the path of the list.

    Raises:
        EdgeError: everything that is wrong in any item, and names, UUIDs and MAC addresses that two machines share.
    """
    fields = Fields({where: data}, where="", known=(where,))
    made = fields.build_list(where, lambda item, at, _: VirtualMachine.from_inventory(item, where=at, site=site))
    fields.no_duplicates(((f"{at}.name", vm.name) for at, vm in made), "the name")
    fields.no_duplicates(((f"{at}.uuid", vm.uuid) for at, vm in made), "the UUID")
    macs = ((f"{at}.nics[{number}].mac", nic.mac) for at, vm in made for number, nic in enumerate(vm.nics))
    fields.no_duplicates(macs, "the MAC address")
    fields.raise_if_any()
    return tuple(vm for _, vm in made)


def order(machines: Iterable[VirtualMachine]) -> list[VirtualMachine]:
    """Return machines in the order they start: by ``start_order``, equal ones as they are listed."""
    return sorted(machines, key=lambda vm: vm.start_order)


def disk_path(name: str, number: int, *, runtime: str = "podman") -> str:
    """Return where a node keeps the disk with this number of the machine with this name.

    On k3s each has a folder of its own, which is a volume: KubeVirt finds a disk as ``disk.img`` in it.
    """
    disk = f"{DISKS_ROOT}/{name}/disk{number}"
    return f"{disk}/disk.img" if runtime == "k3s" else f"{disk}.img"


def _serial(bus: str | None) -> Parser[str]:
    # QEMU cuts serials of virtio-blk and ATA disks at 20 bytes; the characters are those KubeVirt admits.
    longest = 64 if bus in {"scsi", "usb"} else 20

    def parse(value: object) -> str:
        serial = text(value)
        if re.fullmatch(rf"[A-Za-z0-9_.+-]{{1,{longest}}}", serial, re.ASCII) is None:
            raise UnfitError("is not a disk serial number", expected=f"1 to {longest} of letters, digits and _ . + -")
        return serial

    return parse


def _cpu_model(value: object) -> str:
    name = text(value)
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name, re.ASCII) is None:
        raise UnfitError(
            "is not a CPU model", expected="a QEMU model as qemu64, Nehalem, host-model or host-passthrough"
        )
    return name


def _timezone(value: object) -> str:
    name = text(value)
    if name.upper() == "UTC":
        return "UTC"
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}", name, re.ASCII) is None:
        raise UnfitError("is not a time zone", expected="UTC, or an IANA name as Europe/Berlin")
    return name

"""QEMU x86_64 with UEFI firmware: the virtual hardware that a node image is booted on, as a command line.

Everything here is plain data and pure functions, but for finding the programs and making the disk. QEMU as a program is
``tools.emulator``, the running machine ``edgewright.machine``. Options are those of QEMU 7.2 (Debian 12) and later.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.tools.process import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GIB = 1024**3

# Both names exist in Debian 12 and 13; the 2 MiB variant is gone from later releases, and from Ubuntu 24.04.
_FIRMWARE_CANDIDATES = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
)
# What slirp hands out when nothing else is asked for: the address that -netdev user gives to the first DHCP client.
_DEFAULT_GUEST = ipaddress.IPv4Interface("10.0.2.15/24")

DiskBus = Literal["virtio", "usb"]


@dataclass(frozen=True)
class Firmware:
    """UEFI firmware: ``code`` is read-only and shared, ``variables`` is a template to copy for each machine."""

    code: Path
    variables: Path


@dataclass(frozen=True)
class Forward:
    """One TCP port of the guest, reachable on the host's loopback address only."""

    host: int
    guest: int

    @classmethod
    def parse(cls, text: str) -> Forward:
        """Read ``HOST:GUEST``; without ``HOST``, or with 0, any free host port is meant (``host == 0``).

        Raises:
            EdgeError: not two port numbers.
        """
        match = re.fullmatch(r"(?:(\d{0,5}):)?(\d{1,5})", text)
        host, guest = (int(match[1] or 0), int(match[2])) if match else (0, 0)
        if not match or not 1 <= guest <= 65535 or host > 65535:
            problem = Problem(
                "--forward", "not a port forward", repr(text), "HOST:GUEST with ports from 1 to 65535", ""
            )
            raise EdgeError(problem)
        return cls(host=host, guest=guest)


@dataclass(frozen=True)
class Link:
    """The machine's one network interface, behind QEMU's user-mode network.

    Attributes:
        mac: hardware address, by which the node finds its inventory host.
        isolated: no way out of the machine; only connections from the host to the forwarded ports.
        address: the guest's static address, if it has one; the virtual network is laid around it.
        gateway: the guest's static gateway, answered by QEMU.
        forwards: guest ports to open on the host, host ports already chosen.
        capture: pcap file of every frame on the link.
    """

    mac: str = "52:54:00:ed:9e:01"
    isolated: bool = False
    address: ipaddress.IPv4Interface | None = None
    gateway: ipaddress.IPv4Address | None = None
    forwards: tuple[Forward, ...] = ()
    capture: Path | None = None

    def host_port(self, guest: int) -> int:
        """Return the host port that leads to guest port ``guest``.

        Raises:
            KeyError: that port is not forwarded.
        """
        for forward in self.forwards:
            if forward.guest == guest:
                return forward.host
        raise KeyError(guest)


@dataclass(frozen=True)
class Hardware:
    """What the guest sees. ``memory`` is in bytes.

    ``credentials`` become systemd system credentials (systemd.system-credentials(7), SMBIOS type 11),
    ``kernel_arguments`` are appended by systemd-stub(7); neither touches the image.
    """

    memory: int = 2 * GIB
    cpus: int = 2
    disk_bus: DiskBus = "virtio"
    link: Link = field(default_factory=Link)
    dmi_serial: str = ""
    dmi_uuid: str = ""
    credentials: Mapping[str, bytes] = field(default_factory=dict)
    kernel_arguments: tuple[str, ...] = ()
    reboots: bool = True


@dataclass(frozen=True)
class Files:
    """Where one running machine keeps its things.

    ``sockets`` must be a short path (a Unix socket's name has at most 107 bytes); it holds ``qmp``, ``console`` and the
    SMBIOS strings, so it must be private to the user.
    """

    disk: Path
    disk_format: Literal["raw", "qcow2"]
    firmware: Firmware
    variables: Path
    console: Path
    sockets: Path
    keep: bool = False


def find_program(name: str, package: str) -> str:
    """Return the path of a program, looking in the administrator's directories too, which a user's PATH may lack.

    Raises:
        EdgeError: it is not installed; names the Debian package.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if not found:
        raise EdgeError(Problem("", f"program {name} is missing", "", "", f"Install it: sudo apt install {package}."))
    return found


def find_firmware() -> Firmware:
    """Return the host's UEFI firmware.

    Raises:
        EdgeError: no OVMF on this host.
    """
    for code, variables in _FIRMWARE_CANDIDATES:
        if Path(code).is_file() and Path(variables).is_file():
            return Firmware(Path(code), Path(variables))
    tried = " or ".join(code for code, _ in _FIRMWARE_CANDIDATES)
    raise EdgeError(
        Problem("", "UEFI firmware for virtual machines is missing", "", tried, "Install it: sudo apt install ovmf.")
    )


def choose_ports(forwards: Sequence[Forward]) -> tuple[Forward, ...]:
    """Give every forward with host port 0 a free one, and make sure that the others are free.

    Raises:
        EdgeError: a wished-for port is in use, or two forwards want the same; lists all of them.
    """
    problems, chosen, taken = [], [], {forward.host for forward in forwards if forward.host}
    seen: set[int] = set()
    for forward in forwards:
        if forward.host in seen:
            problems.append(
                Problem(
                    "--forward", f"host port {forward.host} is given twice", "", "", "Give each guest port its own."
                )
            )
        elif forward.host and not _is_free(forward.host):
            remedy = f"Stop what listens there (ss -ltnp), or let a free one be chosen: --forward :{forward.guest}."
            problems.append(Problem("--forward", f"host port {forward.host} is in use", "", "", remedy))
        host = forward.host or _free_port(taken)
        seen.add(host)
        taken.add(host)
        chosen.append(Forward(host, forward.guest))
    if problems:
        raise EdgeError(problems)
    return tuple(chosen)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port(taken: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


def arguments(
    hardware: Hardware, files: Files, accelerator: Literal["kvm", "tcg"], *, terminal: bool = False
) -> list[str]:
    """Return QEMU's arguments, without the program's name.

    ``terminal`` joins the serial console to this process's own standard input and output; else it is a socket to
    type into. The console's text goes to ``files.console`` in both cases.
    """
    # Emulation offers what only costs time there: five-level paging has longer walks, and code that prefers AVX spends
    # more instructions on it than on SSE (a node needs a fifth less processor time to its login prompt without both);
    # the "fast" string operations (erms, fsrm), with which Linux clears and copies memory, are emulated byte by byte
    # (another eighth less).
    # A KVM in there is slower than QEMU's own emulation, and libvirt would ask both of them what they can do.
    emulated = ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off,avx=off,avx2=off,erms=off,fsrm=off,svm=off"]
    accel = ["-accel", "kvm", "-cpu", "host"] if accelerator == "kvm" else emulated
    backend = "stdio" if terminal else f"socket,path={_quoted(files.sockets / 'console')},server=on,wait=off"
    return [
        "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,smm=off", *accel,
        "-smp", str(hardware.cpus), "-m", f"{hardware.memory // 1024**2}M",
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_quoted(files.firmware.code)}",
        "-drive", f"if=pflash,unit=1,format=raw,file={_quoted(files.variables)}",
        "-chardev", f"{backend},id=console,logfile={_quoted(files.console)},logappend=on", "-serial", "chardev:console",
        "-qmp", f"unix:{_quoted(files.sockets / 'qmp')},server=on,wait=off",
        "-device", "virtio-rng-pci", *_disk(hardware, files), *_network(hardware.link),
        *_smbios(hardware, files, accelerator),
        *([] if hardware.reboots else ["-no-reboot"]),
    ]  # fmt: skip


def _disk(hardware: Hardware, files: Files) -> list[str]:
    # A throw-away disk need not survive the host's own crash; a guest's flush still reaches the file, so killing QEMU
    # is an honest power cut in both cases (block/io.c: bdrv_co_flush skips only the host's fsync).
    cache = "writeback" if files.keep else "unsafe"
    drive = f"if=none,id=disk,format={files.disk_format},cache={cache},discard=unmap,file={_quoted(files.disk)}"
    if hardware.disk_bus == "usb":
        device = [
            "-device",
            "qemu-xhci",
            "-device",
            "usb-storage,drive=disk,removable=on,serial=edgewright,bootindex=1",
        ]
    else:
        device = ["-device", "virtio-blk-pci,drive=disk,serial=edgewright,bootindex=1"]
    return ["-drive", drive, *device]


def _network(link: Link) -> list[str]:
    guest = link.address or _DEFAULT_GUEST
    # Narrow networks have no room for the addresses that QEMU itself answers on; a wider one costs the guest nothing.
    network = guest.network if guest.network.prefixlen <= 28 else ipaddress.IPv4Network(f"{guest.ip}/24", strict=False)
    used = {guest.ip, network.network_address, network.broadcast_address}
    spare = (address for offset in range(2, network.num_addresses) if (address := network[offset]) not in used)
    gateway = link.gateway if link.gateway and link.gateway in network else next(spare)
    resolver = next(address for address in spare if address != gateway)
    # IPv6 is off because QEMU would announce itself as a router, and a capture must show only what the guest does.
    netdev = f"user,id=link,ipv6=off,net={network},host={gateway},dns={resolver},dhcpstart={guest.ip}"
    netdev += ",restrict=on" if link.isolated else ""
    netdev += "".join(f",hostfwd=tcp:127.0.0.1:{f.host}-{guest.ip}:{f.guest}" for f in link.forwards)
    capture = ["-object", f"filter-dump,id=capture,netdev=link,file={_quoted(link.capture)}"] if link.capture else []
    return ["-netdev", netdev, "-device", f"virtio-net-pci,netdev=link,mac={link.mac},romfile=", *capture]


def smbios_strings(hardware: Hardware, accelerator: Literal["kvm", "tcg"]) -> list[str]:
    """Return the OEM strings (SMBIOS type 11) that carry credentials and extra kernel arguments to systemd.

    Their grammar: systemd.system-credentials(7) and smbios-type-11(7).
    """
    # The kernel's detours around speculation protect nothing in an emulator, which does not speculate: without them a
    # node needs an eighth less processor time to its login prompt. Of an argument given twice the last one counts.
    kernel_arguments = (*(("mitigations=off",) if accelerator == "tcg" else ()), *hardware.kernel_arguments)
    strings = [
        f"io.systemd.credential.binary:{name}={base64.b64encode(value).decode()}"
        for name, value in sorted(hardware.credentials.items())
    ]
    if kernel_arguments:
        strings.append(f"io.systemd.stub.kernel-cmdline-extra={' '.join(kernel_arguments)}")
    return strings


def _smbios(hardware: Hardware, files: Files, accelerator: Literal["kvm", "tcg"]) -> list[str]:
    system = f"type=1,serial={_quoted(hardware.dmi_serial)}" if hardware.dmi_serial else ""
    # By file, because arguments are readable by every user of the host and a credential may be a secret.
    count = len(smbios_strings(hardware, accelerator))
    strings = [f"type=11,path={_quoted(files.sockets / f'smbios{n}')}" for n in range(count)]
    uuid = ["-uuid", hardware.dmi_uuid] if hardware.dmi_uuid else []
    return [*uuid, *(part for text in (system, *strings) if text for part in ("-smbios", text))]


def _quoted(value: Path | str) -> str:
    """Escape a value inside a QEMU option list, where a comma is doubled."""
    return str(value).replace(",", ",,")


def make_disk(image: Path, disk: Path, *, size: int = 0) -> Literal["raw", "qcow2"]:
    """Make the disk that a machine writes to; the image is only ever read.

    ``disk`` ending in ``.raw`` becomes a sparse copy, which other programs can open; anything else a qcow2 overlay.
    ``size`` in bytes makes it larger than the image.

    Raises:
        EdgeError: ``size`` is smaller than the image.
        ToolError: the disk cannot be written.
    """
    have = image.stat().st_size
    if size and size < have:
        problem = Problem(
            "--disk-size",
            "smaller than the image",
            f"{size} bytes",
            f"at least {have} bytes",
            "Give a larger one, or none.",
        )
        raise EdgeError(problem)
    if disk.suffix == ".raw":
        run(["cp", "--reflink=auto", "--sparse=always", "--no-preserve=mode", image, disk])
        if size:
            with disk.open("r+b") as stream:
                stream.truncate(size)
        return "raw"
    program = find_program("qemu-img", "qemu-utils")
    command = [program, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.resolve()), str(disk)]
    run([*command, *([str(size)] if size else [])])
    return "qcow2"


def disk_format(disk: Path) -> Literal["raw", "qcow2"]:
    """Tell what format an existing disk has, from its first bytes (magic number of the QCOW2 specification)."""
    with disk.open("rb") as stream:
        return "qcow2" if stream.read(4) == b"QFI\xfb" else "raw"


def backing_file(disk: Path) -> Path | None:
    """Return the image that a qcow2 overlay lies on, or None."""
    program = find_program("qemu-img", "qemu-utils")
    name = json.loads(run([program, "info", "-U", "--output=json", disk])).get("full-backing-filename")
    return Path(name) if name else None

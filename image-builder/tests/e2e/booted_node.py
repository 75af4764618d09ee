"""A machine that boots an image, with the ways to ask it: console, status page, SSH as root."""

from __future__ import annotations

import shlex
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import httpx
from ansible_collections.edgewright.edge.plugins.module_utils.quantity import GIB
from edgewright import virtual_node
from edgewright.machine import Machine
from edgewright.tools import qemu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from edgewright.tools.emulator import Emulator

# Emulated, on a machine that is busy with other things too. A machine that is ready is noticed at once.
MINUTE = 60.0
# What only costs an emulated node time: the old till, which is emulated twice, would have half of the one processor
# while it starts; a root that asks a few questions needs no service manager of its own (systemd-debug-generator(8)).
DROP_INS = {
    "systemd.unit-dropin.machine.slice": b"[Slice]\nCPUWeight=5\n",
    "systemd.unit-dropin.user@0.service": b"[Unit]\nConditionPathExists=!/run\n",
}
# systemd's own limits of 90 seconds are for machines that are not emulated on a busy host (systemd(1)).
PATIENCE = ("systemd.default_timeout_start_sec=900", "systemd.default_device_timeout_sec=900")
RECOGNISED = r"edgewright: this machine is (\S+) \(by ([^)]+)\)"
# What the end of a boot says; a node that is not healthy then may become so.
EXAMINED = r"edgewright: (not )?healthy\b"


@dataclass(frozen=True)
class SshKey:
    """A key pair made for these tests."""

    private: Path

    @classmethod
    def make(cls, folder: Path) -> SshKey:
        """Make one in ``folder``."""
        private = folder / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", private], check=True)
        return cls(private)

    @property
    def public(self) -> bytes:
        """The line for authorized_keys."""
        return self.private.with_suffix(".pub").read_bytes()


@dataclass
class Node:
    """One machine. It lets ``key`` in as root by a credential of systemd, which leaves the image as it is.

    Attributes:
        image: the image, never written.
        program: the QEMU that runs it.
        folder: takes the disk, ``disk.raw``, a sparse copy that other programs can open.
        console: the serial console's text.
        memory: in bytes.
        cpus: one, for two emulated ones wait for each other and take more of the host's time for the same work.
        workloads: whether its services and virtual machines start; a boot that is not about them is shorter without.
        patient: whether systemd waits longer than usual for units and devices.
        variables: the inventory variables of the host to be: MAC, DMI data, address. Empty for a machine unknown.
    """

    image: Path
    folder: Path
    console: Path
    key: SshKey
    program: Emulator
    accelerator: Literal["kvm", "tcg"]
    variables: Mapping[str, Any] = field(default_factory=dict)
    disk_bus: qemu.DiskBus = "virtio"
    disk_size: int = 0
    memory: int = 2 * GIB
    cpus: int = 1
    kernel_arguments: tuple[str, ...] = ()
    credentials: Mapping[str, bytes] = field(default_factory=dict)
    capture: Path | None = None
    reboots: bool = True
    workloads: bool = True
    patient: bool = True

    def __post_init__(self) -> None:
        address, gateway = virtual_node.static_address(self.variables)
        link = qemu.Link(
            mac=virtual_node.first_mac(self.variables) or "52:54:00:ed:9e:ff",
            isolated=True,
            address=address,
            gateway=gateway,
            forwards=qemu.choose_ports(virtual_node.forwards(self.variables, ())),
            capture=self.capture,
        )
        hardware = qemu.Hardware(
            memory=self.memory,
            cpus=self.cpus,
            disk_bus=self.disk_bus,
            link=link,
            dmi_serial=virtual_node.identity(self.variables, "dmi_serial"),
            dmi_uuid=virtual_node.identity(self.variables, "dmi_uuid"),
            credentials={"ssh.authorized_keys.root": self.key.public, **DROP_INS, **self.credentials},
            kernel_arguments=(*self.kernel_arguments, *(PATIENCE if self.patient else ()), *self._masks()),
            reboots=self.reboots,
        )
        self.console.parent.mkdir(parents=True, exist_ok=True)
        self.console.unlink(missing_ok=True)
        self.machine = Machine(
            self.image,
            hardware,
            accelerator=self.accelerator,
            persistent=self.folder / "disk.raw",
            console=self.console,
            disk_size=self.disk_size,
            program=self.program,
        )

    def _masks(self) -> list[str]:
        """Return what keeps systemd from starting the workloads (systemd-debug-generator(8))."""
        if self.workloads:
            return []
        services = [service["name"] for service in self.variables.get("edge_inference_services", ())]
        machines = [f"edgewright-vm@{machine['name']}" for machine in self.variables.get("edge_virtual_machines", ())]
        return [f"systemd.mask={unit}.service" for unit in (*services, *machines)]

    @property
    def disk(self) -> Path:
        """The disk: for other programs only while the machine is off."""
        return self.machine.disk

    def start(self) -> None:
        """Switch on."""
        self.since = self.machine.console_size()
        self.machine.start()

    def wait_recognised(self, timeout: float = 8 * MINUTE) -> tuple[str, str]:
        """Wait until the initrd says which host this is and how it knows; return both."""
        match = self.machine.wait_for_console(RECOGNISED, timeout, since=self.since)
        return match[1], match[2]

    def url(self, port: int) -> str:
        """Return the address at which the host reaches a port of the node."""
        return f"http://127.0.0.1:{self.machine.host_port(port)}"

    def wait_status(self, timeout: float = 10 * MINUTE) -> dict[str, Any]:
        """Wait until the status page answers; return what it says."""
        return self._status(timeout, "there", lambda _status: True)

    def wait_healthy(self, timeout: float = 15 * MINUTE) -> dict[str, Any]:
        """Wait until the status page says that the node is healthy; return what it says.

        A page costs an emulated node seconds of its processor: nobody asks before the node has looked at itself.
        """
        began = time.monotonic()
        self.machine.wait_for_console(EXAMINED, timeout, since=self.since)
        left = timeout - (time.monotonic() - began)
        return self._status(left, "healthy", lambda status: bool((status["health"] or {}).get("healthy")))

    def wait_rebooted(self, boot: str, timeout: float = 10 * MINUTE) -> dict[str, Any]:
        """Wait until the status page speaks of another boot than ``boot``; return what it says."""
        return self._status(timeout, "booted again", lambda status: status["boot_id"] != boot)

    def _status(self, timeout: float, aim: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        last: object = "no answer"
        while time.monotonic() < deadline:
            try:
                reply = httpx.get(f"{self.url(virtual_node.STATUS_PORT)}/status.json", timeout=60, trust_env=False)
                status: dict[str, Any] = reply.raise_for_status().json()
                last = status["health"] or "not yet examined"
                if reached(status):
                    return status
            except (httpx.TransportError, httpx.HTTPStatusError, ValueError) as error:
                last = error
            assert self.machine.running, f"the machine went off, see {self.console}"
            time.sleep(3)
        raise AssertionError(f"not {aim} after {timeout:.0f} s: {last}; see {self.console}")

    def ask(self, commands: Mapping[str, str], *, timeout: float = 5 * MINUTE) -> dict[str, str]:
        """Run shell commands as root in one SSH session; return what each printed, by its name.

        One that fails is the test's failure.
        """
        script = "".join(
            f"printf '\\036%s\\037' {shlex.quote(name)}\n( {command}\n) </dev/null || "
            f"{{ echo {shlex.quote(name)}: exit status $? >&2; exit 9; }}\n"
            for name, command in commands.items()
        )
        answers = {}
        for record in self._ssh(script, timeout).split("\036")[1:]:
            name, _, text = record.partition("\037")
            answers[name] = text.strip("\n")
        return answers

    def _ssh(self, script: str, timeout: float) -> str:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"]
        options += ["IdentitiesOnly=yes", "ConnectTimeout=60"]
        command = ["ssh", "-F", "none", "-i", str(self.key.private), "-p", str(self.machine.host_port(22))]
        command += [*(word for option in options for word in ("-o", option)), "root@127.0.0.1", "sh -s"]
        deadline = time.monotonic() + timeout
        while True:
            done = subprocess.run(command, input=script.encode(), capture_output=True, timeout=timeout, check=False)
            if done.returncode == 0:
                return done.stdout.decode(errors="replace")
            error = done.stderr.decode(errors="replace")
            # 255 is ssh's own: the connection, not the script. The node may still be starting its SSH server.
            assert done.returncode == 255, f"{error}\n{done.stdout.decode(errors='replace')[-2000:]}"
            assert time.monotonic() < deadline, f"no SSH session: {error}; see {self.console}"
            time.sleep(1)

    def close(self) -> None:
        """Cut the power, and drop the disk; the console's text stays."""
        self.machine.close()
        for path in (self.disk, self.disk.with_name(f"{self.disk.name}.nvram")):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

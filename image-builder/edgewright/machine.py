"""A virtual machine that boots a node image and can be watched, cut off and booted again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.tools import emulator, qemu
from edgewright.tools.process import ToolError
from edgewright.tools.qmp import Qmp, QmpError

if TYPE_CHECKING:
    from types import TracebackType

    from edgewright.tools.emulator import Emulator

_POLL = 0.05  # seconds


class MachineError(ToolError):
    """The machine did not do what was waited for; carries QEMU's command and the console's last lines."""

    def __init__(self, machine: Machine, what: str) -> None:
        self.what = what
        tail = "\n".join(machine.console_text().splitlines()[-40:])
        super().__init__(machine.command, machine.returncode or 0, tail, f"The console's whole text: {machine.console}")

    def __str__(self) -> str:
        return f"{self.what}\n" + super().__str__().partition("\n")[2]


class Machine:
    """One machine with its disk, firmware variables and console log; a context manager that leaves no process behind.

    ``start`` after ``kill`` or a power-off boots the same disk again. QEMU ends with the thread that started it,
    whatever happens to that (setpriv(1), ``--pdeathsig``).

    Args:
        image: raw disk image; never written.
        hardware: what the guest sees; its link's host ports already chosen.
        accelerator: what a probe said, see ``edgewright.accelerator``.
        persistent: disk that keeps the machine's state: made from the image if it does not exist (``.raw``: a sparse
            copy, else a qcow2 overlay), with the firmware's variables in ``<persistent>.nvram``. Without it, everything
            is thrown away on ``close``.
        console: file that gets the serial console's text, appended.
        disk_size: bytes, to give a new disk more room than the image; 0 keeps the image's size.
        terminal: join the serial console to this process's terminal.
        program: the QEMU to run; without it, this machine's own.

    Raises:
        EdgeError: a program or the firmware is missing; the persistent disk belongs to another image.
    """

    def __init__(
        self,
        image: Path,
        hardware: qemu.Hardware,
        *,
        accelerator: Literal["kvm", "tcg"] = "tcg",
        persistent: Path | None = None,
        console: Path | None = None,
        disk_size: int = 0,
        terminal: bool = False,
        program: Emulator | None = None,
    ) -> None:
        self.image = image
        self.hardware = hardware
        self.accelerator = accelerator
        self.started_at = 0.0
        self._terminal = terminal
        self._process: subprocess.Popen[bytes] | None = None
        self._program = program or emulator.installed()
        self._lifeline = qemu.find_program("setpriv", "util-linux")
        firmware = qemu.find_firmware()
        _check_image(image)
        # Short, because a socket's name is limited to 107 bytes; private, because SMBIOS strings may be secret.
        self._scratch = Path(tempfile.mkdtemp(prefix="edgewright-"))
        try:
            disk = persistent or self._scratch / "disk.qcow2"
            variables = disk.with_name(f"{disk.name}.nvram")
            if disk.exists():
                kind = _check_persistent(disk, image)
            else:
                disk.parent.mkdir(parents=True, exist_ok=True)
                kind = _make_persistent(image, disk, disk_size)
            if not variables.exists():
                shutil.copyfile(firmware.variables, variables)
            self._files = qemu.Files(
                disk=disk.absolute(),
                disk_format=kind,
                firmware=firmware,
                variables=variables.absolute(),
                console=(console or self._scratch / "console.log").absolute(),
                sockets=self._scratch,
                keep=persistent is not None,
            )
            self._files.console.parent.mkdir(parents=True, exist_ok=True)
            self._files.console.touch()
        except BaseException:
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise

    @property
    def console(self) -> Path:
        """File with the serial console's text."""
        return self._files.console

    @property
    def disk(self) -> Path:
        """The disk that the machine writes to; for other programs only while it is off."""
        return self._files.disk

    @property
    def command(self) -> list[str]:
        """QEMU's whole command line."""
        return [
            *self._program.words,
            *qemu.arguments(self.hardware, self._files, self.accelerator, terminal=self._terminal),
        ]

    @property
    def returncode(self) -> int | None:
        """QEMU's exit status, None while it runs or before it was started."""
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        """Whether QEMU runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Switch the machine on.

        Raises:
            MachineError: QEMU refused to start; its own words are in the message.
        """
        if self.running:
            raise MachineError(self, "the machine is already running")
        for number, text in enumerate(qemu.smbios_strings(self.hardware, self.accelerator)):
            (self._scratch / f"smbios{number}").write_text(text)
        for name in ("qmp", "console"):
            (self._scratch / name).unlink(missing_ok=True)
        messages = self._scratch / "messages"
        self.started_at = time.monotonic()
        with messages.open("wb") as stream:
            self._process = subprocess.Popen(
                [self._lifeline, "--pdeathsig", "KILL", *self.command],
                stdin=None if self._terminal else subprocess.DEVNULL,
                stdout=None if self._terminal else stream,
                stderr=stream,
            )
        # The socket is there early, but QEMU greets on it only after it has made every device.
        while True:
            with suppress(QmpError), self.qmp():
                return
            if not self.running:
                raise MachineError(self, f"QEMU did not start: {messages.read_text(errors='replace').strip()}")
            time.sleep(_POLL)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the machine is off; return QEMU's exit status, or None when ``timeout`` seconds went by before."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def qmp(self) -> Qmp:
        """Connect to QEMU's control socket; close it after use (only one connection at a time).

        Raises:
            QmpError: QEMU is gone.
        """
        return Qmp(self._scratch / "qmp")

    def powerdown(self, timeout: float = 120.0) -> None:
        """Press the power button and wait until the guest has switched itself off.

        Raises:
            MachineError: still on after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while self.running:
            # A press during early boot is lost: nobody listens yet. Pressing again is what a person would do.
            with suppress(QmpError), self.qmp() as qmp:
                qmp.execute("system_powerdown")
            if self.wait(min(10.0, max(0.0, deadline - time.monotonic()))) is not None:
                return
            if time.monotonic() >= deadline:
                raise MachineError(self, f"the machine is still on {timeout:.0f} s after its power button was pressed")

    def kill(self) -> None:
        """Cut the power: SIGKILL to QEMU. What the guest had not flushed is lost, as in a real power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def reset(self) -> None:
        """Press the reset button.

        Raises:
            QmpError: QEMU is gone.
        """
        with self.qmp() as qmp:
            qmp.execute("system_reset")

    def console_size(self) -> int:
        """Return the length of the console's text in bytes, to look only at what comes after it."""
        return self.console.stat().st_size

    def console_text(self, *, since: int = 0) -> str:
        """Return the console's text after byte ``since``; what is not UTF-8 is replaced."""
        with self.console.open("rb") as stream:
            stream.seek(since)
            return stream.read().decode(errors="replace")

    def wait_for_console(self, pattern: str, timeout: float, *, since: int = 0) -> re.Match[str]:
        """Wait until ``pattern`` (a regular expression, multi-line) is on the console after byte ``since``.

        Raises:
            MachineError: the machine went off, or ``timeout`` seconds went by, without it.
        """
        wanted = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        while True:
            alive = self.running
            if match := wanted.search(self.console_text(since=since)):
                return match
            if not alive:
                raise MachineError(self, f"the machine went off and its console never showed {pattern!r}")
            if time.monotonic() >= deadline:
                raise MachineError(self, f"the console did not show {pattern!r} within {timeout:.0f} s")
            time.sleep(_POLL * 4)

    def host_port(self, guest: int) -> int:
        """Return the port on the host's loopback address that leads to the guest's TCP port ``guest``."""
        return self.hardware.link.host_port(guest)

    def close(self) -> None:
        """Cut the power if it is still on, and throw away what was not asked to be kept."""
        self.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_image(image: Path) -> None:
    if not image.is_file():
        raise EdgeError(
            Problem(
                str(image),
                "no such image",
                "",
                "a raw disk image",
                "Build it first: edgewright build -i inventories/<site>.",
            )
        )
    if not os.access(image, os.R_OK):
        raise EdgeError(Problem(str(image), "the image cannot be read", "", "", "Give yourself read permission on it."))


def _origin(image: Path) -> dict[str, Any]:
    status = image.stat()
    return {"image": str(image.resolve()), "size": status.st_size, "modified": status.st_mtime_ns}


def _make_persistent(image: Path, disk: Path, size: int) -> Literal["raw", "qcow2"]:
    """Make a disk, and remember its image: an overlay on another one is garbage that looks like a disk."""
    kind = qemu.make_disk(image, disk, size=size)
    disk.with_name(f"{disk.name}.origin.json").write_text(json.dumps(_origin(image)) + "\n")
    return kind


def _check_persistent(disk: Path, image: Path) -> Literal["raw", "qcow2"]:
    kind = qemu.disk_format(disk)
    if kind == "raw":
        return kind
    note = disk.with_name(f"{disk.name}.origin.json")
    backing = qemu.backing_file(disk)
    same = note.is_file() and json.loads(note.read_text()) == _origin(image)
    if backing is not None and (backing != image.resolve() or not same):
        what = "this disk is an overlay on another image, or on an older build of this one"
        raise EdgeError(
            Problem(str(disk), what, str(backing), str(image), "Remove it to start afresh, or give another file.")
        )
    return kind

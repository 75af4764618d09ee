"""Does KVM really work here? Asked by booting a Linux kernel with it, because /dev/kvm existing proves nothing.

Inside some virtual machines KVM is offered, runs firmware, and then hangs on the first Linux kernel. The question
costs two seconds where KVM works, and its answer is remembered for this kernel, QEMU and processor.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgewright.tools import emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.tools.emulator import Emulator

# A kernel without any root file system panics with this text once its own set-up has been done (init/do_mounts.c).
_REACHED_THE_END = b"Unable to mount root fs"
_PATIENCE = 20.0  # seconds; with working KVM the kernel needs one or two

Name = Literal["kvm", "tcg"]


@dataclass(frozen=True)
class Verdict:
    """Which accelerator to use, and why, in words for the user."""

    name: Name
    reason: str


def choose(
    wanted: Literal["auto", "kvm", "tcg"], *, kernel: Path | None, memory: Path, program: Emulator | None = None
) -> Verdict:
    """Choose an accelerator.

    Args:
        wanted: ``auto`` asks the machine; the others are taken as they are.
        kernel: a bootable Linux kernel (bzImage), best the image's own; without one KVM is not trusted.
        memory: JSON file that keeps earlier answers; a damaged one is asked anew.
        program: the QEMU to ask; without it, this machine's own.
    """
    if wanted != "auto":
        return Verdict(wanted, "asked for")
    device = Path("/dev/kvm")
    if not device.exists():
        return Verdict("tcg", "this machine offers no KVM")
    if not os.access(device, os.R_OK | os.W_OK):
        return Verdict(
            "tcg", "/dev/kvm may not be used by this user; add yourself to the group kvm for a faster machine"
        )
    program = program or emulator.installed()
    key = hashlib.sha256(f"{platform.release()}\n{program.version()}\n{_processor()}".encode()).hexdigest()
    answers = _load(memory)
    if key not in answers:
        if kernel is None:
            return Verdict("tcg", "KVM could not be tried for want of a kernel to boot")
        answers[key] = probe(program, kernel, "kvm")
        _save(memory, answers)
    if answers[key]:
        return Verdict("kvm", "KVM boots Linux here")
    return Verdict("tcg", "KVM is offered here, but a Linux kernel does not boot with it")


def probe(program: Emulator, kernel: Path, accelerator: Name, *, patience: float = _PATIENCE) -> bool:
    """Boot ``kernel`` without a root file system and tell whether it got as far as looking for one."""
    cpu = "host" if accelerator == "kvm" else "max"
    command = [
        *program.words,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-machine",
        "q35",
        "-accel",
        accelerator,
        "-cpu",
        cpu,
    ]
    command += [
        "-m",
        "512M",
        "-serial",
        "stdio",
        "-no-reboot",
        "-kernel",
        str(kernel),
        "-append",
        "console=ttyS0 panic=-1",
    ]
    try:
        run = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return _REACHED_THE_END in run.stdout


@contextmanager
def probe_kernel(image: Path, scratch: Path) -> Iterator[Path | None]:
    """Find a kernel to probe with: the image's own, else the host's; None if neither can be had."""
    from edgewright.tools import esp, uki

    kernel = scratch / f"kernel.{os.getpid()}"
    try:
        kernel.write_bytes(uki.section(esp.read_unified_kernel(image), ".linux"))
        yield kernel
    except (esp.EspError, uki.UkiError):
        own = Path("/boot") / f"vmlinuz-{platform.release()}"
        yield own if os.access(own, os.R_OK) else None
    finally:
        kernel.unlink(missing_ok=True)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags")
    return "\n".join(dict.fromkeys(line for line in lines if line.partition("\t")[0].strip() in wanted))


def _load(memory: Path) -> dict[str, bool]:
    try:
        answers = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}
    return (
        {key: value for key, value in answers.items() if isinstance(value, bool)} if isinstance(answers, dict) else {}
    )


def _save(memory: Path, answers: dict[str, bool]) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    fresh = memory.with_name(f"{memory.name}.{os.getpid()}")
    fresh.write_text(json.dumps(answers, indent=1, sort_keys=True) + "\n")
    fresh.replace(memory)

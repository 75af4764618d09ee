"""QEMU as a program: this machine's own, or one that was only unpacked and is run by the loader beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgewright.tools.process import run
from edgewright.tools.qemu import find_program

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "qemu-system-x86_64"
# Where Debian's packages for amd64 have them.
_LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_MODULES = f"{_LIBRARIES}/qemu"
_DATA = ("usr/share/qemu", "usr/share/seabios")


@dataclass(frozen=True)
class Emulator:
    """One QEMU for x86_64. ``words`` begin its command line."""

    words: tuple[str, ...]

    def version(self) -> str:
        """Return its version line, for the log and for keys of what depends on it."""
        return run([*self.words, "--version"]).decode().splitlines()[0]


def installed() -> Emulator:
    """Return this machine's own.

    Raises:
        EdgeError: it is not installed; names the Debian package.
    """
    return Emulator((find_program(PROGRAM, "qemu-system-x86"),))


def unpacked(tree: Path) -> Emulator:
    """Return the one in a tree of unpacked packages, whose libraries may be newer than this machine's (ld.so(8)).

    It needs no namespaces and no other root, so that it is a plain child process that can be watched and killed.
    """
    data = (word for folder in _DATA for word in ("-L", str(tree / folder)))
    # Parts of it are modules, which it would look for in this machine's /usr/lib (util/module.c).
    loader = (
        "env",
        f"QEMU_MODULE_DIR={tree / _MODULES}",
        str(tree / _LOADER),
        "--library-path",
        str(tree / _LIBRARIES),
    )
    return Emulator((*loader, str(tree / "usr/bin" / PROGRAM), *data))

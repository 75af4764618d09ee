"""Which machine an ELF program is for (System V ABI, gABI chapter 4; e_machine values of the ELF registry)."""

from __future__ import annotations

import struct
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

# Debian's name of an architecture: class (1: 32 bit, 2: 64 bit) and e_machine.
_MACHINES: Final = {"amd64": (2, 62), "arm64": (2, 183), "armhf": (1, 40)}
_NAMES: Final = {machine: name for name, machine in _MACHINES.items()}
_LITTLE_ENDIAN: Final = 1
_HEAD: Final = 20


def check_program(head: bytes, architecture: str, *, where: str) -> None:
    """Check that a file is a program for a Debian architecture (amd64, arm64, armhf).

    Args:
        head: at least the first 20 bytes of the file.
        architecture: the machine's.
        where: what an error calls the file.

    Raises:
        EdgeError: it is no ELF file, or one for another machine.
    """
    expected = f"an ELF program for {architecture}"
    if len(head) < _HEAD or head[:4] != b"\x7fELF" or head[5] != _LITTLE_ENDIAN:
        remedy = "Lock and fetch the release's own program."
        raise EdgeError(Problem(where, "is no program", f"{head[:4]!r} at its beginning", expected, remedy))
    machine = (head[4], struct.unpack_from("<H", head, 18)[0])
    if machine != _MACHINES.get(architecture):
        found = _NAMES.get(machine, f"machine {machine[1]}")
        remedy = "Lock the site for the architecture of its nodes."
        raise EdgeError(Problem(where, "is a program for another machine", found, expected, remedy))

"""Which machine a program is for, told from the beginning of real ELF headers."""

from __future__ import annotations

import struct
import sys

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.elf import check_program
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError


def header(bits: int, machine: int) -> bytes:
    """Return the beginning of a little-endian ELF file of a class (1: 32 bit, 2: 64 bit) and an e_machine."""
    return b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9) + struct.pack("<HH", 2, machine) + bytes(44)


@pytest.mark.parametrize(("architecture", "bits", "machine"), [("amd64", 2, 62), ("arm64", 2, 183), ("armhf", 1, 40)])
def test_a_program_for_the_machine_is_accepted(architecture: str, bits: int, machine: int) -> None:
    check_program(header(bits, machine), architecture, where="k3s")


def test_this_python_is_a_program_for_this_machine_only() -> None:
    with open(sys.executable, "rb") as stream:  # noqa: PTH123 (a link is followed)
        head = stream.read(64)
    accepted = []
    for architecture in ("amd64", "arm64", "armhf"):
        try:
            check_program(head, architecture, where="python")
        except EdgeError:
            continue
        accepted.append(architecture)
    assert len(accepted) == 1


def test_a_program_for_another_machine_is_refused_by_name() -> None:
    with pytest.raises(EdgeError) as caught:
        check_program(header(2, 183), "amd64", where="k3s")
    assert str(caught.value).startswith("k3s: is a program for another machine; found arm64; expected an ELF program")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>" * 4, b"\x7fELF"])
def test_what_is_no_program_is_refused(content: bytes) -> None:
    with pytest.raises(EdgeError, match="is no program"):
        check_program(content, "amd64", where="k3s")

"""Machines with the firmware as their only guest: it boots in seconds anywhere and speaks on the serial console."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.tools import emulator, qemu
from edgewright.tools.emulator import PROGRAM


@pytest.fixture
def firmware() -> None:
    """Skip where QEMU or its firmware is not installed."""
    try:
        qemu.find_firmware()
        emulator.installed()
        qemu.find_program("qemu-img", "qemu-utils")
    except EdgeError as error:
        pytest.skip(str(error))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A disk without anything to boot, recognisable by its first and last bytes."""
    path = tmp_path / "blank.raw"
    with path.open("wb") as stream:
        stream.write(b"edgewright test disk")
        stream.seek(32 * 1024**2 - 3)
        stream.write(b"end")
    return path


@pytest.fixture
def kernel() -> Path:
    """A Linux kernel to boot, the host's own."""
    for path in sorted(Path("/boot").glob("vmlinuz-*")):
        if shutil.which(PROGRAM) and path.stat().st_size and path.open("rb").read(1):
            return path
    pytest.skip("there is no readable /boot/vmlinuz-*")

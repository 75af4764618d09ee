"""Which QEMU runs: one that was only unpacked, the one of a lock, or this machine's own."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import pytest
from edgewright.lockfile import Distribution, Lock, Package, Tree
from edgewright.lockfile_yaml import emit
from edgewright.machine import Machine
from edgewright.paths import Cache
from edgewright.reporter import Reporter
from edgewright.site_emulator import emulator_of
from edgewright.store import Store
from edgewright.tools import emulator
from edgewright.tools.process import ToolError
from edgewright.tools.qemu import Hardware, Link

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("firmware")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def lock_path(tmp_path: Path) -> Path:
    """A lock that names a QEMU, of a package that nobody can have."""
    digest = f"sha256:{hashlib.sha256(b'qemu').hexdigest()}"
    package = Package("qemu-system-x86", "1:99", "amd64", digest, 4, "debian/pool/main/q/qemu/qemu_99_amd64.deb")
    path = tmp_path / "site.lock.yml"
    trees = {"emulator": Tree((package.name,), (package.name,))}
    dated = Distribution(snapshots=("20260101T000000Z",))
    lock = Lock(distribution=dated, packages={package.name: package}, trees=trees)
    path.write_text(emit(lock))
    return path


def _said(lock_path: Path | None, cache: Cache) -> tuple[emulator.Emulator, str]:
    stream = io.StringIO()
    return emulator_of(lock_path, cache, Reporter(verbose=True, stream=stream)), stream.getvalue()


def test_an_unpacked_emulator_runs_with_the_loader_and_the_libraries_of_its_tree(tmp_path: Path, image: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "usr").symlink_to("/usr")
    program = emulator.unpacked(tree)
    assert program.version() == emulator.installed().version()
    hardware = Hardware(memory=256 * 1024**2, cpus=1, link=Link(isolated=True))
    with Machine(image, hardware, program=program) as machine:
        machine.start()
        assert str(tree / "usr/bin" / emulator.PROGRAM) in machine.command
        machine.wait_for_console(r"BdsDxe: .*Boot000\d", 60)
        machine.kill()
        assert not machine.running


def test_an_emulator_whose_tree_is_broken_says_what_did_not_run(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"ld-linux-x86-64\.so\.2"):
        emulator.unpacked(tmp_path).version()


@pytest.mark.parametrize("lock", [None, "missing", "without"])
def test_without_one_in_the_lock_this_machine_s_own_runs(cache: Cache, tmp_path: Path, lock: str | None) -> None:
    path = tmp_path / f"{lock}.lock.yml"
    if lock == "without":
        path.write_text(emit(Lock()))
    program, said = _said(path if lock else None, cache)
    assert program == emulator.installed()
    assert "of this machine: no lock names another one" in said


def test_one_that_was_not_fetched_is_not_waited_for(cache: Cache, lock_path: Path) -> None:
    program, said = _said(lock_path, cache)
    assert program == emulator.installed()
    assert "of this machine: that of the lock has not been fetched" in said


def test_one_that_cannot_be_unpacked_leaves_nothing_behind(cache: Cache, lock_path: Path) -> None:
    (package,) = Lock.load(lock_path).tree("emulator")
    (lock_path.parent / "deb").write_bytes(b"qemu")
    Store(cache.store).add_file(lock_path.parent / "deb", package.digest)
    program, said = _said(lock_path, cache)
    assert program == emulator.installed()
    assert "does not run here" in said
    assert not list((cache.stages / "emulator").glob("*/"))
    assert not list(cache.tmp.iterdir())

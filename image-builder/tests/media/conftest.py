"""A disk image like the builder's, made by the programs that make such things, and loop devices to write it on."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1024**2
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
os.environ["PATH"] += ":/usr/sbin:/sbin"


def sh(*words: str | Path, data: bytes | None = None) -> str:
    """Run a program and return its output; its failure is the test's."""
    done = subprocess.run([str(word) for word in words], input=data, capture_output=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout.decode(errors="replace")


def need(*programs: str) -> None:
    """Skip the test where a program is missing."""
    if missing := [name for name in programs if not shutil.which(name)]:
        pytest.skip(f"needs {', '.join(missing)}")


@dataclass(frozen=True)
class Layout:
    """Offsets in bytes of the test image's partitions."""

    esp: int = 1 * MIB
    root: int = 41 * MIB
    empty: int = 57 * MIB
    state: int = 73 * MIB
    size: int = 98 * MIB


@pytest.fixture(scope="session")
def layout() -> Layout:
    return Layout()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, layout: Layout) -> Path:
    """A sparse GPT image: FAT, erofs, an empty slot, ext4."""
    need("sfdisk", "mkfs.vfat", "mcopy", "mkfs.erofs", "mke2fs")
    folder = tmp_path_factory.mktemp("image")
    image = folder / "site.raw"
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    # Zeros inside a file are content: they must come out as zeros of whatever medium they went through.
    (tree / "etc" / "zeros").write_bytes(b"begin" + bytes(300_000) + b"end")
    (tree / "random").write_bytes(os.urandom(3 * MIB))
    with image.open("wb") as stream:
        stream.truncate(layout.size)
    table = f"""label: gpt
first-lba: 2048
start={layout.esp // 512}, size=40MiB, type={ESP}, name=esp
start={layout.root // 512}, size=16MiB, type=L, name=root-a
start={layout.empty // 512}, size=16MiB, type=L, name=_empty
start={layout.state // 512}, size=24MiB, type=L, name=state
"""
    sh("sfdisk", "--quiet", image, data=table.encode())
    for name, command in {
        "esp": ["mkfs.vfat", "-F", "32", "-S", "512", "-s", "1", "-n", "ESP", "--invariant"],
        "root": ["mkfs.erofs"],
        "state": ["mke2fs", "-q", "-t", "ext4", "-d", str(tree)],
    }.items():
        part = folder / name
        with part.open("wb") as stream:
            stream.truncate({"esp": 40, "root": 16, "state": 24}[name] * MIB)
        sh(*command, part, *([tree] if name == "root" else []))
        if name == "esp":
            sh("mmd", "-i", part, "::/EFI")
            sh("mcopy", "-i", part, tree / "etc" / "zeros", "::/EFI/zeros")
        sh("dd", f"if={part}", f"of={image}", "bs=1M", f"seek={getattr(layout, name) // MIB}", "conv=notrunc,sparse")
        part.unlink()
    return image


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Make loop devices of a size, full of what is not zero; skips where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    need("losetup")
    made: list[str] = []

    def make(size: int) -> Path:
        backing = tmp_path / f"medium{len(made)}"
        with backing.open("wb") as stream:
            for _ in range(-(-size // MIB)):
                stream.write(b"\xff" * MIB)
            stream.truncate(size)
        done = subprocess.run(["losetup", "--find", "--show", backing], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no loop device: {done.stderr.strip()}")
        made.append(done.stdout.strip())
        return Path(made[-1])

    yield make
    for device in made:
        sh("losetup", "--detach", device)

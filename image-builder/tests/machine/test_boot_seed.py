"""``edgewright boot --seed``: the secrets are on the disk that boots, and never in the image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import command_line
import pytest

if TYPE_CHECKING:
    from pathlib import Path

ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
MIB = 1024**2
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "MTOOLS_SKIP_CHECK": "1"}


def sh(*words: str | Path, data: bytes = b"") -> str:
    done = subprocess.run([str(word) for word in words], input=data, capture_output=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An image with an empty ESP."""
    if missing := [
        name for name in ("sfdisk", "mkfs.vfat", "mcopy") if not shutil.which(name, path=ENVIRONMENT["PATH"])
    ]:
        pytest.skip(f"needs {', '.join(missing)}")
    esp, image = tmp_path / "esp", tmp_path / "site.raw"
    for path, size in ((esp, 40 * MIB), (image, 43 * MIB)):
        with path.open("wb") as stream:
            stream.truncate(size)
    sh("mkfs.vfat", "-F", "32", "-s", "1", esp)
    sh("sfdisk", "--quiet", image, data=f"label: gpt\nfirst-lba: 2048\nstart=2048, size=40MiB, type={ESP}".encode())
    sh("dd", f"if={esp}", f"of={image}", "bs=1M", "seek=1", "conv=notrunc,sparse")
    return image


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    """A seed made with tar(1) and sha256sum(1)."""
    (tmp_path / "till-01.tar").write_bytes(b"secret" * 1000)
    (tmp_path / "SHA256SUMS").write_text(sh("sh", "-c", f"cd {tmp_path} && sha256sum till-01.tar"))
    sh("tar", "--create", f"--directory={tmp_path}", f"--file={tmp_path}/seed.tar", "till-01.tar", "SHA256SUMS")
    return tmp_path / "seed.tar"


def boot(tmp_path: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Boot for two seconds; then the machine, which has nothing to boot, is switched off."""
    options = ["--accel", "tcg", "--timeout", "2", "--grace", "1", "--cache", str(tmp_path / "cache")]
    return command_line.run("boot", *options, *words)


def listed(disk: Path) -> list[str]:
    return re.findall(r"^::/(\S+)", sh("mdir", "-b", "-/", "-i", f"{disk}@@1M", "::/"), flags=re.MULTILINE)


@pytest.mark.usefixtures("firmware")
def test_the_disk_has_the_seed_and_the_image_has_not(disk: Path, seed: Path, tmp_path: Path) -> None:
    before = disk.read_bytes()
    kept = tmp_path / "kept.raw"
    done = boot(tmp_path, disk, "--seed", seed, "--persistent", kept)
    assert "Still on after" in done.stderr, done.stderr
    assert {"edgewright/seed/till-01.tar", "edgewright/seed/SHA256SUMS"} < set(listed(kept))
    assert sh("mtype", "-i", f"{kept}@@1M", "::/edgewright/seed/till-01.tar") == "secret" * 1000
    assert kept.stat().st_mode & 0o077 == 0
    assert disk.read_bytes() == before


@pytest.mark.usefixtures("firmware")
def test_a_disk_that_is_thrown_away_takes_the_seed_along(disk: Path, seed: Path, tmp_path: Path) -> None:
    done = boot(tmp_path, disk, "--seed", seed)
    assert "Still on after" in done.stderr, done.stderr
    assert list((tmp_path / "cache/tmp").iterdir()) == []


def test_a_disk_that_cannot_take_a_seed_is_refused(disk: Path, seed: Path, tmp_path: Path) -> None:
    done = boot(tmp_path, disk, "--seed", seed, "--persistent", tmp_path / "kept.qcow2")
    assert done.returncode == 2
    assert "not a raw disk, as --seed needs" in done.stderr
    assert not (tmp_path / "kept.qcow2").exists()

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import command_line
import pytest
from edgewright import blockmap, significance

from .conftest import MIB, Layout, need, sh

MakeLoop = Callable[[int], Path]


@pytest.fixture
def beside(image: Path, tmp_path: Path) -> Path:
    """A private copy of the image with its block map beside it."""
    copy = tmp_path / "site.raw"
    sh("cp", "--sparse=always", image, copy)
    copy.with_name("site.raw.bmap").write_text(blockmap.make(copy, significance.meant(copy)).to_xml())
    return copy


def _command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "edgewright", "flash", "--json", *(str(word) for word in words)]


def _flash(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return command_line.run("flash", "--json", *words)


def _errors(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join(f"{error['what']} {error['remedy']}" for error in json.loads(done.stdout)["errors"])


def _has_table(device: Path) -> bool:
    return subprocess.run(["sfdisk", "--dump", device], capture_output=True, check=False).returncode == 0


def _mapped_content(image: Path, device: Path) -> bool:
    """Whether the device has every byte of the image that the map lists."""
    found = blockmap.BlockMap.from_xml(image.with_name(f"{image.name}.bmap").read_text())
    with image.open("rb") as ours, device.open("rb") as theirs:
        for offset, size in found.extents():
            ours.seek(offset)
            theirs.seek(offset)
            if ours.read(size) != theirs.read(size):
                return False
    return True


def test_a_flashed_device_has_every_byte_that_matters_and_nothing_of_the_past_at_its_ends(
    beside: Path, loop: MakeLoop, layout: Layout
) -> None:
    device = loop(layout.size + 20 * MIB)
    done = _flash(beside, device, "--yes")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["verified"] is True
    assert answer["written"] < answer["image_size"] / 2
    assert _mapped_content(beside, device)
    assert json.loads(sh("sfdisk", "--json", device))["partitiontable"]["partitions"][0]["name"] == "esp"
    with device.open("rb") as stream:
        stream.seek(-MIB, os.SEEK_END)
        assert stream.read() == bytes(MIB), "a stale backup GPT or RAID superblock could live here"


def test_a_device_of_exactly_the_images_size_becomes_the_image(beside: Path, loop: MakeLoop, layout: Layout) -> None:
    device = loop(layout.size)
    with device.open("r+b") as stream:
        stream.write(bytes(layout.size))
    assert _flash(beside, device, "--yes").returncode == 0
    sh("cmp", beside, device)
    sh("sfdisk", "--verify", device)


def test_an_image_without_a_map_and_a_compressed_one_with_a_map_give_the_same(
    beside: Path, loop: MakeLoop, layout: Layout
) -> None:
    need("zstd")
    first, second = loop(layout.size), loop(layout.size)
    packed = beside.with_name("site.raw.zst")
    sh("zstd", "-q", "-1", beside, "-o", packed)
    assert _flash(packed, second, "--yes").returncode == 0
    beside.with_name("site.raw.bmap").rename(beside.with_name("away"))
    done = _flash(beside, first, "--yes")
    assert done.returncode == 0, done.stderr
    assert "No block map beside" in done.stderr
    sh("cmp", first, second)
    assert _flash(packed, second, "--yes").returncode == 2, "a compressed image cannot do without its map"


def test_a_file_is_written_whole_or_not_at_all(beside: Path, layout: Layout, tmp_path: Path) -> None:
    target = tmp_path / "out" / "medium.raw"
    target.parent.mkdir()
    assert _flash(beside, target, "--to-file").returncode == 0
    sh("cmp", beside, target)
    assert target.stat().st_blocks * 512 < target.stat().st_size / 2, "the file is not sparse"
    target.unlink()
    _flip(beside, layout.root + 1024)
    assert _flash(beside, target, "--to-file").returncode == 2
    assert list(target.parent.iterdir()) == []


def _flip(path: Path, offset: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        (value,) = stream.read(1)
        stream.seek(offset)
        stream.write(bytes([value ^ 1]))


def test_a_damaged_image_is_noticed_and_leaves_nothing_that_boots(beside: Path, loop: MakeLoop, layout: Layout) -> None:
    device = loop(layout.size)
    _flip(beside, layout.root + 1024)
    done = _flash(beside, device, "--yes")
    assert done.returncode == 2
    assert "the image is damaged" in _errors(done)
    assert "incomplete" in done.stderr
    assert not _has_table(device)


def test_a_map_of_another_image_is_refused(beside: Path, loop: MakeLoop, layout: Layout) -> None:
    device = loop(layout.size + MIB)
    with beside.open("r+b") as stream:
        stream.truncate(layout.size + MIB)
    done = _flash(beside, device, "--yes")
    assert done.returncode == 2
    assert "belongs to another image" in _errors(done)
    _untouched(device)


def _untouched(device: Path) -> None:
    with device.open("rb") as stream:
        assert stream.read(MIB) == b"\xff" * MIB
        stream.seek(-MIB, os.SEEK_END)
        assert stream.read() == b"\xff" * MIB


def test_a_smaller_device_is_refused_untouched(beside: Path, loop: MakeLoop, layout: Layout) -> None:
    device = loop(layout.size - MIB)
    done = _flash(beside, device, "--yes")
    assert done.returncode == 2
    assert "too small" in _errors(done)
    _untouched(device)


def test_without_anybody_to_ask_nothing_is_written(beside: Path, loop: MakeLoop, layout: Layout) -> None:
    device = loop(layout.size)
    done = _flash(beside, device)
    assert done.returncode == 2
    assert "Add --yes" in _errors(done)
    _untouched(device)


def test_a_mounted_device_is_refused(beside: Path, loop: MakeLoop, layout: Layout, tmp_path: Path) -> None:
    device = loop(layout.size)
    sh("mke2fs", "-q", "-t", "ext4", "-F", device)
    place = tmp_path / "place"
    place.mkdir()
    # Read-only: ext4 itself writes to what it may write to, some seconds after it was mounted.
    if subprocess.run(["mount", "-o", "ro", device, place], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        before = hashlib.sha256(device.read_bytes()).hexdigest()
        done = _flash(beside, device, "--yes")
        assert done.returncode == 2
        assert f"is mounted at {place}" in _errors(done)
        assert hashlib.sha256(device.read_bytes()).hexdigest() == before
    finally:
        sh("umount", place)


def test_a_device_that_somebody_else_claims_is_refused(beside: Path, loop: MakeLoop, layout: Layout) -> None:
    device = loop(layout.size)
    claim = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        done = _flash(beside, device, "--yes")
    finally:
        os.close(claim)
    assert done.returncode == 2
    assert "in use" in _errors(done)
    _untouched(device)


def test_a_medium_that_does_not_keep_what_it_was_given_is_found_out(
    beside: Path, loop: MakeLoop, layout: Layout
) -> None:
    """The backing file of the loop device changes behind its back, between writing and reading back."""
    from edgewright import flash
    from edgewright.reporter import Reporter

    device = loop(layout.size)
    backing = Path(sh("losetup", "--noheadings", "--output", "BACK-FILE", device).strip())

    class Saboteur(Reporter):
        done = False

        def progress(self, label: str, done: float, total: float | None, unit: str = "B") -> None:
            super().progress(label, done, total, unit)
            if label == "writing" and done == total:
                os.sync()
                _flip(backing, layout.root + 1024)
                self.done = True

    reporter = Saboteur()
    plan = blockmap.BlockMap.from_xml(beside.with_name("site.raw.bmap").read_text())
    with pytest.raises(flash.FlashError, match="read back differently"):
        flash.write(beside, device, plan, reporter)
    reporter.close()
    assert reporter.done
    assert not _has_table(device)
    assert flash.write(beside, device, plan, Reporter()).size == plan.mapped_size


def test_interrupted_it_leaves_nothing_that_boots_and_can_be_run_again(
    beside: Path, loop: MakeLoop, layout: Layout, tmp_path: Path
) -> None:
    """The image comes through a pipe that stops half-way, so that the interrupt always falls into the middle."""
    need("zstd")
    device = loop(layout.size)
    assert _flash(beside, device, "--yes").returncode == 0
    assert _has_table(device)
    packed = subprocess.run(["zstd", "-qc", "-1", beside], capture_output=True, check=True).stdout
    fifo = tmp_path / "slow.raw.zst"
    os.mkfifo(fifo)
    words = _command(fifo, device, "--yes", "--bmap", beside.with_name("site.raw.bmap"))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with fifo.open("wb") as stream:
        stream.write(packed[: len(packed) // 2])
        stream.flush()
        deadline = time.monotonic() + 120
        while _has_table(device) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _has_table(device), "the old table must be gone before the new content arrives"
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "incomplete" in messages
    assert not _has_table(device)
    assert _flash(beside, device, "--yes").returncode == 0
    assert _mapped_content(beside, device)


def test_killed_outright_it_leaves_nothing_that_boots(
    beside: Path, loop: MakeLoop, layout: Layout, tmp_path: Path
) -> None:
    need("zstd")
    device = loop(layout.size)
    assert _flash(beside, device, "--yes").returncode == 0
    fifo = tmp_path / "slow.raw.zst"
    os.mkfifo(fifo)
    packed = subprocess.run(["zstd", "-qc", "-1", beside], capture_output=True, check=True).stdout
    words = _command(fifo, device, "--yes", "--bmap", beside.with_name("site.raw.bmap"))
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with fifo.open("wb") as stream:
        stream.write(packed[: len(packed) * 9 // 10])
        stream.flush()
        deadline = time.monotonic() + 120
        while _has_table(device) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        process.wait()
    assert not _has_table(device)


def test_the_nodes_name_is_left_on_the_medium(beside: Path, loop: MakeLoop, layout: Layout) -> None:
    need("mtype", "fsck.vfat")
    device = loop(layout.size + 8 * MIB)
    for name in ("edge-1", "edge-2.example"):
        done = _flash(beside, device, "--yes", "--node", name)
        assert done.returncode == 0, done.stderr
        assert sh("mtype", "-i", f"{device}@@{layout.esp}", "::/edgewright/node") == f"{name}\n"
    part = Path(f"{beside}.esp")
    sh("dd", f"if={device}", f"of={part}", "bs=1M", f"skip={layout.esp // MIB}", "count=40")
    sh("fsck.vfat", "-n", part)


@pytest.mark.parametrize("name", ["", "a b", "../x", "UPPER", "-x", "x" * 300])
def test_what_is_not_a_host_name_is_no_nodes_name(beside: Path, tmp_path: Path, name: str) -> None:
    done = _flash(beside, tmp_path / "file", "--to-file", f"--node={name}")
    assert done.returncode == 2
    assert "not a host name" in _errors(done)
    assert not (tmp_path / "file").exists()


def _seed(folder: Path) -> Path:
    """Make a seed's file with tar(1) and sha256sum(1)."""
    content = folder / "content"
    content.mkdir()
    for host in ("till-01", "till-02"):
        (content / f"{host}.tar").write_bytes(os.urandom(5000))
    sums = sh("sh", "-c", f"cd {content} && sha256sum *.tar")
    (content / "SHA256SUMS").write_text(sums)
    seed = folder / "seed.tar"
    sh("tar", "--create", f"--directory={content}", f"--file={seed}", "till-01.tar", "till-02.tar", "SHA256SUMS")
    return seed


def _has_seed(medium: Path, folder: Path, layout: Layout) -> bool:
    """Whether mtools finds the seed's files on the medium's FAT partition, and nothing else beside them."""
    out = folder / "out"
    out.mkdir()
    sh("mcopy", "-s", "-i", f"{medium}@@{layout.esp}", "::/edgewright/seed", out)
    found = {path.name: path.read_bytes() for path in (out / "seed").iterdir()}
    return found == {path.name: path.read_bytes() for path in (folder / "content").iterdir()}


def test_a_seed_comes_onto_the_device_beside_a_name(
    beside: Path, loop: MakeLoop, layout: Layout, tmp_path: Path
) -> None:
    device = loop(layout.size)
    done = _flash(beside, device, "--yes", "--seed", _seed(tmp_path), "--node", "till-02")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seed"] == ["till-01", "till-02"]
    assert _has_seed(device, tmp_path, layout)
    assert sh("mtype", "-i", f"{device}@@{layout.esp}", "::/edgewright/node") == "till-02\n"


def test_a_file_with_a_seed_is_for_its_owner_alone_and_the_image_stays_without(
    beside: Path, layout: Layout, tmp_path: Path
) -> None:
    target = tmp_path / "medium.raw"
    done = _flash(beside, target, "--to-file", "--seed", _seed(tmp_path))
    assert done.returncode == 0, done.stderr
    assert target.stat().st_mode & 0o777 == 0o600
    assert _has_seed(target, tmp_path, layout)
    assert "EDGEWR" not in sh("mdir", "-i", f"{beside}@@{layout.esp}", "::/").upper()


def test_a_seed_replaces_an_earlier_one(beside: Path, layout: Layout, tmp_path: Path) -> None:
    place = f"{beside}@@{layout.esp}"
    (tmp_path / "stale").write_text("of a host that is gone")
    sh("mmd", "-i", place, "::/edgewright", "::/edgewright/seed")
    sh("mcopy", "-i", place, tmp_path / "stale", "::/edgewright/seed/till-99.tar")
    sh("rm", f"{beside}.bmap")
    target = tmp_path / "medium.raw"
    assert _flash(beside, target, "--to-file", "--seed", _seed(tmp_path)).returncode == 0
    assert _has_seed(target, tmp_path, layout)


def test_a_damaged_seed_is_noticed_before_anything_is_written(
    beside: Path, loop: MakeLoop, layout: Layout, tmp_path: Path
) -> None:
    device = loop(layout.size)
    seed = _seed(tmp_path)
    _flip(seed, 1000)
    done = _flash(beside, device, "--yes", "--seed", seed)
    assert done.returncode == 2
    assert "the seed is damaged" in _errors(done)
    _untouched(device)


def test_a_seed_for_which_the_medium_has_no_room_is_an_error(beside: Path, tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.mkdir()
    (content / "till-01.tar").write_bytes(bytes(41 * MIB))
    (content / "SHA256SUMS").write_text(sh("sh", "-c", f"cd {content} && sha256sum *.tar"))
    sh("tar", "--create", f"--directory={content}", f"--file={tmp_path}/seed.tar", "till-01.tar", "SHA256SUMS")
    done = _flash(beside, tmp_path / "medium.raw", "--to-file", "--seed", tmp_path / "seed.tar")
    assert done.returncode == 2
    assert "has no room for the seed" in done.stderr

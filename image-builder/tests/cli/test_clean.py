"""``edgewright clean`` deletes what it says, and nothing that is not the builder's own."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Run, Write

KEY = "0123456789abcdef0123456789abcdef"
TAG = "Signature: 8a477f597d28d172789f06886806bc55\n"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache as builds leave it, with two things in it that are not a build's."""
    root = tmp_path / "cache"
    files = {
        "CACHEDIR.TAG": TAG,
        f"stages/rootfs/{KEY}/tree/file": "x" * 100_000,
        f"stages/rootfs/{KEY}.lock": "",
        "stages/rootfs/notes.txt": "mine",
        "stages/rootfs/other/file": "mine",
        "tmp/rootfs-abc/half": "x" * 5000,
        "store/sha256/ab/abcdef": "x" * 20_000,
        "store/partial/lock": "",
        "store/partial/fff.part": "x",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.parent.name != "logs"}


FOREIGN = {"CACHEDIR.TAG", "stages/rootfs/notes.txt", "stages/rootfs/other/file"}
LOCKS = {f"stages/rootfs/{KEY}.lock", "store/partial/lock"}
STORE = {"store/sha256/ab/abcdef", "store/partial/fff.part"}


def test_without_options_stages_and_scratch_go(edgewright: Run, cache: Path) -> None:
    done = edgewright("clean")
    assert done.returncode == 0, done.stderr
    assert names(cache) == FOREIGN | LOCKS | STORE


def test_store_goes_only_when_asked(edgewright: Run, inventory: Write, cache: Path) -> None:
    assert edgewright("clean", "-i", inventory({}), "--store").returncode == 0
    assert names(cache) == FOREIGN | LOCKS | {f"stages/rootfs/{KEY}/tree/file", "tmp/rootfs-abc/half"}


def test_dry_run_deletes_nothing_and_tells_sizes_as_du_does(edgewright: Run, inventory: Write, cache: Path) -> None:
    before = names(cache)
    done = edgewright("clean", "-i", inventory({}), "--all", "--dry-run", "--json")
    assert names(cache) == before
    answer = json.loads(done.stdout)
    assert answer["dry_run"] is True
    sizes = {entry["path"]: entry["bytes"] for entry in answer["removed"]}
    du = subprocess.check_output(["du", "-s", "--block-size=1", cache / "stages" / "rootfs" / KEY], text=True)
    assert sizes[str(cache / "stages" / "rootfs" / KEY)] == int(du.split()[0])
    assert answer["bytes"] == sum(sizes.values())


def test_a_stage_in_use_is_left_alone(edgewright: Run, inventory: Write, cache: Path) -> None:
    lock = os.open(cache / "stages" / "rootfs" / f"{KEY}.lock", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    done = edgewright("clean", "-i", inventory({}), "--json")
    os.close(lock)
    assert (cache / "stages" / "rootfs" / KEY / "tree" / "file").is_file()
    assert [Path(entry["path"]).name for entry in json.loads(done.stdout)["kept"]] == [KEY]
    assert "is in use by a running build; left alone" in done.stderr


def test_output_is_the_image_and_its_evidence_alone(edgewright: Run, inventory: Write, tmp_path: Path) -> None:
    output = tmp_path / "elsewhere"
    output.mkdir()
    for name in ("test.raw", "test.raw.bmap", "test.spdx.json", "SHA256SUMS", "manifest.json", "holiday.jpg"):
        (output / name).write_text("x")
    assert edgewright("clean", "-i", inventory({}), "--output", "elsewhere").returncode == 0
    assert [path.name for path in output.iterdir()] == ["holiday.jpg"]


def test_the_seed_beside_the_output_goes_with_it(edgewright: Run, inventory: Write, tmp_path: Path) -> None:
    for name in ("test.seed.tar", "other.seed.tar"):
        (tmp_path / name).write_text("x")
    assert edgewright("clean", "-i", inventory({}), "--output", "elsewhere").returncode == 0
    assert sorted(path.name for path in tmp_path.glob("*.seed.tar")) == ["other.seed.tar"]


def test_an_emptied_output_folder_goes(edgewright: Run, inventory: Write, tmp_path: Path) -> None:
    output = tmp_path / "elsewhere"
    output.mkdir()
    (output / "test.raw").write_text("x")
    assert edgewright("clean", "-i", inventory({}), "--output", "elsewhere").returncode == 0
    assert not output.exists()


@pytest.mark.parametrize("folder", ["/", "home", "home/..", "photos"])
def test_a_folder_that_is_no_cache_is_refused(edgewright: Run, inventory: Write, tmp_path: Path, folder: str) -> None:
    (tmp_path / "home").mkdir(exist_ok=True)
    stage = tmp_path / "photos" / "stages" / "rootfs" / KEY
    stage.mkdir(parents=True)
    (tmp_path / "home" / "CACHEDIR.TAG").write_text(TAG)
    before = names(tmp_path)
    done = edgewright("clean", "-i", inventory({}), "--all", "--cache", folder)
    assert done.returncode == 2
    assert "nothing was deleted" in done.stderr
    assert stage.is_dir()
    assert {name for name in names(tmp_path) if not name.startswith("site/")} == before


def test_an_empty_or_absent_cache_is_no_error(edgewright: Run, inventory: Write) -> None:
    done = edgewright("clean", "-i", inventory({}), "--cache", "absent")
    assert (done.returncode, done.stdout) == (0, "Nothing to delete.\n")


def test_symbolic_links_are_not_followed(edgewright: Run, inventory: Write, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (cache / "stages" / "rootfs" / KEY / "link").symlink_to(tmp_path / "precious")
    (cache / "stages" / "rootfs" / ("f" * 32)).symlink_to(tmp_path / "precious")
    assert edgewright("clean", "-i", inventory({}), "--all").returncode == 0
    assert (tmp_path / "precious" / "file").is_file()


def test_only_what_no_build_has_used_for_long_goes(edgewright: Run, cache: Path) -> None:
    recent = cache / "stages" / "rootfs" / ("e" * 32)
    recent.mkdir()
    recent.with_suffix(".lock").touch()
    four_days_ago = time.time() - 4 * 86400
    os.utime(cache / "stages" / "rootfs" / f"{KEY}.lock", (four_days_ago, four_days_ago))
    assert edgewright("clean", "--unused-for", "5").stdout == "Nothing to delete.\n"
    done = edgewright("clean", "--unused-for", "3", "--json")
    assert [Path(entry["path"]).name for entry in json.loads(done.stdout)["removed"]] == [KEY]
    assert names(cache) >= STORE | {"tmp/rootfs-abc/half"}
    assert recent.is_dir()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--all"], "needs to know whose output"),
        (["--unused-for", "3", "--stages"], "contradicts --stages"),
        (["--unused-for", "soon"], "expected a number of days"),
    ],
)
def test_what_does_not_go_together_is_refused(edgewright: Run, cache: Path, options: list[str], said: str) -> None:
    before = names(cache)
    done = edgewright("clean", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert names(cache) == before

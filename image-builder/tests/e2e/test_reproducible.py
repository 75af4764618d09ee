"""The same inputs give the same bytes: in another cache, in another folder, as another user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edgewright.paths import Cache, default_cache, project_root

from .conftest import edgewright
from .disk_image import attempt, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Build

EVIDENCE = ("SHA256SUMS", "demo.raw.bmap", "demo.spdx.json", "manifest.json")
USER = "edgewright-e2e"


def assert_same(one: Path, other: Path) -> None:
    """Compare two builds byte by byte."""
    for name in ("demo.raw", *EVIDENCE):
        done = attempt("cmp", one / name, other / name)
        assert done.returncode == 0, f"{name}: {done.stdout}"


def test_building_everything_anew_in_another_cache_and_folder_gives_the_same_bytes(demo: Build, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.root.mkdir()
    (cache.root / "store").symlink_to(Cache(default_cache()).store)
    output = tmp_path / "a folder with blanks"
    edgewright("build", "--rebuild", "--cache", cache.root, "-i", demo.inventory, "--output", output)
    try:
        assert_same(demo.output, output)
    finally:
        edgewright("clean", "--stages", "--cache", cache.root, "-i", demo.inventory)


@pytest.fixture
def user() -> Iterator[pwd.struct_passwd]:
    """An account that exists for one test."""
    if os.geteuid() != 0:
        pytest.skip("only root can make an account; the other builds have been an ordinary user's already")
    attempt("userdel", "--remove", USER)  # what a run that was killed left behind
    run("useradd", "--create-home", "--shell", "/bin/sh", USER)
    yield pwd.getpwnam(USER)
    run("userdel", "--remove", USER)


def checkout(target: Path, user: pwd.struct_passwd) -> None:
    """Copy the files that git would keep, as they are now, for the user."""
    listed = run("git", "-C", project_root(), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (project_root() / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project_root() / name, target / name)
    run("chown", "-R", f"{user.pw_uid}:{user.pw_gid}", target)


def test_an_ordinary_user_with_other_habits_builds_the_same_bytes_as_root(demo: Build, user: pwd.struct_passwd) -> None:
    home = Path(user.pw_dir)
    checkout(home / "checkout", user)
    shutil.copy(demo.inventory / "site.lock.yml", home / "checkout" / "inventories" / "demo")
    store = home / "cache" / "store"
    store.mkdir(parents=True)
    for part in ("sha256", "control"):
        run("cp", "-R", "--reflink=auto", Cache(default_cache()).store / part, store)
    run("chown", "-R", f"{user.pw_uid}:{user.pw_gid}", home / "cache")
    build = "umask 027; cd ~/checkout && .ci/setup && .venv/bin/edgewright build -i inventories/demo --output ~/output"
    done = subprocess.run(
        ["sh", "-c", build],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        env={
            "HOME": user.pw_dir,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "de_DE.UTF-8",
            "TZ": "Pacific/Auckland",
            "EDGEWRIGHT_CACHE": str(home / "cache"),
        },
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same(demo.output, home / "output")

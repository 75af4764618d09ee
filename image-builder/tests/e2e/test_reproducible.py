"""The same inputs give the same bytes: from another checkout, in another cache and folder, as another user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from edgewright.paths import Cache, default_cache, project_root

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


@pytest.fixture
def user() -> Iterator[pwd.struct_passwd | None]:
    """An account that exists for one test; None where only this one can be had."""
    if os.geteuid() != 0:
        yield None
        return
    attempt("userdel", "--remove", USER)  # what a run that was killed left behind
    run("useradd", "--create-home", "--shell", "/bin/sh", USER)
    yield pwd.getpwnam(USER)
    run("userdel", "--remove", USER)


def checkout(target: Path) -> None:
    """Copy the files that git would keep, as they are now."""
    listed = run("git", "-C", project_root(), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (project_root() / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project_root() / name, target / name)


BUILD = """
umask 027
cd "$HOME/checkout"
.ci/setup
exec .venv/bin/edgewright build --rebuild -i inventories/demo --output "$HOME/a folder with blanks"
"""


def test_building_everything_anew_as_another_user_with_other_habits_gives_the_same_bytes(
    demo: Build, user: pwd.struct_passwd | None, tmp_path: Path
) -> None:
    home = Path(user.pw_dir) if user else tmp_path
    checkout(home / "checkout")
    shutil.copy(demo.inventory / "site.lock.yml", home / "checkout" / "inventories" / "demo")
    store = home / "cache" / "store"
    store.mkdir(parents=True)
    for part in ("sha256", "control"):
        run("cp", "-R", "--reflink=auto", Cache(default_cache()).store / part, store)
    identity: dict[str, Any] = {}
    if user:
        run("chown", "-R", f"{user.pw_uid}:{user.pw_gid}", home / "checkout", home / "cache")
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    done = subprocess.run(
        ["sh", "-euc", BUILD],
        **identity,
        env={
            "HOME": str(home),
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
    assert_same(demo.output, home / "a folder with blanks")

"""The command line on a k3s site: lock, check, fetch and what carries them across an air gap."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import command_line
import pytest
from edgewright.lockfile import Lock, Tree
from edgewright.resolve_request import request_of
from edgewright.site import load_site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .outside_world import World


@pytest.fixture
def start(world: World, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a verb of the command line on the site, whose Debian packages are locked already."""
    request = request_of(load_site(world.folder))
    Lock(trees={name: Tree(tuple(asked), ()) for name, asked in request.trees.items()}).dump(
        world.folder / "site.lock.yml"
    )

    def start(verb: str, *words: str) -> subprocess.Popen[str]:
        own = ["-i", str(world.folder), "--cache", str(tmp_path / "cache"), *words]
        argv = [sys.executable, "-m", "edgewright", verb, *own]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe, text=True)

    return start


def test_the_command_line_locks_fetches_and_carries_a_k3s_site(
    world: World, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    def run(verb: str, *words: str) -> Any:
        done = command_line.run(verb, "-i", world.folder, "--cache", tmp_path / "cache", *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    locked = run("lock")
    differences = {each["kind"]: each for each in locked["differences"]}
    assert len(differences["container images"]["added"]) == 5
    assert len(differences["artifacts"]["added"]) == 3
    warnings = [warning["what"] for warning in run("check")["warnings"]]
    assert not [what for what in warnings if "lock" in what]
    assert len(run("fetch")["fetched"]) == 5 + 1  # the rest was read to be locked
    assert run("lock")["changed"] is False
    process = start("artifacts", "export", str(tmp_path / "stick"))
    assert process.wait(60) == 0
    shutil.rmtree(tmp_path / "cache")
    world.front.shutdown()
    assert run("artifacts", "import", str(tmp_path / "stick"))["missing"] == []
    assert run("fetch")["fetched"] == []


def test_an_interrupted_lock_ends_at_once_and_writes_nothing(
    world: World, start: Callable[..., subprocess.Popen[str]]
) -> None:
    before = (world.folder / "site.lock.yml").read_bytes()
    world.front.silence = 30
    process = start("lock")
    deadline = time.monotonic() + 180
    while not world.front.asked("/v2/"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=180)
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert time.monotonic() - begin < 10
    assert (world.folder / "site.lock.yml").read_bytes() == before

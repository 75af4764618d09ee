"""A command that a server forks for does what one does that was started."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import command_line
import pytest
import warm_start

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "words",
    [
        ("check", "-i", "inventories/shop"),
        ("check", "-i", "inventories/shop", "--json"),
        ("plan", "-i", "nowhere"),
        ("check", "--nothing-like-this"),
    ],
    ids=["right", "json", "wrong", "usage"],
)
def test_a_warm_start_says_and_returns_what_a_cold_one_does(tmp_path: Path, words: tuple[str, ...]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment["EDGEWRIGHT_CACHE"] = str(tmp_path)
    cold = command_line.run_cold(*words, cwd=ROOT, env=environment)
    warm = command_line.run(*words, cwd=ROOT, env=environment)
    assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr)


def test_without_a_server_the_caller_is_told(tmp_path: Path) -> None:
    with pytest.raises(warm_start.NoServerError):
        warm_start.call(tmp_path / "none", [], folder="/", environment={}, streams=(0, 1, 2))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One that listens at ``socket``."""
    path = tmp_path / "socket"
    server = subprocess.Popen([sys.executable, warm_start.__file__, "edgewright", path], cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not path.exists():
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield server
    server.kill()
    server.wait()


def test_a_server_ends_when_its_socket_is_gone(server: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "socket").unlink()
    assert server.wait(60) == 0


@pytest.mark.usefixtures("server")
def test_a_command_is_ended_when_its_caller_gives_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "password")  # nobody ever writes it
    words = ["check", "-i", "inventories/demo", "--vault-password-file", str(tmp_path / "password")]
    said, says = os.pipe()
    path, streams = tmp_path / "socket", (says, says, says)
    with pytest.raises(TimeoutError):
        warm_start.call(path, words, folder=str(ROOT), environment=os.environ, streams=streams, timeout=2)
    os.close(says)
    while select.select([said], [], [], 60)[0]:
        if not os.read(said, 4096):
            break  # the command was the last that could write there
    else:
        pytest.fail("it still runs a minute later")
    os.close(said)

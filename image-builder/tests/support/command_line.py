"""Runs the command line in a process of its own, as a user does, without importing everything anew for each command.

What the start itself does (``--help``, what is imported, signals, terminals) is for tests that start it themselves.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import warm_start

if TYPE_CHECKING:
    from collections.abc import Mapping

_servers: dict[str, Server] = {}


class Server:
    """The process that forks, for commands with the same settings of Python and Ansible."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgewright-warm-")
        self.path = Path(self._folder.name, "socket")
        self._process = subprocess.Popen(
            [sys.executable, warm_start.__file__, "edgewright", self.path],
            env=environment,
            cwd=self._folder.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        atexit.register(self._close)
        while not self.path.exists():
            assert self._process.poll() is None, "the server of the command line did not start"
            time.sleep(0.02)

    def _close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()


def run(
    *words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run ``edgewright`` to its end, without standard input.

    Args:
        words: the command line after the program's name.
        cwd: its folder; the caller's when None.
        env: all of its environment; the caller's when None.
        timeout: in seconds.

    Raises:
        TimeoutError: it did not end in time (subprocess.TimeoutExpired with settings of Ansible).
    """
    environment = dict(os.environ if env is None else env)
    if any(name.startswith("ANSIBLE_") for name in environment):  # it reads them when it is imported
        return run_cold(*words, cwd=cwd, env=environment, timeout=timeout)
    # Each test has a home of its own, and none has a configuration of Ansible there.
    settings = warm_start.settled({name: value for name, value in environment.items() if name != "HOME"})
    if settings not in _servers:
        _servers[settings] = Server(environment)
    with (
        Path(os.devnull).open() as nothing,
        tempfile.TemporaryFile("w+", encoding="utf-8") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8") as err,
    ):
        status = warm_start.call(
            _servers[settings].path,
            [str(word) for word in words],
            folder=str(cwd or Path.cwd()),
            environment=environment,
            streams=[stream.fileno() for stream in (nothing, out, err)],
            timeout=timeout,
        )
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(["edgewright", *words], status, out.read(), err.read())


def run_cold(
    *words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Do the same with a process that is started, and imports everything itself."""
    return subprocess.run(
        [sys.executable, "-m", "edgewright", *words],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )

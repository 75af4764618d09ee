"""Run a program; when it fails, say how to run it again by hand and what it last said."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections import deque
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_LAST_LINES = 25
_running: set[subprocess.Popen[bytes]] = set()
_guard = threading.Lock()
_ending = threading.Event()


class ToolError(Exception):
    """A program that the builder drives has failed.

    Attributes:
        argv: the command, ready for ``shlex.join``.
        returncode: its exit status; negative for a signal; 127 when the program is not there.
        output: the last lines of what it said.
        hint: what to do, when that is known.
    """

    def __init__(self, argv: Sequence[str], returncode: int, output: str, hint: str = "") -> None:
        self.argv = list(argv)
        self.returncode = returncode
        self.output = output
        self.hint = hint
        super().__init__(self.__str__())

    def __str__(self) -> str:
        if self.returncode == 127 and not self.output:
            text = f"{self.argv[0]} is not installed"
        elif self.returncode < 0:
            text = f"{self.argv[0]} was ended by signal {-self.returncode}"
        else:
            text = f"{self.argv[0]} failed with exit status {self.returncode}"
        text += f"\n  command: {shlex.join(self.argv)}"
        if self.output:
            text += "\n" + "\n".join(f"  | {line}" for line in self.output.splitlines())
        if self.hint:
            text += f"\n  {self.hint}"
        return text


def end_all() -> None:
    """End every program that ``run`` is waiting for in any thread; each ``run`` then raises ``ToolError``.

    From then on only cleaning up is run.
    """
    _ending.set()
    with _guard:
        for process in _running:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program: unshare(1) passes over SIGTERM while it waits for its child, which it takes along when killed."""
    if isinstance(process.args, list) and process.args[0] == "setpriv":
        process.kill()
    else:
        process.terminate()


@contextlib.contextmanager
def _counted(process: subprocess.Popen[bytes], *, cleaning: bool) -> Iterator[None]:
    with _guard:
        _running.add(process)
    if _ending.is_set() and not cleaning:
        _end(process)  # it began just before everything was ended
    try:
        yield
    finally:
        with _guard:
            _running.discard(process)


def run(
    argv: Sequence[str | Path],
    *,
    input: bytes | None = None,  # noqa: A002 - the name subprocess gives it
    stdin: IO[bytes] | int | None = None,
    stdout: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    hint: str = "",
    cleaning: bool = False,
) -> bytes:
    """Run ``argv`` to its end and return its standard output (empty when ``stdout`` takes it).

    Standard error, and standard output unless it is asked for, go to ``log`` when one is given.

    Args:
        argv: program and arguments; never goes through a shell.
        input: bytes for its standard input.
        stdin: an open file for its standard input instead.
        stdout: an open file for its standard output instead of returning it.
        env: additions to this process's environment.
        cwd: the folder to run it in.
        log: file that its messages are appended to.
        hint: a remedy to show if it fails.
        cleaning: it removes what others left: done even after ``end_all``.

    Raises:
        ToolError: the program is missing, failed, or was ended by a signal.
    """
    words = [os.fspath(word) for word in argv]
    if _ending.is_set() and not cleaning:
        raise ToolError(words, -signal.SIGTERM, "")
    environment = {**os.environ, **(env or {})}
    # An ordinary user's PATH on Debian has no sbin, where chroot, sfdisk and mke2fs are.
    environment["PATH"] = f"{environment.get('PATH') or os.defpath}:/usr/sbin:/sbin"
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE if input is not None else (stdin if stdin is not None else subprocess.DEVNULL),
            stdout=stdout if stdout is not None else subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=cwd,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise
        raise ToolError(words, 127, "", hint or f"Install {words[0]}.") from error
    try:
        with _counted(process, cleaning=cleaning):
            out, err = process.communicate(input)
    except BaseException:
        _end(process)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    out = out or b""
    if log is not None:
        with log.open("ab") as file:
            file.write(f"$ {shlex.join(words)}\n".encode())
            file.write(err)
            if stdout is None:
                file.write(out)
    if process.returncode != 0:
        tail = deque((err + (b"" if err.strip() else out)).decode(errors="replace").splitlines(), maxlen=_LAST_LINES)
        raise ToolError(words, process.returncode, "\n".join(tail), hint or _hint(err + out))
    return out


def _hint(said: bytes) -> str:
    """Return the remedy for the one failure that every program can have."""
    if b"No space left on device" in said or b"have enough free space" in said:  # ENOSPC; apt
        return "The disk is full: free some space, run `edgewright clean`, or choose another disk with --cache."
    return ""

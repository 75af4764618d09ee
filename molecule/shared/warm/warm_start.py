"""Starts programs written in Python from a process that has imported already what they import.

``ansible-playbook`` takes a second to import itself, ``edgewright`` to import Ansible and to read Ansible's own tables;
tests start them some hundred times. A server imports that once and forks for each start. The command that runs then is
a process of its own: it has the caller's words, environment, folder and standard streams, and runs the program as its
console script does. When the caller goes away, it is sent SIGTERM.

``python warm_start.py PROGRAM SOCKET`` is such a server. It ends when its socket's file is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LENGTH = struct.Struct("!I")  # of the JSON that follows; the standard streams come with it
_STATUS = struct.Struct("!i")  # as in subprocess: negative for a signal
_LOOK_AROUND = 5.0  # seconds between looks whether the socket is still there
# What Python, Ansible and the terminal's width settle when they are imported: one server for each setting of them.
_SETTLED = ("ANSIBLE", "PYTHON", "LANG", "LC_", "HOME", "COLUMNS", "VIRTUAL_ENV")


class NoServerError(Exception):
    """Nobody answers at the socket."""


def settled(environment: Mapping[str, str]) -> str:
    """Return those of ``environment`` that a server must have had itself when it was started, as a text."""
    return json.dumps(sorted((name, value) for name, value in environment.items() if name.startswith(_SETTLED)))


def call(
    path: Path,
    words: Sequence[str],
    *,
    folder: str,
    environment: Mapping[str, str],
    streams: Sequence[int],
    timeout: float | None = None,
) -> int:
    """Have the server at ``path`` run its program; return the exit status, negative for a signal, as subprocess does.

    Args:
        path: the server's socket.
        words: the command line after the program's name.
        folder: where it runs.
        environment: all of it.
        streams: the descriptors that become standard input, output and error.
        timeout: in seconds.

    Raises:
        NoServerError: none is there; nothing was run.
        ConnectionError: it went away while the program ran.
        TimeoutError: the program did not end in time; it is sent SIGTERM.
    """
    request = json.dumps({"words": list(words), "folder": folder, "environment": dict(environment)}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NoServerError(path) from error
        socket.send_fds(connection, [_LENGTH.pack(len(request))], list(streams))
        connection.sendall(request)
        connection.settimeout(timeout)
        answer = connection.recv(_STATUS.size)
        if not answer:
            raise ConnectionError(f"{path}: the server went away, and nobody knows how the program ended")
        return int(_STATUS.unpack(answer)[0])


def _import_all(*packages: str) -> None:
    """Import packages with all that is below them; what cannot be imported here is not needed here either."""
    for name in packages:
        with contextlib.suppress(ImportError):
            package = importlib.import_module(name)
            for found in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{name}.", onerror=lambda _: None):
                with contextlib.suppress(Exception):  # some plugins want what is not installed, and say so in many ways
                    importlib.import_module(found.name)


def _warm_playbook() -> None:
    kinds = "action become callback connection filter inventory lookup shell strategy test vars"
    _import_all(
        *("ansible.cli.playbook", "ansible.executor", "ansible.inventory", "ansible.parsing", "ansible.playbook"),
        *("ansible.template", "ansible.vars", "ansible._internal", "ansible.module_utils._internal._json"),
        *(f"ansible.plugins.{kind}" for kind in kinds.split()),
        *("ansible_mitogen", "mitogen", "jinja2"),
    )
    _load_filters()


def _load_filters() -> None:
    """Load what each task would load anew: Ansible's filters and tests, and the code of the collection's filters."""
    from ansible.plugins.loader import filter_loader, init_plugin_loader, test_loader

    init_plugin_loader()
    filter_loader.get("ansible.builtin.default")  # one stands for all (ansible-core, plugins/loader.py, Jinja2Loader)
    test_loader.get("ansible.builtin.match")
    _import_all("ansible_collections.edgewright.edge.plugins.plugin_utils.filters")


def _run_playbook() -> int:
    from ansible.cli.playbook import main

    # It is: by _load_filters, with the settings that the command has too.
    warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")
    main()
    return 0


def _warm_edgewright() -> None:
    from edgewright.cli import VERBS
    from edgewright.site import load_site

    for name in VERBS:
        importlib.import_module(f"edgewright.verbs.{name}")
    with tempfile.TemporaryDirectory() as folder:
        hosts = Path(folder, "hosts.yml")
        hosts.write_text("all:\n  hosts:\n    box:\n      edge_site: \"{{ ['warm', 'up'] | join('-') }}\"\n")
        load_site(Path(folder))


def _run_edgewright() -> int:
    from edgewright.cli import main

    return main()


_PROGRAMS: dict[str, tuple[Callable[[], None], Callable[[], int]]] = {
    "ansible-playbook": (_warm_playbook, _run_playbook),
    "edgewright": (_warm_edgewright, _run_edgewright),
}


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    header, streams, _, _ = socket.recv_fds(connection, _LENGTH.size, 3)
    (length,) = _LENGTH.unpack(header)
    content = b""
    while len(content) < length:
        if not (part := connection.recv(length - len(content))):
            raise ConnectionError("the caller went away")
        content += part
    return json.loads(content), list(streams)


def _become(request: Mapping[str, Any], streams: Sequence[int], program: str) -> None:
    """Take over all that is the caller's."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    tempfile.tempdir = None  # whoever asks looks at TMPDIR again
    sys.argv = [str(Path(sys.executable).with_name(program)), *request["words"]]


def _attend(connection: socket.socket, program: str) -> None:
    """Run one command and tell the caller how it ended; returns in the command's own process, before it begins."""
    try:
        request, streams = _receive(connection)
    except (OSError, ValueError, struct.error):
        os._exit(1)
    if not (child := os.fork()):
        connection.close()
        os.setsid()
        _become(request, streams, program)
        return
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(child)
    ready, _, _ = select.select([ended, connection.fileno()], [], [])
    if ended not in ready:
        os.killpg(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        connection.sendall(_STATUS.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def serve(program: str, path: Path) -> None:
    """Wait for callers at ``path`` until that is gone."""
    warm, run = _PROGRAMS[program]
    # What Ansible would remove at the end is this process's, not a command's.
    with mock.patch.object(atexit, "register", lambda function, *_, **__: function):
        warm()
    gc.collect()
    gc.freeze()  # else each command would copy what it only looks at
    listener = socket.socket(socket.AF_UNIX)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    listener.bind(str(beside))
    listener.listen()
    listener.settimeout(_LOOK_AROUND)
    beside.rename(path)  # nobody finds one that does not listen yet
    while path.exists():
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        with contextlib.suppress(TimeoutError):
            connection, _ = listener.accept()
            if os.fork():
                connection.close()
                continue
            listener.close()
            _attend(connection, program)
            _end(run)


def _end(run: Callable[[], int]) -> NoReturn:
    """Run a program and end, but leave the memory as it is: to tidy it up would copy all that it shares."""
    try:
        status: object = run()
    except SystemExit as error:
        status = error.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if not isinstance(status, int | None):
        print(status, file=sys.stderr)
        status = 1
    atexit._run_exitfuncs()  # noqa: SLF001 - os._exit does not
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))

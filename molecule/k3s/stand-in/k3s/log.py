"""Log lines as k3s writes them (logrus text format), and its way to end."""

from __future__ import annotations

import datetime
import os
import socket
import sys


def log(level: str, message: str) -> None:
    """Write one line to standard error."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    print(f'time="{now}" level={level} msg="{quoted}"', file=sys.stderr, flush=True)


def info(message: str) -> None:
    """Tell."""
    log("info", message)


def fatal(message: str) -> None:
    """Tell, and end the process with exit status 1, whatever thread this is."""
    log("fatal", message)
    os._exit(1)


def ready() -> None:
    """Tell systemd that the service is up (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + path[1:] if path.startswith("@") else path)
            notify.send(b"READY=1")

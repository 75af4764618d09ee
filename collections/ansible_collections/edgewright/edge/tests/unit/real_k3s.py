"""A real k3s's API server as an ordinary process, where a mirror folder has the program; tests without one skip.

Only the server is started: no kubelet, containerd or scheduler. What it applies, refuses and keeps is the real thing's.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTS = "coredns,local-storage,metrics-server,runtimes,servicelb,traefik"
_ALONE = (
    "--disable-agent",
    "--disable-cloud-controller",
    "--disable-controller-manager",
    "--disable-helm-controller",
    "--disable-kube-proxy",
    "--disable-network-policy",
    "--disable-scheduler",
    f"--disable={_PARTS}",
    "--advertise-address=127.0.0.1",
    "--bind-address=127.0.0.1",
    "--egress-selector-mode=disabled",
    "--flannel-backend=none",
)


@dataclass(frozen=True)
class Server:
    """A server that runs: its kubeconfig, and the folder whose manifests it applies."""

    kubeconfig: str
    manifests: Path


def program() -> Path:
    """Return the k3s of the mirror folder; skip where there is none."""
    cache = Path(os.environ.get("EDGEWRIGHT_CACHE") or Path.home() / ".cache" / "edgewright")
    mirror = Path(os.environ.get("EDGEWRIGHT_K3S_MIRROR") or cache / "mirror" / "k3s")
    found = sorted(mirror.glob("v*/k3s"))
    if not found:
        pytest.skip(f"no k3s in {mirror}; set EDGEWRIGHT_K3S_MIRROR to a folder with <version>/k3s")
    return found[-1]


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Run a server in a folder; what lies in its manifests folder already is applied."""
    own, kubeconfig, data = program(), folder / "k3s.yaml", folder / "data"
    (data / "server" / "manifests").mkdir(parents=True, exist_ok=True)
    command = [own, "server", *_ALONE, f"--data-dir={data}", f"--https-listen-port={_free_pair()}"]
    with (folder / "k3s.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--write-kubeconfig={kubeconfig}"], stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield Server(str(kubeconfig), data / "server" / "manifests")
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)


def _free_pair() -> int:
    """Return a port that is free, as is the one after it, where k3s's API server itself listens."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port

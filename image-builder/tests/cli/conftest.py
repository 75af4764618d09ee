"""The real command line, run as a user runs it, and inventories written for one test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import command_line
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[Mapping[str, str]], Path]

ROOT = Path(__file__).parents[3]
VALID = {
    "hosts.yml": "all:\n  hosts:\n    box-1:\n",
    "group_vars/all.yml": "edge_site: test\nedge_runtime: podman\nedge_virtualization: emulation\n",
    "host_vars/box-1.yml": (
        'edge_node: {mac: ["52:54:00:00:00:01"]}\n'
        "edge_network:\n"
        "  interfaces:\n"
        "    - name: uplink\n"
        '      match: {mac: "52:54:00:00:00:01"}\n'
        "      addresses: [10.0.2.15/24]\n"
    ),
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables of a fresh user: own home and cache, no Ansible configuration."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE", "EDGEWRIGHT"))}
    home = tmp_path / "home"
    home.mkdir()
    return inherited | {"HOME": str(home), "EDGEWRIGHT_CACHE": str(tmp_path / "cache"), "PYTHONUTF8": "1"}


@pytest.fixture
def edgewright(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run the command line in ``tmp_path`` to its end."""

    def run(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return command_line.run(*words, cwd=tmp_path, env=environment | more)

    return run


@pytest.fixture
def inventory(tmp_path: Path) -> Write:
    """Write an inventory folder ``site``: the valid one below, with these files over it (an empty text: no file)."""

    def write(files: Mapping[str, str]) -> Path:
        folder = tmp_path / "site"
        for name, text in {**VALID, **files}.items():
            if text:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
        return Path("site")

    return write

"""The project's playbooks, run against the scenario's node as an operator runs them on the controller."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
INVENTORY = SCENARIO / "inventory"
# What the side effect has made of the site.
SITE = PROJECT / "molecule" / "virtual_machines" / "vars" / "changed.yml"


def command(playbook: str, inventory: Path, **variables: Any) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs a playbook with these variables, and its environment.

    Args:
        playbook: name of one of the project's, or a path without its suffix.
        inventory: the site's.
        variables: of the site, or of the playbook.
    """
    # The node is a container without sudo, and its user is root.
    extra = ["-e", f"@{SITE}", "-e", json.dumps({"ansible_become": False, **variables})]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": f"{PROJECT}/collections:{PROJECT}/build/molecule/collections",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",  # Molecule's, which goes before
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_CONFIG": f"{PROJECT}/ansible.cfg",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "EDGEWRIGHT_CACHE": f"{SCENARIO}/cache",
    }
    return ["ansible-playbook", "-i", str(inventory), *extra, f"{PROJECT / 'playbooks' / playbook}.yml"], environment


def play(playbook: str, *, inventory: Path = INVENTORY, fails: bool = False, **variables: Any) -> str:
    """Run a playbook; returns the words that it printed."""
    argv, environment = command(playbook, inventory, **variables)
    done = subprocess.run(
        argv, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    told = done.stdout + done.stderr
    with (SCENARIO / "playbooks.log").open("a") as log:
        log.write(f"\n===== {' '.join(argv)}: {done.returncode}\n{told}")
    assert (done.returncode != 0) == fails, told[-6000:]
    # Long lines are folded.
    return " ".join(told.split())


def start(playbook: str, **variables: Any) -> subprocess.Popen[bytes]:
    """Begin to run a playbook."""
    argv, environment = command(playbook, INVENTORY, **variables)
    return subprocess.Popen(
        argv,
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )

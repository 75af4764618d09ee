"""A Molecule scenario as its tests see it: playbooks run as the site's operator runs them, with other variables."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
# Its only node, if it does not name another, and its folder.
NODE = f"node-{os.environ['MOLECULE_SCENARIO_NAME']}"
HERE = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])


@dataclass(frozen=True)
class Run:
    """What a playbook printed, how many of its tasks ran and changed something, and in how many seconds."""

    output: str = field(repr=False)
    ran: int
    changed: int
    seconds: float


def play(
    playbook: str | Path,
    *arguments: str,
    node: str,
    variables: Mapping[str, Any],
    secret: str = "",
    fails: bool = False,
) -> Run:
    """Run a playbook; it must end as it is said to, and tell no ``secret``, though Ansible says all that it can then.

    ``variables`` are what the inventory has that is other than the scenario's; what ``node`` did is counted.
    """
    changed = SCENARIO / "changed.json"
    changed.write_text(json.dumps(variables))
    command = [
        "ansible-playbook",
        *(["-vvv"] if secret else []),
        "--diff",
        "-i",
        str(SCENARIO / "inventory"),
        "-e",
        f"@{changed}",
    ]
    environment = {
        **os.environ,
        # Who looks for a secret looks at all that Ansible itself says of the way to a node, and not with Mitogen.
        **({"ANSIBLE_STRATEGY": "linear"} if secret else {}),
        "ANSIBLE_CONFIG": str(SCENARIO / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{PROJECT}/collections:{PROJECT}/build/molecule/collections",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",  # Molecule's, which goes before
        "EDGEWRIGHT_CACHE": f"{SCENARIO}/cache",
    }
    began = time.monotonic()
    done = subprocess.run(
        [*command, *arguments, str(playbook)],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    output = done.stdout + done.stderr
    with (SCENARIO / "playbooks.log").open("a") as log:
        log.write(f"\n===== {playbook}: {done.returncode}\n{output}")
    if (done.returncode != 0) != fails:
        pytest.fail(f"{playbook} ended with {done.returncode}: {output[-6000:]}", pytrace=False)
    assert not secret or secret not in output, "a secret is in what Ansible said"
    recap = re.findall(rf"^{node} +: ok=(\d+) +changed=(\d+)", output, re.MULTILINE)
    ran, altered = map(int, recap[-1]) if recap else (0, 0)
    return Run(output, ran, altered, time.monotonic() - began)


def power_cycle(node: str) -> None:
    """End all that runs on a node's container at once, and boot it again."""
    subprocess.run(["docker", "kill", node], check=True, capture_output=True)
    subprocess.run(["docker", "start", node], check=True, capture_output=True)

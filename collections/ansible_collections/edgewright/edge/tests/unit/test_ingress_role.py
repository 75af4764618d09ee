"""What the role ingress does after a run that was cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible_collections.edgewright.edge.tests.unit.ansible_cli import ansible

ROLE = Path(__file__).parents[2] / "roles" / "ingress"
UNIT, CONFIG = "/usr/lib/systemd/system/edgewright-ingress.service", "/etc/edgewright/ingress/nginx.conf"
NODES = {
    "unchanged": {"__ingress_applied": {"differing": []}},
    "changed": {"__ingress_written": {"changed_paths": [CONFIG]}, "__ingress_applied": {"differing": ["ingress"]}},
    "cut before a reload": {"__ingress_applied": {"differing": ["ingress"]}},
    "cut before a restart": {"__ingress_applied": {"differing": ["ingress", "ingress-unit"]}},
    "on k3s": {"__ingress_applied": {"skipped": True}},
}


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """What state the role wants its unit to be in, which one run of Ansible says."""
    folder = tmp_path_factory.mktemp("role")
    nothing = {f"__ingress_{name}": {"changed_paths": []} for name in ("written", "installed")}
    plays = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars_files": [str(ROLE / "vars" / "main.yml")],
            "tasks": [
                {"ansible.builtin.set_fact": {**nothing, **facts}},
                {
                    "ansible.builtin.copy": {
                        "content": "{{ [__ingress_state, __ingress_runs] | to_json }}",
                        "dest": str(folder / f"{name}.json"),
                    }
                },
            ],
        }
        for name, facts in NODES.items()
    ]
    (folder / "plays.yml").write_text(yaml.safe_dump(plays))
    done = ansible("ansible-playbook", folder / "plays.yml")
    assert done.returncode == 0, done.stdout
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in NODES}


@pytest.mark.parametrize(
    ("node", "state"),
    [
        ("unchanged", "started"),
        ("changed", "reloaded"),
        ("cut before a reload", "reloaded"),
        ("cut before a restart", "restarted"),
        ("on k3s", "started"),
    ],
)
def test_what_a_cut_run_wrote_is_applied_by_the_next_one(states, node, state):
    assert states[node][0] == state


def test_it_is_known_what_it_runs_with(states):
    paths = {run["name"]: run["paths"] for run in states["unchanged"][1]}
    assert paths["ingress-unit"] == [UNIT]
    assert CONFIG in paths["ingress"]

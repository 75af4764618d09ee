"""A site that the tests run the project's playbooks for, and what they ask its machines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
ADDRESSES = {f"lifecycle-{number}": f"198.18.77.1{number}" for number in (1, 2, 3)}


@dataclass
class Site:
    """An inventory, written beside a lock whose artifacts are in the scenario's store.

    Attributes:
        name: of the site.
        servers: hosts of k3s_server.
        agents: hosts of k3s_agent.
        variables: more than the common ones.
        addresses: of all hosts.
        server_variables: what only servers have.
    """

    name: str
    servers: list[str]
    agents: list[str] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=lambda: ADDRESSES)
    server_variables: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return SCENARIO / self.name

    @property
    def copies(self) -> Path:
        return self.folder / "backups"

    def write(self) -> None:
        self.folder.mkdir(exist_ok=True)
        common = {
            "ansible_connection": "docker",
            "ansible_become": False,
            "ansible_python_interpreter": "/usr/bin/python3",
            "edge_site": self.name,
            "edge_runtime": "k3s",
            "edge_kubernetes": {"k3s": "v1.36.5+k3s1", "kubevirt": None},
            "backup_copy": str(self.copies),
            "k3s__default_route": True,
            "k3s__ready_timeout": 240,
            "upgrade_free_space": 1,
        }
        hosts = {name: {"edge_network": _network(self.addresses[name])} for name in (*self.servers, *self.agents)}
        groups = {
            "k3s_server": {"hosts": {name: hosts[name] for name in self.servers}, "vars": self.server_variables},
            "k3s_agent": {"hosts": {name: hosts[name] for name in self.agents}},
        }
        cluster = {"children": groups, "vars": {**common, **self.variables}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": {"cluster": cluster}}}))
        shutil.copy(SCENARIO / "inventory" / "site.lock.yml", self.folder)

    def play(self, playbook: str, *arguments: str, fails: bool = False) -> str:
        """Run a playbook of the project, or the roles' own; returns what it printed, at the highest verbosity."""
        self.write()
        command = ["ansible-playbook", "-i", str(self.folder / "hosts.yml"), "--diff", *arguments, playbook]
        # Who looks for secrets looks at all that Ansible itself says of the way to a node, and not with Mitogen.
        strategy = {"ANSIBLE_STRATEGY": "linear"} if "-vvv" in arguments else {}
        done = subprocess.run(
            command,
            cwd=PROJECT,
            env={
                **os.environ,
                **strategy,
                "ANSIBLE_COLLECTIONS_PATH": f"{PROJECT}/collections:{PROJECT}/build/molecule/collections",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_FORCE_COLOR": "0",  # Molecule's, which goes before
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_CONFIG": f"{PROJECT}/ansible.cfg",
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
                "EDGEWRIGHT_CACHE": f"{SCENARIO}/cache",
            },
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        told = done.stdout + done.stderr
        with (SCENARIO / "playbooks.log").open("a") as log:
            log.write(f"\n===== {' '.join(command)}: {done.returncode}\n{told}")
        assert (done.returncode != 0) == fails, told[-6000:]
        return told


def _network(address: str) -> dict[str, Any]:
    return {"interfaces": [{"name": "uplink", "match": {"name": "eth0"}, "addresses": [f"{address}/24"]}]}


def on(node: str, *command: str, check: bool = True) -> str:
    """Run a command on a machine; returns what it prints."""
    done = subprocess.run(["docker", "exec", node, *command], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def nodes(server: str) -> dict[str, str]:
    """Return version and readiness of a cluster's nodes, as its own client shows them."""
    listed = json.loads(on(server, "k3s", "kubectl", "get", "nodes", "-o", "json"))["items"]
    return {
        item["metadata"]["name"]: item["status"]["nodeInfo"]["kubeletVersion"]
        for item in listed
        if item["status"]["conditions"][0]["status"] == "True" and not item.get("spec", {}).get("unschedulable")
    }


def started(node: str, unit: str = "k3s") -> str:
    """Return when a machine's service was started."""
    return on(node, "systemctl", "show", "-P", "ExecMainStartTimestampMonotonic", unit)


def keep(server: str, name: str) -> None:
    """Write an object that a restore must bring back."""
    manifest = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{kept: '1'}}\n"
    path = f"/var/lib/rancher/k3s/server/manifests/{name}.yaml"
    on(server, "sh", "-c", f'printf %s "$1" >{path}', "sh", manifest)
    for _ in range(240):
        if name in kept(server):
            break
        on(server, "sleep", "0.5")
    on(server, "rm", path)


def kept(server: str) -> str:
    """Return the objects that are kept."""
    return on(server, "k3s", "kubectl", "get", "configmaps", "-n", "default", check=False)

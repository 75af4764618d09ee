"""What the role virtual_machines does on a node where an earlier run, or a restore, was cut off."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible_collections.edgewright.edge.tests.unit.ansible_cli import ansible
from edgewright.lockfile import Artifact, Lock
from edgewright.store import Store

ROLE = Path(__file__).parents[2] / "roles" / "virtual_machines"
MIB = 1024**2
SOURCE = "file:till.raw"


@pytest.fixture
def run_tasks(tmp_path):
    """Return a function that runs a file of the role's tasks on this machine, for a site with one artifact."""
    content = tmp_path / "till.raw"
    content.write_bytes(b"A" * MIB)
    digest = f"sha256:{hashlib.sha256(content.read_bytes()).hexdigest()}"
    Store(tmp_path / "cache" / "store").add_file(content, digest)
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    (inventory / "hosts.yml").write_text("all: {hosts: {node: {ansible_connection: local}}}\n")
    Lock(artifacts={SOURCE: Artifact(SOURCE, digest, MIB, ())}).dump(inventory / "site.lock.yml")

    def run(name, **variables):
        tasks = [{"ansible.builtin.include_tasks": str(ROLE / "tasks" / name)}]
        files = [str(ROLE / "vars" / "main.yml")]
        play = {"hosts": "all", "gather_facts": False, "vars_files": files, "tasks": tasks}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        extra = json.dumps(variables)
        environment = {"EDGEWRIGHT_CACHE": str(tmp_path / "cache"), "PATH": path}
        return ansible("ansible-playbook", "-i", inventory, tmp_path / "play.yml", "-e", extra, **environment)

    return run


def test_a_machine_whose_restore_was_cut_off_gets_no_first_content(run_tasks, tmp_path):
    for name in ("till", "office"):
        (tmp_path / "machines" / name).mkdir(parents=True)
    where = {"__virtual_machines_home": str(tmp_path / "machines"), "machines": ["till", "office"]}
    assert run_tasks("unfinished.yml", **where).returncode == 0
    (tmp_path / "machines" / "office" / "restore-unfinished").touch()
    refused = run_tasks("unfinished.yml", **where)
    assert refused.returncode != 0
    assert (
        "office: a restore was cut off while it exchanged the disks. Run playbooks/restore_vm.yml again"
        in refused.stdout
    )
    for name in ("disks.yml", "volumes.yml"):
        first = yaml.safe_load((ROLE / "tasks" / name).read_text())[0]
        assert first["ansible.builtin.include_tasks"] == "unfinished.yml"


def test_a_run_that_is_cut_off_before_it_resized_a_disk_leaves_none(run_tasks, tmp_path):
    disk = {"path": str(tmp_path / "disk0.img"), "source": SOURCE, "format": "raw", "size": 3 * MIB}
    program = tmp_path / "bin" / "qemu-img"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    cut = run_tasks("disk.yml", disk=disk)
    assert "New disk has its declared size" in cut.stdout
    assert cut.returncode != 0
    assert not (tmp_path / "disk0.img").exists()
    program.unlink()
    done = run_tasks("disk.yml", disk=disk)
    assert done.returncode == 0, done.stdout
    told = subprocess.check_output(["qemu-img", "info", "--output=json", "-f", "raw", tmp_path / "disk0.img"])
    assert json.loads(told)["virtual-size"] == 3 * MIB
    assert (tmp_path / "disk0.img").read_bytes() == b"A" * MIB + bytes(2 * MIB)
    assert not (tmp_path / "disk0.img.new").exists()

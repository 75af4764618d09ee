"""playbooks/import_vm.yml, and what `edgewright check` says of what it made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from ansible_collections.edgewright.edge.tests.unit.machine_sources import (
    MIB,
    efi_disk,
    raw_disk,
    same_disk,
    source,
    stream_optimized,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[3]
PROGRAMS = Path(sys.executable).parent


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    command = [PROGRAMS / program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "inventories" / "demo", tmp_path / "site"))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "usb"
    folder.mkdir()
    # An address of digits only: YAML 1.1 would read it as a number.
    text = source("virtualbox.ovf", ("0800271A2B3C", "525400123456"))
    (folder / "xp.ovf").write_bytes(text)
    stream_optimized(raw_disk(tmp_path / "xp.raw"), folder / "xp-disk001.vmdk")
    return folder / "xp.ovf"


@pytest.fixture
def play(site: Path) -> Run:
    def run_playbook(host: str, path: Path, *more: str) -> subprocess.CompletedProcess[str]:
        extra = ["-e", json.dumps({"vm_host": host, "vm_source": str(path)}), *more]
        return run("ansible-playbook", "-i", site / "hosts.yml", ROOT / "playbooks" / "import_vm.yml", *extra)

    return run_playbook


def test_an_imported_machine_passes_the_check_of_its_site(play: Run, site: Path, package: Path, tmp_path: Path) -> None:
    foreseen = play("till-01", package, "--check")
    assert foreseen.returncode == 0, foreseen.stdout + foreseen.stderr
    assert not (site / "disks").exists()
    done = play("till-01", package, "-evm_timezone=Europe/Berlin")
    assert done.returncode == 0, done.stdout + done.stderr
    assert same_disk(tmp_path / "xp.raw", "raw", site / "disks" / "xp" / "disk0.qcow2", "qcow2")
    fragment = (site / "disks" / "xp" / "machine.yml").read_text()
    (machine,) = yaml.safe_load(fragment)["edge_virtual_machines"]
    assert (machine["run_policy"], machine["timezone"]) == ("halted", "Europe/Berlin")
    assert machine["nics"][0]["mac"] == "52:54:00:12:34:56"
    report = yaml.safe_load((site / "disks" / "xp" / "report.yml").read_text())
    assert {line["outcome"] for line in report} == {"kept", "changed", "dropped"}
    assert "edgewright check" in done.stdout

    with (site / "host_vars" / "till-01.yml").open("a") as variables:
        variables.write(fragment.replace("---\n", ""))
    checked = run("edgewright", "check", "-i", site)
    assert checked.returncode == 0, checked.stdout + checked.stderr

    again = play("till-01", package, "-evm_timezone=Europe/Berlin")
    assert "changed=0" in again.stdout, again.stdout


def test_a_machine_for_a_cluster_gets_raw_disks(play: Run, site: Path, tmp_path: Path) -> None:
    disk = efi_disk(tmp_path / "Gate 7.img", size=64 * MIB)
    done = play("till-01", disk, "-eedge_runtime=k3s", "-evm_memory=1GiB")
    assert done.returncode == 0, done.stdout + done.stderr
    (machine,) = yaml.safe_load((site / "disks" / "gate-7" / "machine.yml").read_text())["edge_virtual_machines"]
    assert (machine["firmware"], machine["disks"][0]["format"]) == ("uefi", "raw")
    assert same_disk(disk, "raw", site / "disks" / "gate-7" / "disk0.img", "raw")


def test_a_question_that_was_not_answered_is_asked(play: Run, package: Path) -> None:
    done = play("nobody", package)
    assert "nobody" in done.stdout + done.stderr
    missing = run("ansible-playbook", ROOT / "playbooks" / "import_vm.yml")
    assert "Say which host is to run it" in missing.stdout + missing.stderr

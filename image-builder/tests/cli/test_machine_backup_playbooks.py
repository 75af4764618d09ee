"""Parts of playbooks/backup_vms.yml and restore_vm.yml that need no virtual machine; Molecule runs all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
PLAYBOOKS = ROOT / "playbooks"


def read(name: str) -> Any:
    return yaml.safe_load((PLAYBOOKS / name).read_text(encoding="utf-8"))


def test_a_copy_is_on_its_medium_before_it_has_its_name_and_its_name_before_older_ones_go() -> None:
    (block,) = [task["block"] for task in read("tasks/vm_backup.yml") if "block" in task]
    steps = [task["name"] for task in block]
    order = [
        "Copy is whole and can be restored",
        "Copy is on its medium",
        "Copy has its name",
        "Name of the copy is on its medium",
        "Copies that are too many are gone",
    ]
    assert [step for step in steps if step in order] == order
    flushed = [task["ansible.builtin.command"]["argv"][0] for task in block if task["name"] in (order[1], order[3])]
    assert flushed == ["sync", "sync"]

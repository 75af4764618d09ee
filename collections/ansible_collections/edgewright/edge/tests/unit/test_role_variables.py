"""What tasks of the roles learn does not hide what the roles' own variables say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROLES = sorted((Path(__file__).parents[2] / "roles").iterdir())


def learned(tasks):
    """Yield the names that tasks give to what they find: facts outrank a role's variables, for the rest of the play."""
    for task in tasks:
        yield from [task["register"]] if "register" in task else []
        yield from task.get("ansible.builtin.set_fact", {})
        for part in ("block", "rescue", "always"):
            yield from learned(task.get(part, []))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_task_gives_its_result_the_name_of_a_variable(role):
    said = {name for folder in ("defaults", "vars") for path in role.glob(f"{folder}/*.yml") for name in read(path)}
    found = {name for path in role.glob("tasks/**/*.yml") for name in learned(read(path))}
    assert found & said == set()


def read(path):
    return yaml.safe_load(path.read_text()) or []

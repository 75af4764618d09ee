from __future__ import annotations

import importlib
import json

import pytest
from ansible.module_utils.testing import patch_module_args


@pytest.fixture
def run_module(capsys):
    """Return a function that runs a module with arguments, as Ansible does, and returns what it printed."""

    def run(name, /, *, check=False, diff=False, **arguments):
        module = importlib.import_module(f"ansible_collections.edgewright.edge.plugins.modules.{name}")
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}),
            pytest.raises(SystemExit) as caught,
        ):
            module.main()
        result = json.loads(capsys.readouterr().out)
        assert bool(caught.value.code) == bool(result.get("failed"))
        return result

    return run

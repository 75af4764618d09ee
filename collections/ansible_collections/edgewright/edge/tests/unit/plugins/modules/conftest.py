from __future__ import annotations

import importlib
import json
import os

import pytest
from ansible.module_utils import _internal
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args


@pytest.fixture
def run_module(capsys, monkeypatch):
    """Return a function that runs a module with arguments, as Ansible does, and returns what it printed.

    On a node a module has a process to itself: no controller in it, no warnings of others, and a umask of its own.
    """

    def run(name, /, *, check=False, diff=False, **arguments):
        module = importlib.import_module(f"ansible_collections.edgewright.edge.plugins.modules.{name}")
        monkeypatch.setattr(_internal, "is_controller", False)
        warnings._global_warnings.clear()
        umask = os.umask(0o022)
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}),
            pytest.raises(SystemExit) as caught,
        ):
            module.main()
        os.umask(umask)
        result = json.loads(capsys.readouterr().out)
        assert bool(caught.value.code) == bool(result.get("failed"))
        return result

    return run

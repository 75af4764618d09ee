from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

EDGE = "ansible_collections.edgewright.edge.plugins"
COLLECTIONS = Path(__file__).parents[7]
NAMES = sorted(path.stem for path in (Path(__file__).parents[4] / "plugins" / "filter").glob("*.py"))
# A process of its own, as each of Ansible's tasks has one.
LOOK_UP = f"""
import sys
from ansible.plugins.loader import filter_loader, init_plugin_loader
init_plugin_loader([sys.argv[1]])
assert filter_loader.get("edgewright.edge.quadlets")
print(*sorted(name for name in sys.modules if name.startswith("{EDGE}.") and name.count(".") > 4))
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_filter_file_offers_the_filter_of_its_name_whose_code_is_there(name):
    offered = importlib.import_module(f"{EDGE}.filter.{name}").FilterModule().filters()
    assert list(offered) == [name]
    assert callable(getattr(importlib.import_module(f"{EDGE}.plugin_utils.filters.{name}"), name))
    with pytest.raises(TypeError, match=name):
        offered[name](no_filter_has_this=1)


def test_looking_a_filter_up_imports_the_code_of_none():
    done = subprocess.run([sys.executable, "-c", LOOK_UP, COLLECTIONS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = done.stdout.split()
    assert f"{EDGE}.filter.quadlets" in imported
    assert [name for name in imported if not name.startswith(f"{EDGE}.filter.")] == [f"{EDGE}.plugin_utils.late_filter"]

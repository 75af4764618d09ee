"""A build that does not fit is refused before it begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edgewright.disk_space import needed
from edgewright.lockfile import Lock
from edgewright.paths import Cache, project_root
from edgewright.stages.rootfs import Rootfs
from edgewright.stages.tools_tree import ToolsTree
from edgewright.store import Store
from edgewright.tools.process import ToolError, run

if TYPE_CHECKING:
    from edgewright.stages.stage import Stage

LOCK = Lock.load(project_root() / "inventories" / "demo" / "site.lock.yml")
# On a disk of its own, 64 MiB small, that only this process sees.
ON_A_SMALL_DISK = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
REFUSED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_disk_space import LOCK, stages
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.disk_space import refuse_full_disk
from edgewright.paths import Cache
cache = Cache(Path(sys.argv[2]))
try:
    refuse_full_disk(stages(cache), LOCK, cache)
except EdgeError as error:
    print(error)
"""


def stages(cache: Cache) -> list[Stage]:
    store = Store(cache.store)
    return [Rootfs(LOCK, store), ToolsTree(LOCK, store)]


def test_what_is_built_takes_nothing_more(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    both = needed(stages(cache), LOCK, cache)
    node = sum(LOCK.packages[name].size for name in LOCK.trees["node"].packages)
    assert node < both < 10 * node
    stages(cache)[0].output(cache).mkdir(parents=True)
    assert 0 < needed(stages(cache), LOCK, cache) < both - node
    stages(cache)[1].output(cache).mkdir(parents=True)
    assert needed(stages(cache), LOCK, cache) == 0


def test_a_small_disk_is_refused_with_what_it_has_and_what_it_takes(tmp_path: Path) -> None:
    if subprocess.run([*ON_A_SMALL_DISK, f"mount -t tmpfs small {tmp_path}"], check=False).returncode:
        pytest.skip("this user may not make namespaces")
    script = f'mount -t tmpfs -o size=64M small {tmp_path} && exec "$@"'
    words = [sys.executable, "-c", REFUSED, str(Path(__file__).parent), str(tmp_path / "cache")]
    done = subprocess.run([*ON_A_SMALL_DISK, script, "sh", *words], check=True, capture_output=True, text=True)
    assert "there is not enough free disk space for this build; found 64.0 MiB free" in done.stdout
    assert "expected about 1.1 GiB" in done.stdout


def test_a_program_that_fills_the_disk_fails_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="The disk is full: free some space"):
        run(["dd", "if=/dev/zero", "of=/dev/full", "bs=1M", "count=1"])
    with pytest.raises(ToolError) as other:
        run(["dd", "if=/dev/zero", f"of={tmp_path}/no/such/folder", "count=1"])
    assert other.value.hint == ""

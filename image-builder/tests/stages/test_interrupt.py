"""An interrupted build ends at once, with all that it started, and leaves nothing half-made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
from edgewright.paths import Cache
from edgewright.pipeline import run_stages
from edgewright.reporter import Reporter
from edgewright.stages.stage import Context, Stage
from edgewright.tools.sandbox import as_root

class Slow(Stage):
    name = "slow"
    title = "Slow"
    def inputs(self):
        return {}
    def run(self, context, out):
        (out / "half").write_text("made")
        as_root(["sh", "-c", 'sleep 97531 & sleep 97531'])

cache = Cache(Path(sys.argv[1]))
try:
    run_stages([Slow()], Context(cache, 0, cache.logs / "log"), Reporter())
except KeyboardInterrupt:
    sys.exit(130)
"""


def sleepers() -> list[str]:
    """Return the processes that the slow stage started and that are still there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", b"97531"]:
            found.append(process.name)
    return found


@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0
    and os.geteuid() == 0,
    reason="this machine gives no mount namespace",
)
def test_an_interrupted_build_takes_its_programs_along_and_leaves_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    build = subprocess.Popen([sys.executable, "-c", SCRIPT, str(cache)])
    deadline = time.monotonic() + 180
    while len(sleepers()) < 2 and time.monotonic() < deadline:
        assert build.poll() is None
        time.sleep(0.05)
    build.send_signal(signal.SIGINT)
    assert build.wait(timeout=120) == 130
    deadline = time.monotonic() + 60
    while sleepers() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sleepers() == []
    assert list((cache / "tmp").iterdir()) == []
    assert not any(path.is_dir() for path in (cache / "stages" / "slow").iterdir())

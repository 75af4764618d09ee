"""Every shell script of the project, wherever it lies, is one that shellcheck has nothing to say about."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from edgewright.paths import project_root

if TYPE_CHECKING:
    from pathlib import Path

OTHER_PLACES = {".git", ".venv", "build", "dist", ".cache"}


def scripts() -> list[Path]:
    """Return the files whose first line names a shell, those that git ignores left out."""
    root = project_root()
    found = []
    for place in sorted(path for path in root.iterdir() if path.name not in OTHER_PLACES):
        files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
        for path in files:
            with path.open("rb") as stream:
                line = stream.readline(64)
            words = line.removeprefix(b"#!").replace(b"/", b" ").split()
            if line.startswith(b"#!") and {b"sh", b"bash", b"dash"} & set(words):
                found.append(path)
    return found


@pytest.mark.parametrize("script", scripts(), ids=lambda path: str(path.relative_to(project_root())))
def test_shellcheck_finds_nothing(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", "--external-sources", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_scripts_of_node_and_guests_are_among_them() -> None:
    names = {path.name for path in scripts()}
    assert {"edgewright-identify", "edgewright-node", "module-setup.sh", "finish.sh", "rootfs.sh", "build.sh"} <= names

"""A tiny stage, and the smallest tree of files that programs can run in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from edgewright.paths import Cache
from edgewright.stages.stage import Context, Stage
from edgewright.tools.process import ToolError
from edgewright.tools.sandbox import as_root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# A vaulted value of the inventory.
SECRET = "correct horse battery staple"
# What the sandbox itself calls in a tree, and what these tests run there.
PROGRAMS = ("chroot", "env", "sh", "mkdir", "chmod", "cp", "cat", "rm", "ln", "touch", "id", "qemu-img")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A cache of its own."""
    return Context(Cache(tmp_path / "cache"), 1_700_000_000, tmp_path / "log")


@dataclass
class Note(Stage):
    """``<out>/note``: a text; ``work`` is called first, with the folder."""

    text: str
    below: tuple[Stage, ...] = ()
    work: Callable[[Path], None] | None = None
    runs: list[str] = field(default_factory=list)

    name: ClassVar[str] = "note"
    title: ClassVar[str] = "Note"

    def needs(self) -> Sequence[Stage]:
        """What the test says."""
        return self.below

    def inputs(self) -> Mapping[str, Any]:
        """The text."""
        return {"text": self.text}

    def run(self, context: Context, out: Path) -> None:
        """Write the text."""
        del context
        self.runs.append(self.text)
        (out / "note").write_text(self.text)
        if self.work:
            self.work(out)


@pytest.fixture
def namespaces() -> None:
    """Skip where this user may not make namespaces."""
    try:
        as_root(["true"])
    except ToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a shell and a few programs of this machine, and the folders that a sandbox mounts over."""
    root = tmp_path_factory.mktemp("tree")
    for folder in ("usr/bin", "etc", "var", "proc", "dev", "run", "tmp", "mnt"):
        (root / folder).mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    for name in PROGRAMS:
        program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None, name
        shutil.copy(Path(program).resolve(), root / "usr/bin" / name)
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(/\S+\.so\S*)", listed):
            target = root / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)
    (root / "etc/known").write_text("as installed\n")
    return root


@pytest.fixture(scope="session")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory of one host with one vaulted value; its password is in ``password`` beside it."""
    folder = tmp_path_factory.mktemp("inventories")
    site = folder / "site"
    (site / "host_vars").mkdir(parents=True)
    (folder / "password").write_text("open sesame\n")
    (site / "hosts.yml").write_text("---\nall:\n  hosts:\n    box:\n")
    vault = [
        sys.executable,
        "-m",
        "ansible",
        "vault",
        "encrypt_string",
        "--vault-password-file",
        str(folder / "password"),
    ]
    text = subprocess.run(
        [*vault, "--name", "wifi_password", SECRET],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    ).stdout
    (site / "host_vars/box.yml").write_text(f"---\nedge_site: tiny\nedge_runtime: podman\n{text}")
    return site

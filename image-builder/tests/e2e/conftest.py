"""Images built once a session from the real inventories, and machines that boot them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pytest
from edgewright import accelerator
from edgewright.lockfile import Lock
from edgewright.paths import Cache, default_cache, project_root
from edgewright.reporter import Reporter
from edgewright.site import Site, load_site
from edgewright.site_emulator import emulator_of
from edgewright.store import Store

from .booted_node import Node, SshKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.tools.emulator import Emulator

_NEEDS_NETWORK = 3  # docs: exit codes of the command line
_HERE = Path(__file__).parent
# What takes longest begins first, beside all the others.
_FIRST = tuple(
    f"test_{name}.py" for name in ("k3s_image", "node_life", "three_nodes", "fallback", "reproducible", "refused_root")
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder, for it builds and boots, and put its files in their order."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
    places = {name: place for place, name in enumerate(_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def edgewright(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    command = [sys.executable, "-m", "edgewright", *(str(word) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"edgewright {' '.join(command[3:])}\n{done.stdout}{done.stderr}"
    return done


@dataclass(frozen=True)
class Build:
    """A built site: its inventory with the lock it was built from, and the folder with image and evidence."""

    inventory: Path
    output: Path

    @property
    def site(self) -> Site:
        """The site as the builder reads it."""
        return load_site(self.inventory)

    @property
    def image(self) -> Path:
        """The raw disk image."""
        return self.output / f"{self.site.name}.raw"

    @property
    def manifest(self) -> dict[str, Any]:
        """The build manifest."""
        data: dict[str, Any] = json.loads((self.output / "manifest.json").read_text())
        return data

    @property
    def lock(self) -> Lock:
        """What it was built from."""
        return Lock.load(self.inventory / "site.lock.yml")

    def host(self, name: str) -> dict[str, Any]:
        """Return the inventory variables of a host."""
        return self.site.host(name).variables


@pytest.fixture(scope="session")
def kept() -> Path:
    """The folder for consoles, captures and figures, to look at when something failed."""
    folder = project_root() / "build" / "e2e"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def store() -> Store:
    """The store that builds are made from."""
    return Store(Cache(default_cache()).store)


@contextlib.contextmanager
def alone(output: Path) -> Iterator[None]:
    """Keep other workers of this run from delivering to the same folder at the same time."""
    with output.with_name(f"{output.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def demo_inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's inventory with all that its lock pins in the store; with today's packages if those are gone."""
    inventory = project_root() / "inventories" / "demo"
    fetched = edgewright("fetch", "-i", inventory, check=False)
    if fetched.returncode == _NEEDS_NETWORK:
        inventory = Path(shutil.copytree(inventory, tmp_path_factory.mktemp("inventories") / "demo"))
        edgewright("lock", "--upgrade", "-i", inventory)
        fetched = edgewright("fetch", "-i", inventory, check=False)
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    return inventory


@pytest.fixture(scope="session")
def demo(demo_inventory: Path, kept: Path) -> Build:
    """The demo's image."""
    output = kept / "demo"
    with alone(output):
        edgewright("build", "-i", demo_inventory, "--output", output)
    return Build(demo_inventory, output)


@pytest.fixture(scope="session")
def three_nodes(demo_inventory: Path, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The image of the three-node test inventory, from the demo's lock: it wants the same packages and artifacts."""
    source = _HERE.parent / "inventories" / "three-nodes"
    inventory = Path(shutil.copytree(source, tmp_path_factory.mktemp("inventories") / "three-nodes"))
    shutil.copy(demo_inventory / "site.lock.yml", inventory)
    edgewright("lock", "-i", inventory)
    edgewright("fetch", "-i", inventory)
    output = kept / "three-nodes"
    with alone(output):
        edgewright("build", "-i", inventory, "--output", output)
    return Build(inventory, output)


@pytest.fixture(scope="session")
def ssh_key(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    """The key that machines under test let in."""
    return SshKey.make(tmp_path_factory.mktemp("ssh"))


@pytest.fixture(scope="session")
def program(demo: Build) -> Emulator:
    """The QEMU of the demo's lock."""
    return emulator_of(demo.inventory / "site.lock.yml", Cache(default_cache()), Reporter())


@pytest.fixture(scope="session")
def fastest(demo: Build, program: Emulator) -> Literal["kvm", "tcg"]:
    """What runs machines here: KVM where it works, else emulation."""
    cache = Cache(default_cache())
    memory = cache.root / "accelerators.json"
    with accelerator.probe_kernel(demo.image, cache.tmp) as kernel:
        return accelerator.choose("auto", kernel=kernel, memory=memory, program=program).name


class MakeNode(Protocol):
    """Makes a machine named ``name`` (its console is kept under that name); it is switched off, and not yet started."""

    def __call__(self, name: str, image: Path, variables: Mapping[str, Any] | None = None, **options: Any) -> Node:
        """Return the machine; ``options`` are those of ``Node``."""


@pytest.fixture(scope="module")
def make_node(
    tmp_path_factory: pytest.TempPathFactory,
    kept: Path,
    ssh_key: SshKey,
    program: Emulator,
    fastest: Literal["kvm", "tcg"],
) -> Iterator[MakeNode]:
    """Makes machines; they go with the module that asked for them."""
    nodes: list[Node] = []

    def make(name: str, image: Path, variables: Mapping[str, Any] | None = None, **options: Any) -> Node:
        console = kept / "consoles" / f"{name}.log"
        folder = tmp_path_factory.mktemp(name)
        node = Node(image, folder, console, ssh_key, program, fastest, variables=variables or {}, **options)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.close()

"""``edgewright fetch`` of container images as its own process, with everything that can happen to a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import command_line
import pytest
from edgewright.image_manifest import Platform
from edgewright.lockfile import Lock, Tree
from edgewright.resolve_request import request_of
from edgewright.site import load_site
from edgewright.sources.images import resolve_image
from edgewright.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgewright.image_places import ImagePlaces

NAMES = ("one", "two", "three")


class Bench:
    """A locked site that wants three images, which share a layer."""

    def __init__(self, folder: Path, front: Any, make_image: Callable[..., Any], places: ImagePlaces) -> None:
        self.front = front
        self.inventory = folder / "site"
        self.cache = folder / "cache"
        self.store = Store(self.cache / "store")
        (self.inventory / "group_vars").mkdir(parents=True)
        (self.inventory / "hosts.yml").write_text("all:\n  hosts:\n    box:\n")
        mirrors = [{"prefix": "docker.io/", "location": f"{front.address}/hub/"}]
        variables = f"edge_site: bench\nedge_runtime: podman\nedge_mirrors: {json.dumps(mirrors)}\n"
        (self.inventory / "group_vars" / "all.yml").write_text(variables)
        self.made = {name: make_image(f"hub/bench/{name}", "1", layers=("shared", f"bench {name}")) for name in NAMES}
        scratch = Store(folder / "scratch")
        platform = Platform.of_debian("amd64")
        references = [f"docker.io/bench/{name}:1" for name in NAMES]
        self.images = {each: resolve_image(each, "", platform, places, scratch) for each in references}
        trees = {name: Tree(tuple(asked), ()) for name, asked in request_of(load_site(self.inventory)).trees.items()}
        Lock(trees=trees, images=self.images).dump(self.inventory / "site.lock.yml")
        front.requests.clear()

    def start(self, *words: str) -> subprocess.Popen[str]:
        own = ["-i", str(self.inventory), "--cache", str(self.cache)]
        argv = [sys.executable, "-m", "edgewright", "fetch", *own, *words]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe, text=True)

    def fetch(self, *words: str) -> tuple[int, str, str]:
        done = command_line.run("fetch", "-i", self.inventory, "--cache", self.cache, *words)
        return done.returncode, done.stdout, done.stderr

    def layers_asked(self) -> list[str]:
        """Return the layers that the registry was asked for."""
        layers = {digest for made in self.made.values() for digest in made.layers["amd64"]}
        asked = [request.rpartition("/")[2] for request in self.front.asked("GET .*/blobs/")]
        return sorted(digest for digest in asked if digest in layers)

    def is_whole(self) -> bool:
        return all(self.store.has(digest) for image in self.images.values() for digest in image.digests)


@pytest.fixture
def bench(tmp_path: Path, front: Any, make_image: Callable[..., Any], places: ImagePlaces) -> Bench:
    return Bench(tmp_path, front, make_image, places)


def test_images_come_are_counted_and_are_not_asked_for_again(bench: Bench) -> None:
    code, out, _ = bench.fetch("--dry-run")
    assert code == 3
    assert "image docker.io/bench/two:1" in out
    assert "3 files are missing" in out
    assert bench.front.requests == []
    code, out, _ = bench.fetch("--json")
    assert code == 0
    answer = json.loads(out)
    assert [each["name"] for each in answer["fetched"]] == sorted(f"image {name}" for name in bench.images)
    blobs = {blob.digest: blob.size for image in bench.images.values() for blob in image.blobs}
    assert sum(each["size"] for each in answer["fetched"]) == sum(blobs.values())
    assert bench.is_whole()
    assert bench.layers_asked() == sorted({*bench.layers_asked()})
    bench.front.requests.clear()
    assert bench.fetch()[0] == 0
    assert bench.front.requests == []


def _processes_of(bench: Bench) -> list[str]:
    said = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    return [line for line in said.splitlines() if line.startswith("skopeo") and bench.front.address in line]


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_after_an_end_at_any_moment_the_next_run_goes_on(bench: Bench, how: signal.Signals) -> None:
    bench.front.delay = 0.3
    process = bench.start()
    _wait_for(lambda: any(bench.store.has(digest) for image in bench.images.values() for digest in image.digests[2:]))
    begin = time.monotonic()
    process.send_signal(how)
    process.communicate(timeout=180)
    assert time.monotonic() - begin < 10
    assert not bench.is_whole()
    if how != signal.SIGKILL:
        assert process.returncode == 128 + how
        _wait_for(lambda: not _processes_of(bench))
    stored = set(bench.store.all_digests())
    _wait_for(lambda: not _processes_of(bench))
    bench.front.delay = 0
    bench.front.requests.clear()
    code, _, err = bench.fetch()
    assert (code, err.count("error")) == (0, 0)
    assert bench.is_whole()
    assert not stored & set(bench.layers_asked())
    assert [path.name for path in (bench.store.root / "partial").iterdir()] == ["lock"]


def test_without_a_network_every_image_is_named_with_what_to_do(bench: Bench) -> None:
    bench.front.shutdown()
    bench.front.server_close()
    code, out, _ = bench.fetch("--json")
    assert code == 3
    errors = json.loads(out)["errors"]
    assert [error["where"] for error in errors] == sorted(f"image {name}" for name in bench.images)
    assert all("edgewright artifacts import" in error["remedy"] for error in errors)


def test_what_a_disk_damaged_is_fetched_again(bench: Bench) -> None:
    assert bench.fetch()[0] == 0
    layer = bench.made["two"].layers["amd64"][1]
    path = bench.store.path(layer)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    code, _, err = bench.fetch("--verify")
    assert code == 0
    assert "image docker.io/bench/two:1: the disk changed it" in err
    assert bench.store.path(layer).read_bytes() == bench.made["two"].content[layer]

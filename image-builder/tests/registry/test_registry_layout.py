"""Debian's docker-registry serves what is written for it, with the node's own settings."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml
from edgewright.paths import node_dir
from edgewright.registry_layout import ServedImage, write_registry

from .conftest import Made, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Maker

SETTINGS = node_dir() / "k3s/usr/lib/edgewright/registry.yml"


def served(made: Made, folder: Path, name: str) -> ServedImage:
    """Return what a store would have of an image: its index and one of its platforms."""
    repository, _, tag = name.rpartition(":")
    folder.mkdir(exist_ok=True)
    for digest, content in made.content.items():
        (folder / digest.partition(":")[2]).write_bytes(content)
    path = {digest: folder / digest.partition(":")[2] for digest in made.content}
    manifests = [made.index, made.manifests["amd64"]]
    blobs = [made.configs["amd64"], *made.layers["amd64"]]
    return ServedImage(repository, tag, {each: path[each] for each in manifests}, {each: path[each] for each in blobs})


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serve a folder as a node does; return the address."""
    running = []

    def start(folder: Path) -> str:
        address = f"127.0.0.1:{free_port()}"
        settings = yaml.safe_load(SETTINGS.read_text())
        settings["storage"]["filesystem"]["rootdirectory"] = str(folder)
        settings["http"]["addr"] = address
        own = folder.with_suffix(".yml")
        own.write_text(json.dumps(settings))
        # It reads every variable that begins with REGISTRY_ as a setting; skopeo's REGISTRY_AUTH_FILE is none.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
        process = subprocess.Popen(["docker-registry", "serve", own], env=environment)
        running.append(process)
        deadline = time.monotonic() + 180
        while True:
            try:
                httpx.get(f"http://{address}/v2/", trust_env=False).raise_for_status()
            except httpx.HTTPError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return address

    yield start
    for process in running:
        process.terminate()
        process.wait(10)


def skopeo(*words: str) -> bytes:
    return subprocess.run(["skopeo", *words], check=True, capture_output=True).stdout


def test_an_image_of_which_one_platform_is_there_can_be_pulled_by_tag_and_by_digest(
    make_image: Maker, serve: Callable[[Path], str], tmp_path: Path
) -> None:
    made = make_image("layout/one", "1", layers=("a", "b"))
    write_registry(tmp_path / "registry", [served(made, tmp_path / "store", "docker.io/library/one:1")])
    address = serve(tmp_path / "registry")
    name = f"docker://{address}/docker.io/library/one"
    assert skopeo("inspect", "--raw", "--tls-verify=false", f"{name}:1") == made.content[made.index]
    for number, way in enumerate((f"{name}:1", f"{name}@{made.index}", f"{name}@{made.manifests['amd64']}")):
        pulled = tmp_path / f"pulled-{number}"
        options = ["--override-os=linux", "--override-arch=amd64"]
        skopeo(*options, "--insecure-policy", "copy", "--src-tls-verify=false", way, f"dir:{pulled}")
        manifest = (pulled / "manifest.json").read_bytes()
        assert manifest == made.content[made.manifests["amd64"]]
        for layer in json.loads(manifest)["layers"]:
            content = (pulled / layer["digest"].partition(":")[2]).read_bytes()
            assert f"sha256:{hashlib.sha256(content).hexdigest()}" == layer["digest"]


def test_images_share_layers_and_repositories_of_one_path_do_not_clash(
    make_image: Maker, serve: Callable[[Path], str], tmp_path: Path
) -> None:
    first = make_image("layout/two", "1", layers=("a", "b"))
    other = make_image("layout/three", "1", layers=("b", "c"))
    images = [
        served(first, tmp_path / "store", "docker.io/tools/same:1"),
        served(other, tmp_path / "store", "quay.io/tools/same:1"),
    ]
    write_registry(tmp_path / "registry", images)
    blobs = [path.parent.name for path in (tmp_path / "registry").rglob("data")]
    wanted = {digest for image in images for digest in (*image.manifests, *image.blobs)}
    assert sorted(f"sha256:{name}" for name in blobs) == sorted(wanted)
    address = serve(tmp_path / "registry")
    for made, host in ((first, "docker.io"), (other, "quay.io")):
        name = f"docker://{address}/{host}/tools/same:1"
        assert skopeo("inspect", "--raw", "--tls-verify=false", name) == made.content[made.index]


def test_nothing_can_be_pushed(make_image: Maker, serve: Callable[[Path], str], tmp_path: Path) -> None:
    made = make_image("layout/four", "1")
    write_registry(tmp_path / "registry", [served(made, tmp_path / "store", "docker.io/library/four:1")])
    address = serve(tmp_path / "registry")
    answer = httpx.post(f"http://{address}/v2/docker.io/library/four/blobs/uploads/", trust_env=False)
    assert answer.status_code == 405

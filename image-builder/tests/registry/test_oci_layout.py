"""Images that leave the store are what other programs take them for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import command_line
import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.exits import NeedsNetworkError
from edgewright.image_fetching import fetch_images
from edgewright.image_manifest import Platform
from edgewright.lockfile import Lock
from edgewright.oci_layout import write_layout, write_layout_archive
from edgewright.sources.images import resolve_image
from edgewright.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgewright.image_places import ImagePlaces
    from edgewright.pins import Image
    from edgewright.reporter import Reporter

NAMES = ("docker.io/library/layout-a:1.0", "docker.io/library/layout-b:1.0")


@pytest.fixture
def made(make_image: Callable[..., Any]) -> list[Any]:
    kinds = (("layout-a", "oci"), ("layout-b", "docker"))
    return [make_image(f"hub/library/{name}", "1.0", layers=("la", name), family=kind) for name, kind in kinds]


@pytest.fixture
def images(made: list[Any], places: ImagePlaces, store: Store, reporter: Reporter) -> list[Image]:
    assert made
    found = [resolve_image(name, "", Platform.of_debian("amd64"), places, store) for name in NAMES]
    fetch_images(found, places, store, reporter)
    return found


def _skopeo(*words: str) -> bytes:
    return subprocess.run(["skopeo", *words], check=True, capture_output=True).stdout


@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_skopeo_finds_each_image_under_its_full_name_with_its_own_index(
    images: list[Image], made: list[Any], store: Store, tmp_path: Path, kind: str
) -> None:
    target = tmp_path / ("images.tar" if kind == "oci-archive" else "images")
    write = write_layout_archive if kind == "oci-archive" else write_layout
    size = write(images, store, target)
    assert size == sum(len(made_of[digest]) for digest, made_of in _blobs(images, made).items())
    assert _skopeo("inspect", "--raw", f"{kind}:{target}:{NAMES[0]}") == made[0].content[made[0].index]
    _skopeo("--override-arch", "amd64", "copy", f"{kind}:{target}:{NAMES[0]}", f"dir:{tmp_path / 'out'}")
    for digest in made[0].layers["amd64"]:
        assert (tmp_path / "out" / digest.removeprefix("sha256:")).read_bytes() == made[0].content[digest]


def _blobs(images: list[Image], made: list[Any]) -> dict[str, dict[str, bytes]]:
    return {digest: each.content for image, each in zip(images, made, strict=True) for digest in image.digests}


def test_an_archive_is_the_same_bytes_whatever_the_order(images: list[Image], store: Store, tmp_path: Path) -> None:
    write_layout_archive(images, store, tmp_path / "a.tar")
    write_layout_archive(reversed(images), store, tmp_path / "b.tar")
    subprocess.run(["cmp", tmp_path / "a.tar", tmp_path / "b.tar"], check=True)
    with pytest.raises(EdgeError, match="there already"):
        write_layout_archive(images, store, tmp_path / "a.tar")
    with pytest.raises(EdgeError, match="holds something"):
        write_layout(images, store, tmp_path)


def test_what_the_store_lacks_is_named_and_nothing_is_written(
    images: list[Image], store: Store, tmp_path: Path
) -> None:
    store.discard(images[1].blobs[-1].digest)
    for write in (write_layout, write_layout_archive):
        with pytest.raises(NeedsNetworkError) as caught:
            write(images, store, tmp_path / "out")
        assert [problem.where for problem in caught.value.problems] == [f"image {NAMES[1]}"]
    assert not (tmp_path / "out").exists()


def test_the_command_writes_a_layout_that_is_a_mirror(
    images: list[Image], store: Store, reporter: Reporter, make_places: Any, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "hosts.yml").write_text("all:\n  hosts:\n    box:\n")
    Lock(images={image.reference: image for image in images}).dump(site / "site.lock.yml")
    (tmp_path / "cache").mkdir()
    store.root.rename(tmp_path / "cache" / "store")
    options: list[str | Path] = ["-i", site, "--cache", tmp_path / "cache", "--json"]
    done = command_line.run("artifacts", "images", tmp_path / "stick", *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == list(NAMES)
    other = Store(tmp_path / "other")
    places = make_places(**{"docker_io/": f"oci:{tmp_path / 'stick'}/"})
    assert [resolve_image(name, "", Platform.of_debian("amd64"), places, other) for name in NAMES] == images
    fetch_images(images, places, other, reporter)
    assert all(other.has(digest) for image in images for digest in image.digests)


@pytest.fixture
def ctr(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Return a runner of ``ctr`` on a containerd of its own."""
    if os.geteuid() != 0 or shutil.which("containerd") is None:
        pytest.skip("a containerd of its own needs root, and containerd (Debian's docker.io brings it)")
    folder = Path(tempfile.mkdtemp(prefix="ctr-"))  # a socket's path is short
    # the plugins for pods want networks and mounts that an import does without
    (folder / "config.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    options = ["--config", "config.toml", "--root", "root", "--state", "state", "--address", str(folder / "socket")]
    with (tmp_path / "containerd.log").open("wb") as log:
        daemon = subprocess.Popen(["containerd", *options], cwd=folder, stdout=log, stderr=log)

    def run(*words: str) -> str:
        argv = ["ctr", "--address", str(folder / "socket"), *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=180).stdout

    deadline = time.monotonic() + 180
    version: list[str | Path] = ["ctr", "--address", folder / "socket", "version"]
    while subprocess.run(version, capture_output=True, check=False).returncode:
        assert daemon.poll() is None, (tmp_path / "containerd.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield run
    daemon.terminate()
    daemon.wait(30)
    shutil.rmtree(folder)


def test_containerd_imports_every_image_under_its_name_and_digest(
    images: list[Image], store: Store, tmp_path: Path, ctr: Callable[..., str]
) -> None:
    write_layout_archive(images, store, tmp_path / "images.tar")
    ctr("images", "import", "--no-unpack", "--platform", "linux/amd64", str(tmp_path / "images.tar"))
    listed = {line.split()[0]: line.split()[2] for line in ctr("images", "ls").splitlines()[1:]}
    assert listed == {image.reference: image.index for image in images}
    content = ctr("content", "ls", "-q").split()
    assert {digest for image in images for digest in image.digests} <= set(content)

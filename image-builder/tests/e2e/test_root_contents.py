"""What is, and what must not be, in the read-only root of the demo's image: unpacked by fsck.erofs."""

from __future__ import annotations

import _imp
import json
import re
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edgewright import __version__

from .disk_image import extract, partition, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Build

IMAGE = f"localhost/edgewright/inference-server:{__version__}"
# PEP 552: byte-compiled files with a hash of their source in place of its date, not checked at each import.
BY_HASH, BY_CHECKED_HASH = 0b01, 0b11
# Made public by Debian, for tests of secure boot.
PUBLISHED_KEYS = {"usr/share/ovmf/PkKek-1-snakeoil.key"}


@pytest.fixture(scope="module")
def root(demo: Build, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The unpacked root."""
    folder = tmp_path_factory.mktemp("root")
    image = extract(demo.image, partition(demo.image, "root-a"), folder / "root.erofs")
    tree = folder / "tree"
    run("fsck.erofs", f"--extract={tree}", "--no-preserve-owner", image)
    image.unlink()
    yield tree
    run("chmod", "-R", "u+rwX", tree)
    shutil.rmtree(tree)


def test_there_is_no_identity_of_a_machine(root: Path) -> None:
    assert [path.name for path in (root / "etc/ssh").iterdir() if path.name.startswith("ssh_host_")] == []
    assert (root / "etc/machine-id").read_bytes() == b""
    assert not (root / "etc/hostname").exists()


def test_no_account_has_a_password(root: Path) -> None:
    shadows = [root / "etc/shadow", *root.glob("usr/lib/edgewright/nodes/*/etc/shadow")]
    for shadow in shadows:
        fields = [line.split(":") for line in shadow.read_text().splitlines()]
        assert {name: password for name, password, *_ in fields if not re.fullmatch(r"[!*]+", password)} == {}
    assert "root" in shadows[0].read_text()


def test_there_is_no_private_key_and_no_credential(root: Path) -> None:
    found = run("sh", "-c", 'grep -rlIs -e "-----BEGIN [A-Z ]*PRIVATE KEY" "$1" || [ $? -eq 1 ]', "grep", root)
    # Programs and pages that speak of keys have the words too; a key has lines of base64 after them.
    body = re.compile(r"PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{100}")
    keys = {
        Path(name).relative_to(root)
        for name in found.splitlines()
        if body.search(Path(name).read_text("utf-8", "replace"))
    }
    assert {str(key) for key in keys} - PUBLISHED_KEYS == set()
    assert list(root.glob("etc/**/authorized_keys")) == []
    assert list((root / "etc/credstore").glob("*")) == []


def test_every_host_has_its_layer_and_is_in_the_index(demo: Build, root: Path) -> None:
    nodes = root / "usr/lib/edgewright/nodes"
    hosts = [host.name for host in demo.site.hosts]
    assert sorted(path.name for path in nodes.iterdir()) == sorted([*hosts, "index"])
    index = [line.split("\t") for line in (nodes / "index").read_text().splitlines()]
    assert ["host", "till-01", "till-01"] in index
    assert ["mac", "52:54:00:ed:9e:01", "till-01"] in index
    layer = nodes / "till-01"
    assert (layer / "etc/hostname").read_text() == "till-01\n"
    assert json.loads((layer / "etc/edgewright/node.json").read_text()) == {"node": "till-01", "site": "demo"}
    assert (layer / "etc/containers/systemd/file-type.container").is_file()
    assert (layer / "etc/edgewright/virtual-machines/till.xml").is_file()
    assert not (root / "etc/edgewright/node.json").exists(), "the root itself must not know any host"


def test_the_image_is_named_in_os_release(demo: Build, root: Path) -> None:
    lines = (root / "usr/lib/os-release").read_text().splitlines()
    assert "IMAGE_ID=edgewright-demo" in lines
    assert f"IMAGE_VERSION={demo.manifest['version']}" in lines


def test_the_container_image_lies_unpacked_in_the_read_only_store(root: Path) -> None:
    store = root / "usr/lib/edgewright/containers/storage"
    (image,) = json.loads((store / "overlay-images/images.json").read_text())
    assert image["names"] == [IMAGE]
    layers = {layer["id"] for layer in json.loads((store / "overlay-layers/layers.json").read_text())}
    assert image["layer"] in layers
    assert (store / "overlay" / image["layer"] / "diff/usr/bin/python3").exists()


def test_no_byte_compiled_python_is_stale(root: Path) -> None:
    """A stale one costs every start of the program a compilation, on a root where the result cannot be kept."""
    stale, by_hash = [], 0
    for compiled in root.rglob("__pycache__/*.cpython-*.pyc"):
        source = compiled.parent.parent / f"{compiled.name.partition('.cpython-')[0]}.py"
        if source.is_symlink() and source.readlink().is_absolute():
            source = root / source.readlink().relative_to("/")
        header = compiled.read_bytes()[:16]
        magic, flags, date, size = struct.unpack("<4I", header)
        if not source.is_file():
            good = False
        elif flags in (BY_HASH, BY_CHECKED_HASH):
            by_hash += 1
            good = header[8:] == _imp.source_hash(magic, source.read_bytes())
        else:
            good = (date, size) == (int(source.stat().st_mtime) & 0xFFFFFFFF, source.stat().st_size)
        if not good:
            stale.append(str(compiled.relative_to(root)))
    assert stale == []
    assert by_hash > 100, "the inference server's own packages are byte-compiled"

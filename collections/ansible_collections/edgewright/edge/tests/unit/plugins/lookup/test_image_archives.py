"""The archives of pinned images, over a lock and a store that the image builder itself wrote, opened with tar."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.tests.unit.ansible_cli import ansible
from edgewright.lockfile import Image, Lock
from edgewright.pins import Blob
from edgewright.store import Store

REFERENCE = "docker.io/library/busybox:1.37.0"


@pytest.fixture
def site(tmp_path):
    """A site with one image of three files: manifest, configuration, layer."""
    store = Store(tmp_path / "cache" / "store")
    config, layer = b'{"architecture":"amd64"}', b"a layer"
    blobs = tuple(Blob(*store.adopt_stream(io.BytesIO(content))) for content in (config, layer))
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind}).encode()
    digest, size = store.adopt_stream(io.BytesIO(manifest))
    folder = tmp_path / "inventory"
    folder.mkdir()
    (folder / "hosts.yml").write_text("all: {hosts: {node: {ansible_connection: local}}}\n", encoding="utf-8")
    pin = Image(REFERENCE, "linux/amd64", None, digest, size + len(config) + len(layer), blobs)
    Lock(images={REFERENCE: pin}).dump(folder / "site.lock.yml")
    return folder


def look(site, tmp_path, elsewhere=None):
    """Return the message of a task whose template has the lookup: archives, or an error."""
    template = f"{{{{ query('edgewright.edge.image_archives', elsewhere={elsewhere or {}}) }}}}"
    arguments = json.dumps({"msg": template})
    cache = str(tmp_path / "cache")
    result = ansible("ansible", "all", "-i", site, "-m", "debug", "-a", arguments, EDGEWRIGHT_CACHE=cache)
    return json.loads(result.stdout[result.stdout.index("=> {") + 3 :])["msg"]


def tar(*arguments):
    return subprocess.run(["tar", *arguments], capture_output=True, check=True).stdout


def test_archive_has_the_image_and_its_name(site, tmp_path):
    (archive,) = look(site, tmp_path)
    assert archive["reference"] == REFERENCE
    (entry,) = json.loads(tar("-xOf", archive["path"], "index.json"))["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == REFERENCE
    for name in tar("-tf", archive["path"], "--wildcards", "blobs/*").decode().split():
        content = tar("-xOf", archive["path"], name)
        assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]
    assert len(tar("-tf", archive["path"], "--wildcards", "blobs/*").split()) == 3


def test_damaged_and_missing_files_are_told(site, tmp_path):
    stored = sorted((tmp_path / "cache" / "store" / "sha256").glob("*/*"))
    stored[0].chmod(0o600)
    stored[0].write_bytes(b"other bytes")
    assert "is damaged in the store" in look(site, tmp_path)
    stored[0].unlink()
    assert "has not been fetched" in look(site, tmp_path)
    assert not list((tmp_path / "cache").glob("archives/*"))


def test_a_kept_archive_that_was_damaged_is_made_anew(site, tmp_path):
    (archive,) = look(site, tmp_path)
    path = Path(archive["path"])
    whole = path.read_bytes()
    for place in (whole.index(b"a layer"), whole.index(REFERENCE.encode()), 0):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert look(site, tmp_path) == [archive]
        assert path.read_bytes() == whole


def test_an_archive_that_is_elsewhere_is_not_read_again(site, tmp_path):
    (archive,) = look(site, tmp_path)
    path = Path(archive["path"])
    damaged = path.read_bytes().replace(b"a layer", b"A layer")
    path.write_bytes(damaged)
    assert look(site, tmp_path, {archive["name"]: archive["size"]}) == [archive]
    assert path.read_bytes() == damaged
    look(site, tmp_path, {archive["name"]: archive["size"] + 1})
    assert path.read_bytes() != damaged

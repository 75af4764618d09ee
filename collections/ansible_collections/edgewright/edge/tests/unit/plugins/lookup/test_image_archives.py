"""The archives of pinned images, over a lock and a store that the image builder itself wrote, opened with tar."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess

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


def look(site, tmp_path):
    """Return the message of a task whose template has the lookup: archives, or an error."""
    template = "{{ query('edgewright.edge.image_archives') }}"
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

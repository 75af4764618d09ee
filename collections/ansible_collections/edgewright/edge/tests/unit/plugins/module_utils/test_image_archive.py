"""What a lock's image becomes as an archive."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.image_archive import layout_files, pinned_images

REFERENCE = "docker.io/library/busybox:1.37.0"
INDEX, MANIFEST, CONFIG, LAYER = (f"sha256:{character * 64}" for character in "1234")


def lock(**changes: Any) -> dict[str, Any]:
    """Return a lock with one image."""
    blobs = [{"digest": CONFIG, "size": 3}, {"digest": LAYER, "size": 4}]
    pin = {"platform": "linux/amd64", "index": INDEX, "manifest": MANIFEST, "size": 9, "blobs": blobs}
    return {"images": {REFERENCE: {**pin, **changes}}}


def test_index_comes_first_and_everything_comes_once() -> None:
    (image,) = pinned_images(lock(), where="site.lock.yml")
    assert image.root == INDEX
    assert image.digests == (INDEX, MANIFEST, CONFIG, LAYER)


def test_an_image_without_index_is_its_manifest() -> None:
    (image,) = pinned_images(lock(index=None), where="site.lock.yml")
    assert image.root == MANIFEST
    assert image.digests == (MANIFEST, CONFIG, LAYER)


def test_another_content_has_another_name() -> None:
    (one,) = pinned_images(lock(), where="site.lock.yml")
    (other,) = pinned_images(lock(index=f"sha256:{'5' * 64}"), where="site.lock.yml")
    assert one.file_name == "docker.io_library_busybox_1.37.0-111111111111.tar"
    assert one.file_name != other.file_name


def test_the_layout_names_the_image_and_keeps_the_index_type() -> None:
    (image,) = pinned_images(lock(), where="site.lock.yml")
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    files = layout_files(image, json.dumps({"mediaType": kind}).encode())
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert (entry["mediaType"], entry["digest"]) == (kind, INDEX)
    assert entry["annotations"]["io.containerd.image.name"] == REFERENCE


@pytest.mark.parametrize("pin", [{"manifest": "sha256:1"}, {"blobs": []}, {"blobs": ["x"]}, {"index": "latest"}])
def test_a_damaged_pin_is_refused(pin: dict[str, Any]) -> None:
    with pytest.raises(EdgeError, match=f"the pin of image '{REFERENCE}' is damaged"):
        pinned_images(lock(**pin), where="site.lock.yml")


def test_a_lock_without_images_has_none() -> None:
    assert pinned_images({"artifacts": {}}, where="site.lock.yml") == []

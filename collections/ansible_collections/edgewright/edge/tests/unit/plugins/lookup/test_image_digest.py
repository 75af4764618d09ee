"""Digests of pinned images, out of a lock that the image builder itself wrote."""

from __future__ import annotations

import json

import pytest
from ansible_collections.edgewright.edge.tests.unit.ansible_cli import ansible
from edgewright.lockfile import Image, Lock
from edgewright.pins import Blob

MANIFEST, INDEX = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
NAMES = ["registry.lan/plain:1", "registry.lan/several:1", "registry.lan/unknown:1"]


@pytest.fixture
def site(tmp_path):
    """A site that pins an image and one for several platforms."""
    (tmp_path / "hosts.yml").write_text("all: {hosts: {node: {ansible_connection: local}}}\n", encoding="utf-8")
    blobs = (Blob(f"sha256:{'3' * 64}", 7),)
    pins = [
        Image(name, "linux/amd64", index, MANIFEST, 9, blobs) for name, index in zip(NAMES, [None, INDEX], strict=False)
    ]
    Lock(images={pin.reference: pin for pin in pins}).dump(tmp_path / "site.lock.yml")
    return tmp_path


def look(site):
    arguments = json.dumps({"msg": f"{{{{ query('edgewright.edge.image_digest', *{NAMES}) }}}}"})
    result = ansible("ansible", "all", "-i", site, "-m", "debug", "-a", arguments)
    return json.loads(result.stdout[result.stdout.index("=> {") + 3 :])["msg"]


def test_an_image_has_the_digest_that_its_tag_stands_for_and_one_that_is_not_pinned_none(site):
    assert look(site) == [MANIFEST, INDEX, ""]


def test_a_site_without_a_lock_pins_nothing(site):
    (site / "site.lock.yml").unlink()
    assert look(site) == ["", "", ""]


def test_a_damaged_pin_is_told(site):
    lock = site / "site.lock.yml"
    lock.write_text(lock.read_text().replace("3" * 64, "3" * 63))
    assert "site.lock.yml: the pin of image 'registry.lan/plain:1' is damaged" in look(site)

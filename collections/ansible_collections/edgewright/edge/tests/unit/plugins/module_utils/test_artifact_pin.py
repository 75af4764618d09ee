from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_pin import Pin, pin_of
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError

DIGEST = f"sha256:{'ab' * 32}"


def test_a_pin_says_where_in_the_store():
    lock = {"version": 1, "artifacts": {"file:m": {"digest": DIGEST, "size": 7, "urls": []}}}
    pin = pin_of(lock, "file:m", where="site.lock.yml")
    assert pin == Pin(DIGEST, 7)
    assert pin.store_path == f"sha256/ab/{'ab' * 32}"


@pytest.mark.parametrize(
    ("lock", "text"),
    [
        (None, "artifact 'file:m' is not pinned. Run 'edgewright lock'"),
        ({"artifacts": None}, "artifact 'file:m' is not pinned. Run 'edgewright lock'"),
        (
            {"artifacts": {"file:mm": {}}},
            "artifact 'file:m' is not pinned. Did you mean 'file:mm'? Run 'edgewright lock'",
        ),
        ({"artifacts": {"file:m": None}}, "the pin of artifact 'file:m' is damaged"),
        ({"artifacts": {"file:m": {"digest": "sha256:../../x", "size": 1}}}, "the pin of artifact 'file:m' is damaged"),
        ({"artifacts": {"file:m": {"digest": DIGEST}}}, "the pin of artifact 'file:m' is damaged"),
    ],
)
def test_what_is_not_pinned_is_told(lock, text):
    with pytest.raises(EdgeError) as caught:
        pin_of(lock, "file:m", where="site.lock.yml")
    assert str(caught.value).startswith(f"site.lock.yml: {text}")

"""A node that has never had k3s: what is refused, and what a check tells. Nothing may have come to it after that."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import k3s_url
from real_site import CONVERGE, VERSION, play
from scenario import SCENARIO

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK: dict[str, Any] = yaml.safe_load((SCENARIO / "inventory" / "site.lock.yml").read_text())
PROGRAM = LOCK["artifacts"][k3s_url(VERSION, "k3s")]["digest"].removeprefix("sha256:")
LAYER = next(iter(LOCK["images"].values()))["blobs"][-1]["digest"].removeprefix("sha256:")


@pytest.fixture(autouse=True)
def _untouched(host: Any) -> Iterator[None]:
    host.check_output("touch /run/before")
    yield
    assert host.check_output("find /etc /usr/local /usr/lib -newer /run/before") == ""
    assert not host.file("/var/lib/rancher").exists


@pytest.mark.parametrize("digest", [PROGRAM, LAYER], ids=["program", "image"])
def test_a_byte_that_is_another_one_is_refused_before_anything_is_copied(digest: str) -> None:
    # An archive that an earlier run has made is whole without it.
    shutil.rmtree(SCENARIO / "cache" / "archives", ignore_errors=True)
    stored = SCENARIO / "cache" / "store" / "sha256" / digest[:2] / digest
    whole = stored.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    stored.chmod(0o600)
    try:
        stored.write_bytes(damaged)
        assert "is damaged in the store" in play(CONVERGE, fails=True).output
    finally:
        stored.write_bytes(whole)


def test_a_check_tells_what_would_be_done_and_no_secret() -> None:
    run = play(CONVERGE, "--check")  # play itself looks for the token
    assert run.changed > 0
    assert "Files that nobody else may read" in run.output
    assert "after: /etc/systemd/system/k3s.service" in run.output

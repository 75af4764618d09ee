"""The lock's date is in what is made from it, so outputs of another date are others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgewright.lockfile import Lock
from edgewright.paths import project_root
from edgewright.pipeline import epoch_of, pipeline
from edgewright.site import load_site
from edgewright.stages.image_registry import ImageRegistry
from edgewright.store import Store

if TYPE_CHECKING:
    from pathlib import Path

DEMO = project_root() / "inventories" / "demo"


def _dated(lock: Lock, date: str) -> Lock:
    return replace(lock, distribution=replace(lock.distribution, snapshots=(date,)))


def test_a_lock_of_another_day_makes_every_stage_anew(tmp_path: Path) -> None:
    site, lock, store = load_site(DEMO), Lock.load(DEMO / "site.lock.yml"), Store(tmp_path)
    keys = []
    for date in ("20260101T000000Z", "20260102T000000Z", "20260101T000000Z"):
        plan = pipeline(site, _dated(lock, date), store, version="1", vault_password_file=None)
        keys.append({stage.label: stage.key() for stage in plan.stages()})
    assert keys[0] == keys[2]
    assert {label for label, key in keys[0].items() if keys[1][label] == key} == set()


def test_so_does_a_registry_of_images_that_are_pinned_only(tmp_path: Path) -> None:
    one, other = (ImageRegistry(_dated(Lock(), date), Store(tmp_path), ()) for date in ("20260101", "20260102"))
    assert one.key() != other.key()


def test_the_date_of_a_lock_is_that_of_its_newest_packages() -> None:
    assert epoch_of(_dated(Lock(), "20260101T000000Z")) == 1767225600

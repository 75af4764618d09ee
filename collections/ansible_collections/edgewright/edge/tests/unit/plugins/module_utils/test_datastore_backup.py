from __future__ import annotations

import json

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils import datastore_backup as backup
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from hypothesis import given
from hypothesis import strategies as st

A, B = "a" * 64, "b" * 64
MEMBERS = {"server/token": A, "datastore/state.db": B}
MANIFEST = backup.Manifest("shop", "sqlite", "v1.36.5+k3s1", "till-01", "20261123T021500Z", MEMBERS)


def problems(call, *arguments, **named):
    with pytest.raises(EdgeError) as caught:
        call(*arguments, **named)
    return str(caught.value)


def test_a_manifest_is_read_as_it_was_written():
    assert backup.manifest_from_json(MANIFEST.to_json(), where="x") == MANIFEST


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "null"])
def test_what_is_no_manifest_says_so(text):
    assert "x.tar.gz: manifest.json: is not a manifest" in problems(backup.manifest_from_json, text, where="x.tar.gz")


def test_everything_that_is_wrong_with_a_manifest_is_said_at_once():
    data = {"format": 2, "cluster": "", "datastore": "mysql", "node": "n", "created": 3, "members": {"/etc/shadow": A}}
    text = problems(backup.manifest_from_json, json.dumps(data), where="x")
    for words in (
        "format: is not known here; found 2; expected 1",
        "cluster: is missing",
        "k3s: is missing",
        "created: is missing",
        "datastore: is none; found 'mysql'; expected sqlite or etcd",
        "members: are not names with SHA-256 digests",
    ):
        assert words in text
    assert "node: is missing" not in text


@pytest.mark.parametrize("name", ["../token", "/token", "a//b", "a/../b", "./a", "manifest.json"])
def test_a_member_cannot_leave_its_folder(name):
    data = json.loads(MANIFEST.to_json())
    data["members"][name] = A
    assert "members" in problems(backup.manifest_from_json, json.dumps(data), where="x")


def test_damage_names_member_found_and_expected_digest():
    text = problems(backup.check_members, MANIFEST, {**MEMBERS, "datastore/state.db": A}, where="x")
    assert f"x: datastore/state.db: is damaged; found sha256:{A}; expected sha256:{B}" in text


def test_missing_and_foreign_members_are_all_named():
    text = problems(backup.check_members, MANIFEST, {"server/token": A, "server/evil": A}, where="x")
    assert "x: datastore/state.db: is missing in the backup" in text
    assert "x: server/evil: is not in the backup's manifest" in text


def test_an_archive_without_token_is_useless():
    members = {"datastore/state.db": B}
    manifest = backup.Manifest("shop", "sqlite", "v1", "n", "t", members)
    assert "x: server/token: is missing: without its token" in problems(
        backup.check_members, manifest, members, where="x"
    )


def test_a_snapshot_of_etcd_may_be_compressed():
    members = {"server/token": A, "datastore/snapshot/shop-1.zip": B}
    manifest = backup.Manifest("shop", "etcd", "v1", "n", "t", members)
    backup.check_members(manifest, members, where="x")
    assert manifest.datastore == "datastore/snapshot/shop-1.zip"


def test_the_newest_stay_and_the_new_one_whatever_the_clock_says():
    names = [backup.archive_name("shop", f"202611{day:02}T000000Z", "etcd") for day in range(1, 6)]
    foreign = ["shop-2-20261101T000000Z-etcd.tar.gz", "shop.txt", "other-20261101T000000Z-etcd.tar.gz"]
    assert backup.expired([*names, *foreign], "shop", 2, made=names[-1]) == names[:3]
    first = backup.archive_name("shop", "19700101T000000Z", "sqlite")
    assert backup.expired([*names, first], "shop", 2, made=first) == names[:4]
    assert backup.expired(names, "shop", 1, made=names[-1]) == names[:4]
    assert backup.expired(names, "shop", 9, made=names[-1]) == []


@given(st.sets(st.integers(0, 10**6), min_size=1), st.integers(1, 20))
def test_as_many_stay_as_asked_for(times, keep):
    names = [backup.archive_name("s", f"20260101T{time % 240000:06}Z", "sqlite") for time in times]
    names = sorted(set(names))
    made = names[0]
    left = set(names) - set(backup.expired(names, "s", keep, made=made))
    assert made in left
    assert len(left) == min(keep, len(names))


@pytest.mark.parametrize(
    ("entries", "kind"),
    [(["state.db", "state.db-wal"], "sqlite"), (["etcd", "state.db"], "etcd"), ([], ""), (["snapshots"], "")],
)
def test_kind_of_datastore_is_told_by_its_files(entries, kind):
    assert backup.datastore_kind(entries) == kind


def test_tokens_are_the_same_in_short_and_in_full():
    assert backup.same_token(f"K10{A}::server:secret\n", "secret")
    assert backup.same_token(f"K10{A}::server:with:colon", "with:colon")
    assert not backup.same_token(f"K10{A}::server:secret", "other")


@pytest.mark.parametrize("name", ["", "../x", "Shop", "a" * 64, "-a"])
def test_a_cluster_needs_a_name_that_can_be_a_files(name):
    assert "RFC 1123" in problems(backup.check_cluster_name, name)

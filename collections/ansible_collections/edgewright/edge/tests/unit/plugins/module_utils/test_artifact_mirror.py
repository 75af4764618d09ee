from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_mirror import Located, Mirrors
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import k3s_url
from hypothesis import given
from hypothesis import strategies as st

K3S = "https://github.com/k3s-io/k3s/releases/download/"
ASSET = k3s_url("v1.36.5+k3s1", "k3s")
PAUSE = "docker.io/rancher/mirrored-pause:3.6"


def mirrors(*entries):
    return Mirrors.from_inventory(
        [dict(zip(("prefix", "location", "insecure"), entry, strict=False)) for entry in entries]
    )


@pytest.mark.parametrize(
    ("entry", "source", "expected"),
    [
        ((K3S, "http://m.lan/k3s/"), ASSET, Located("http", "http://m.lan/k3s/v1.36.5%2Bk3s1/k3s")),
        ((K3S, "https://m.lan:8443"), ASSET, Located("http", "https://m.lan:8443/v1.36.5%2Bk3s1/k3s")),
        ((K3S, "file:/media/stick/k3s"), ASSET, Located("files", "/media/stick/k3s/v1.36.5+k3s1/k3s")),
        ((K3S, "file:mirror/"), ASSET, Located("files", "mirror/v1.36.5+k3s1/k3s")),
        (("docker.io/", "r.lan:5000/hub/"), PAUSE, Located("registry", "r.lan:5000/hub/rancher/mirrored-pause:3.6")),
        (("docker.io/", "127.0.0.1:5000", True), PAUSE, Located("registry", f"127.0.0.1:5000/{PAUSE[10:]}", True)),
        (("docker.io/rancher/", "oci:/media/i"), PAUSE, Located("oci", "/media/i/mirrored-pause:3.6")),
        (("quay.io/", "r.lan/"), PAUSE, None),
    ],
)
def test_a_source_is_located(entry, source, expected):
    assert mirrors(entry).locate(source) == expected


def test_the_longest_prefix_wins_in_any_order():
    short, long = ("docker.io/", "a.lan/"), ("docker.io/rancher/", "b.lan/")
    for entries in ((short, long), (long, short)):
        assert mirrors(*entries).locate(PAUSE) == Located("registry", "b.lan/mirrored-pause:3.6")
        assert mirrors(*entries).locate("docker.io/a/b:1") == Located("registry", "a.lan/a/b:1")


def test_without_mirrors_everything_is_in_its_place():
    assert Mirrors.from_inventory(None).locate(ASSET) is None
    assert Mirrors.from_inventory([]) == Mirrors()


@pytest.mark.parametrize("way", ["../x", "%2e%2e/x", "a/..%2fx"])
def test_no_source_climbs_out_of_a_mirror(way):
    assert mirrors((K3S, "file:/media/k3s/")).locate(K3S + way) is None


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (("docker.io", "a.lan/"), "must end in a slash, or it would match half a name"),
        (("ftp://x/", "http://a/"), "is no prefix of sources"),
        ((K3S, "a.lan/k3s/"), "holds no files"),
        ((K3S, "oci:/x"), "holds no files"),
        (("docker.io/", "http://a/"), "holds no container images"),
        (("docker.io/", "file:/x"), "holds no container images"),
        ((K3S, "file:../x"), "names no folder"),
        ((K3S, "http://a/?q"), "is not the URL of a folder"),
        ((K3S, "http://a/", True), "is only for registries"),
        (("docker.io/", "A b"), "is no place of a mirror"),
    ],
)
def test_a_wrong_entry_is_refused(entry, text):
    with pytest.raises(EdgeError) as caught:
        mirrors(entry)
    assert text in str(caught.value)
    assert str(caught.value).startswith("edge_mirrors[0].")


def test_a_password_is_never_shown():
    for location in ("http://me:hunter2@a/", "me:hunter2@a/x"):
        with pytest.raises(EdgeError) as caught:
            mirrors((K3S, location))
        assert "hunter2" not in str(caught.value)


def test_two_mirrors_of_one_prefix_are_refused():
    with pytest.raises(EdgeError, match="the prefix is used twice"):
        mirrors((K3S, "http://a/"), (K3S, "http://b/"))
    with pytest.raises(EdgeError, match="must be a list"):
        Mirrors.from_inventory({"a": 1})


@given(st.lists(st.sampled_from(["a", "b", "cc"]), min_size=1, max_size=5), st.integers(0, 4))
def test_what_comes_after_the_prefix_stays(parts, at):
    prefix = "docker.io/" + "".join(f"{part}/" for part in parts[:at])
    source = prefix + "/".join([*parts[at:], "end:1"])
    assert mirrors((prefix, "r.lan/x")).locate(source) == Located("registry", "r.lan/x/" + source.removeprefix(prefix))

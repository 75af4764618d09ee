from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.image_name import ImageName, image_name
from hypothesis import given
from hypothesis import strategies as st

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.37.0", "docker.io/library/busybox:1.37.0"),
        ("rancher/mirrored-pause:3.6", "docker.io/rancher/mirrored-pause:3.6"),
        ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1"),
        ("quay.io/kubevirt/virt-api:v1.9.0", "quay.io/kubevirt/virt-api:v1.9.0"),
        ("localhost/a:1", "localhost/a:1"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("[::1]:5000/a:1", "[::1]:5000/a:1"),
        (f"ghcr.io/a/b@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
        (f"ghcr.io/a/b:1@{DIGEST}", f"ghcr.io/a/b:1@{DIGEST}"),
        ("registry.k8s.io/a__b/c-d.e:1", "registry.k8s.io/a__b/c-d.e:1"),
    ],
)
def test_a_name_is_written_in_full(written, full):
    assert image_name(written) == full
    assert image_name(full) == full


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "a b",
        "A",
        "docker.io/A:1",
        "a:",
        "a@sha256:12",
        "a@md5:1",
        "/a",
        "a//b",
        "a:b:c",
        "https://a/b",
        7,
        None,
    ],
)
def test_what_is_no_name_is_refused(written):
    with pytest.raises(UnfitError):
        ImageName.parse(written)


def test_upper_case_is_pointed_out():
    with pytest.raises(UnfitError) as caught:
        ImageName.parse("quay.io/KubeVirt/a:1")
    assert caught.value.remedy == "Repositories are in lower case."


COMPONENT = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?", fullmatch=True)


@given(
    st.sampled_from(["docker.io", "quay.io", "registry.lan:5000", "localhost"]),
    st.lists(COMPONENT, min_size=2, max_size=4).map("/".join),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.sampled_from(["", DIGEST]),
)
def test_a_full_name_is_its_own_parse(registry, repository, tag, digest):
    name = ImageName(registry, repository, tag, digest)
    assert ImageName.parse(str(name)) == name
    assert str(name.without_digest()) == name.tagged

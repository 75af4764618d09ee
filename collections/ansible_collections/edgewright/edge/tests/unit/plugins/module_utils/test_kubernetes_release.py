from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils import kubernetes_release as release
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import Release

SUM = "0123456789abcdef" * 4


def test_no_tested_tuple_is_refused_and_they_come_newest_first():
    assert [release.refusals(tested.k3s, tested.kubevirt, tested.cdi) for tested in release.TESTED] == [[]] * 4
    versions = [tested.k3s for tested in release.TESTED]
    assert versions == sorted(versions, reverse=True)
    assert str(release.TESTED[0]) == "k3s v1.36.5+k3s1, KubeVirt v1.9.0, CDI v1.66.0"


@pytest.mark.parametrize(
    ("versions", "reason"),
    [
        (("v1.37.1+k3s1", "v1.9.0"), "KubeVirt v1.9.0 supports Kubernetes 1.34, 1.35, 1.36, not 1.37"),
        (("v1.37.1+k3s1",), "the options of k3s 1.37 are not known"),
        (("v1.36.1+k3s1", "v1.9.0"), "mounts KubeVirt v1.9.0's container disks empty"),
        (("v1.36.5+k3s1", "v1.8.2"), "KubeVirt v1.8.2 supports Kubernetes 1.34, 1.35, not 1.36"),
        (("v1.36.5+k3s1", "v2.0.0"), "which Kubernetes KubeVirt v2.0.0 supports is not known"),
        (("v1.36.5+k3s1", None, "v1.66.0"), "there is no KubeVirt"),
        (("v1.36.5+k3s1", "v1.9.0", "v1.60.0"), "another minor version than v1.66"),
    ],
)
def test_a_combination_is_refused_with_its_reason(versions, reason):
    assert any(reason in refusal for refusal in release.refusals(*versions))


def test_a_newer_patch_is_not_refused_but_not_tested():
    assert release.refusals("v1.36.9+k3s2", "v1.9.1", "v1.66.1") == []
    assert not release.is_tested(Release("v1.36.9+k3s2", "v1.9.1"))
    assert release.is_tested(Release("v1.36.5+k3s1"))
    assert release.is_tested(Release("v1.36.5+k3s1", "v1.9.0"))
    assert not release.is_tested(Release("v1.36.2+k3s1", "v1.9.0"))


def test_a_version_of_k3s_brings_the_rest_of_its_tuple():
    assert release.release_of("v1.36.4+k3s1") == Release("v1.36.4+k3s1", "v1.9.0", "v1.66.0")
    assert release.release_of("v1.36.2+k3s1").kubevirt is None
    assert release.release_of("v1.36.9+k3s1") == Release("v1.36.9+k3s1")


def test_versions_are_written_as_tags():
    assert release.k3s_version("v1.36.5+k3s1") == "v1.36.5+k3s1"
    for wrong in ("1.36.5+k3s1", "v1.36.5", "v1.36+k3s1", "latest", 1.36):
        with pytest.raises(UnfitError):
            release.k3s_version(wrong)
    with pytest.raises(UnfitError) as caught:
        release.k3s_version("v1.36.5-k3s1")
    assert caught.value.remedy == "Did you mean 'v1.36.5+k3s1'?"
    for parse in (release.kubevirt_version, release.cdi_version):
        with pytest.raises(UnfitError):
            parse("v1.9")


def test_an_upgrade_goes_up_by_at_most_one_minor():
    assert release.upgrade_path("v1.36.5+k3s1", "v1.36.5+k3s1") == []
    assert release.upgrade_path("v1.36.5+k3s1", "v1.36.5+k3s2") == ["v1.36.5+k3s2"]
    assert release.upgrade_path("v1.35.9+k3s1", "v1.36.2+k3s1") == ["v1.36.2+k3s1"]
    with pytest.raises(EdgeError, match=r"skips a minor version.*Upgrade to a release of v1\.35 first"):
        release.upgrade_path("v1.34.9+k3s1", "v1.36.5+k3s1")
    for older in ("v1.36.4+k3s1", "v1.35.9+k3s9"):
        with pytest.raises(EdgeError, match="restore a backup"):
            release.upgrade_path("v1.36.5+k3s1", older)


def test_assets_have_the_names_that_releases_give_them():
    assert [release.k3s_binary(arch) for arch in release.ARCHITECTURES] == ["k3s", "k3s-arm64", "k3s-armhf"]
    assert release.k3s_checksums("arm") == "sha256sum-arm.txt"
    assert release.k3s_image_archive("arm") == "k3s-airgap-images-arm.tar.zst"
    assert release.k3s_image_archive("amd64", "") == "k3s-airgap-images-amd64.tar"
    root = "https://github.com/k3s-io/k3s/releases/download/v1.36.5%2Bk3s1"
    assert release.k3s_url("v1.36.5+k3s1", "k3s") == f"{root}/k3s"
    kubevirt = "https://github.com/kubevirt/kubevirt/releases/download/v1.9.0/kubevirt-operator.yaml"
    assert release.kubevirt_url("v1.9.0") == kubevirt
    cdi = "https://github.com/kubevirt/containerized-data-importer/releases/download/v1.66.0/cdi-operator.yaml"
    assert release.cdi_url("v1.66.0") == cdi


def test_an_image_list_is_read_in_full_names():
    content = "docker.io/rancher/mirrored-pause:3.6\r\n\n# comment\nbusybox:1\nbusybox:1\n"
    images = release.parse_image_list(content, where="l")
    assert images == ("docker.io/rancher/mirrored-pause:3.6", "docker.io/library/busybox:1")


def test_an_image_list_that_is_none_is_refused():
    with pytest.raises(EdgeError) as caught:
        release.parse_image_list("<html>\nok:1\nNo Such\n", where="mirror/k3s-images.txt")
    assert [problem.where for problem in caught.value.problems] == [
        "mirror/k3s-images.txt:1",
        "mirror/k3s-images.txt:3",
    ]
    with pytest.raises(EdgeError, match="names no image"):
        release.parse_image_list("\n", where="l")


def test_checksums_are_read_by_asset():
    content = f"{SUM}  k3s-armhf\n{SUM[::-1]} *k3s-airgap-images-arm.tar.zst\n"
    sums = release.parse_checksums(content, "arm", where="s")
    assert sums == {"k3s-armhf": f"sha256:{SUM}", "k3s-airgap-images-arm.tar.zst": f"sha256:{SUM[::-1]}"}


def test_wrong_checksums_are_refused():
    with pytest.raises(EdgeError, match=r"no checksum of 'k3s-arm64'.*found k3s; .*|sha256sum-arm64\.txt"):
        release.parse_checksums(f"{SUM}  k3s\n", "arm64", where="s")
    with pytest.raises(EdgeError) as caught:
        release.parse_checksums(f"{SUM}  k3s\n{SUM[:-1]}  x\n{SUM[::-1]}  k3s\n", "amd64", where="s")
    assert [(problem.where, problem.what) for problem in caught.value.problems] == [
        ("s:2", "is no checksum"),
        ("s:3", "'k3s' has two checksums"),
    ]

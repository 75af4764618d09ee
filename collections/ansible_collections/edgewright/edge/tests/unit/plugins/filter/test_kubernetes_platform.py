"""The filter as Ansible sees it, and the errors a user reads."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.filter.kubernetes_platform import FilterModule

platform = FilterModule().filters()["kubernetes_platform"]
DOWNLOADS = "https://github.com/kubevirt/{}/releases/download/{}"


def test_a_site_that_says_nothing_gets_the_newest_tested_versions_without_cdi():
    found = platform({})
    assert (found["k3s"], found["kubevirt"], found["cdi"], found["cdi_url"]) == ("v1.36.5+k3s1", "v1.9.0", None, None)
    assert found["kubevirt_url"] == DOWNLOADS.format("kubevirt", "v1.9.0/kubevirt-operator.yaml")
    assert (found["manifests"], found["images"]) == ([], [])


def test_a_site_without_kubevirt_has_no_manifest_of_it():
    found = platform({"kubevirt": None, "images": ["busybox:1.37.0"], "manifests": ["file:m/a.yaml"]})
    assert (found["kubevirt"], found["kubevirt_url"]) == (None, None)
    assert (found["images"], found["manifests"]) == (["docker.io/library/busybox:1.37.0"], ["file:m/a.yaml"])


def test_cdi_comes_from_its_own_project():
    assert platform({"cdi": "v1.66.0"})["cdi_url"] == DOWNLOADS.format(
        "containerized-data-importer", "v1.66.0/cdi-operator.yaml"
    )


def test_versions_that_do_not_go_together_are_refused_with_the_reason():
    with pytest.raises(AnsibleFilterError, match=r"mounts KubeVirt v1\.9\.0's container disks empty"):
        platform({"k3s": "v1.36.1+k3s1", "kubevirt": "v1.9.0"})

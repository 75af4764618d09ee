"""The module against an API over HTTP that keeps objects."""

from __future__ import annotations

import hashlib
import threading

import pytest
from ansible_collections.edgewright.edge.tests.unit.kubernetes_server import Cluster, serving

KUBEVIRT = "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt"
ADDON = "/apis/k3s.cattle.io/v1/namespaces/kube-system/addons/kubevirt"
OBJECT = {
    "kind": "kubevirts.kubevirt.io",
    "name": "kubevirt",
    "namespace": "kubevirt",
    "status": {"phase": "Deployed", "observedKubeVirtVersion": "v1.9.0"},
    "conditions": {"Available": "True"},
}
READY = {
    "phase": "Deployed",
    "observedKubeVirtVersion": "v1.9.0",
    "conditions": [{"type": "Available", "status": "True"}],
}


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def wait(run_module, cluster, tmp_path):
    with serving(cluster, tmp_path) as kubeconfig:
        yield lambda **arguments: run_module(
            "kubernetes_wait", **{"objects": [OBJECT], "kubeconfig": kubeconfig, "timeout": 2, **arguments}
        )


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "kubevirt.yaml"
    path.write_text("kind: KubeVirt\n")
    return path


def test_what_is_ready_is_not_waited_for(wait, cluster):
    cluster.add(KUBEVIRT, status=READY)
    result = wait()
    assert (result["ready"], result["unmet"], result["changed"]) == (True, [], False)
    assert {method for method, _, _ in cluster.asked} == {"GET"}


def test_what_becomes_ready_is_waited_for(wait, cluster):
    cluster.add(KUBEVIRT, status={"phase": "Deploying"})
    timer = threading.Timer(1.5, lambda: cluster.objects[KUBEVIRT].update(status=READY))
    timer.start()
    assert wait(timeout=30)["ready"]
    timer.join()


def test_an_older_version_that_still_runs_is_not_ready(wait, cluster):
    cluster.add(KUBEVIRT, status={**READY, "observedKubeVirtVersion": "v1.8.4"})
    result = wait()
    assert result["failed"]
    assert "observedKubeVirtVersion is v1.8.4, expected v1.9.0" in result["msg"]


def test_a_failure_names_the_pods_and_their_images(wait, cluster):
    cluster.add(KUBEVIRT, status={"phase": "Deploying"})
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no registry has it"}}
    for number in range(3):
        cluster.add(
            f"/api/v1/namespaces/kubevirt/pods/virt-operator-{number}",
            spec={"containers": [{"name": "virt-operator", "image": "quay.io/kubevirt/virt-operator:v1.9.0"}]},
            status={"phase": "Pending", "containerStatuses": [{"name": "virt-operator", "state": waiting}]},
        )
    result = wait(namespaces=["kubevirt", "cdi"])
    assert result["failed"]
    assert result["msg"].splitlines()[:2] == [
        "Not ready after 2 s:",
        (
            "kubevirts.kubevirt.io kubevirt/kubevirt: phase is Deploying, expected Deployed; "
            "observedKubeVirtVersion is not set, expected v1.9.0; condition Available is not set, expected True"
        ),
    ]
    assert result["pods"][2] == (
        "pod kubevirt/virt-operator-2: container virt-operator of image quay.io/kubevirt/virt-operator:v1.9.0 waits: "
        "ImagePullBackOff (no registry has it)"
    )
    assert len(result["pods"]) == 3


def test_a_manifest_counts_when_k3s_has_taken_this_very_file(wait, cluster, manifest):
    old, new = hashlib.sha256(b"kind: Old\n").hexdigest(), hashlib.sha256(manifest.read_bytes()).hexdigest()
    cluster.add(KUBEVIRT, status=READY)
    cluster.add(ADDON, spec={"checksum": old})
    assert wait(manifests=[str(manifest)], timeout=0)["unmet"] == [f"{manifest}: k3s has not applied it yet"]
    cluster.objects[ADDON]["spec"]["checksum"] = new
    assert wait(manifests=[str(manifest)], timeout=0)["ready"]


def test_a_manifest_that_the_cluster_refuses_is_told_with_its_reason(wait, cluster, manifest):
    cluster.add(
        "/api/v1/namespaces/kube-system/events/kubevirt.1",
        type="Warning",
        involvedObject={"kind": "Addon", "name": "kubevirt"},
        message='no matches for kind "KubeVirt"',
    )
    result = wait(manifests=[str(manifest)], objects=[], timeout=0)
    assert result["unmet"] == [f'{manifest}: k3s cannot apply it: no matches for kind "KubeVirt"']


def test_check_mode_looks_once_and_does_not_fail(wait):
    result = wait(check=True, timeout=600)
    assert (result["ready"], result["changed"]) == (False, False)
    assert result["unmet"] == ["kubevirts.kubevirt.io kubevirt/kubevirt: does not exist"]


def test_an_api_that_does_not_answer_is_told(run_module, cluster, tmp_path):
    with serving(cluster, tmp_path) as kubeconfig:
        pass
    result = run_module("kubernetes_wait", objects=[OBJECT], kubeconfig=kubeconfig, timeout=0)
    assert result["failed"]
    assert "the cluster's API: http://127.0.0.1:" in result["unmet"][0]


def test_a_file_that_is_not_there_is_told(wait, tmp_path):
    result = wait(manifests=[str(tmp_path / "missing.yaml")])
    assert result["failed"]
    assert result["msg"] == f"{tmp_path}/missing.yaml cannot be read: No such file or directory"

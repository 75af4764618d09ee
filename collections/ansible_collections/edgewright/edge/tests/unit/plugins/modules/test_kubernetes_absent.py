"""Objects that are no longer declared go, and only those, against an API that keeps objects."""

from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.tests.unit.kubernetes_server import Cluster, serving

DEPLOYMENTS = "/apis/apps/v1/namespaces/edgewright/deployments"
ADDONS = "/apis/k3s.cattle.io/v1/namespaces/kube-system/addons"
WORKLOADS = {"edgewright.workload": "inference-service"}
WANTED = [
    {"kind": "deployments.apps", "namespace": "edgewright", "labels": WORKLOADS, "keep": ["kept"]},
    {"kind": "addons.k3s.cattle.io", "namespace": "kube-system", "pattern": "edgewright-*", "keep": []},
]


@pytest.fixture
def cluster():
    made = Cluster()
    for name in ("gone", "kept", "other-gone"):
        made.add(f"{DEPLOYMENTS}/{name}", metadata={"labels": WORKLOADS})
    made.add(f"{DEPLOYMENTS}/foreign", metadata={"labels": {"app": "x"}})
    made.add(f"{ADDONS}/edgewright-workloads-000100-gone")
    made.add(f"{ADDONS}/coredns")
    return made


@pytest.fixture
def kubeconfig(cluster, tmp_path):
    with serving(cluster, tmp_path) as path:
        yield path


def test_only_what_is_no_longer_declared_goes(cluster, kubeconfig, run_module):
    result = run_module("kubernetes_absent", objects=WANTED, kubeconfig=kubeconfig)
    assert result["changed"]
    assert result["deleted"] == [
        f"{DEPLOYMENTS}/gone",
        f"{DEPLOYMENTS}/other-gone",
        f"{ADDONS}/edgewright-workloads-000100-gone",
    ]
    assert set(cluster.objects) == {f"{DEPLOYMENTS}/kept", f"{DEPLOYMENTS}/foreign", f"{ADDONS}/coredns"}
    assert not run_module("kubernetes_absent", objects=WANTED, kubeconfig=kubeconfig)["changed"]


def test_check_mode_says_it_and_deletes_nothing(cluster, kubeconfig, run_module):
    before = set(cluster.objects)
    result = run_module("kubernetes_absent", objects=WANTED, kubeconfig=kubeconfig, check=True, diff=True)
    assert result["changed"]
    assert result["diff"]["before"].splitlines() == result["deleted"]
    assert set(cluster.objects) == before


def test_a_kind_that_the_cluster_does_not_know_has_no_objects(kubeconfig, run_module):
    unknown = [{"kind": "virtualmachines.kubevirt.io", "namespace": "edgewright"}]
    assert not run_module("kubernetes_absent", objects=unknown, kubeconfig=kubeconfig)["changed"]


def test_one_that_does_not_go_is_named(cluster, kubeconfig, run_module):
    cluster.finalizers = {f"{DEPLOYMENTS}/gone"}
    result = run_module("kubernetes_absent", objects=WANTED, kubeconfig=kubeconfig, timeout=1)
    assert result["failed"]
    assert f"{DEPLOYMENTS}/gone: is still there 1 s after" in result["msg"]


def test_an_api_that_does_not_answer_is_told(tmp_path, run_module):
    with serving(Cluster(), tmp_path) as path:
        pass
    result = run_module("kubernetes_absent", objects=WANTED, kubeconfig=path)
    assert "does not answer" in result["msg"]

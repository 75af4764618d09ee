"""A Deployment replaces its pods when its stamp changes, and a rollout that does not end is told."""

from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.deployment_rollout import unfinished
from ansible_collections.edgewright.edge.tests.unit.kubernetes_server import Cluster, serving

PATH = "/apis/apps/v1/namespaces/edgewright/deployments/shelf"
DONE = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}


@pytest.fixture
def cluster():
    made = Cluster()
    made.add(PATH, metadata={"generation": 3}, spec={"replicas": 2, "template": {"metadata": {}}}, status=DONE)
    return made


@pytest.fixture
def kubeconfig(cluster, tmp_path):
    with serving(cluster, tmp_path) as path:
        yield path


def rollout(run_module, kubeconfig, stamp="b", **options):
    return run_module(
        "kubernetes_rollout", name="shelf", namespace="edgewright", stamp=stamp, kubeconfig=kubeconfig, **options
    )


def test_another_stamp_replaces_the_pods_and_the_same_one_does_not(cluster, kubeconfig, run_module):
    assert rollout(run_module, kubeconfig)["changed"]
    template = cluster.objects[PATH]["spec"]["template"]
    assert template["metadata"]["annotations"] == {"edgewright.stamp": "b"}
    assert not rollout(run_module, kubeconfig)["changed"]
    assert rollout(run_module, kubeconfig, stamp="c")["changed"]


def test_check_mode_says_it_and_replaces_nothing(cluster, kubeconfig, run_module):
    result = rollout(run_module, kubeconfig, check=True, diff=True)
    assert result["changed"]
    assert result["diff"]["after"] == "b\n"
    assert cluster.objects[PATH]["spec"]["template"] == {"metadata": {}}


def test_a_rollout_that_does_not_end_is_told(cluster, kubeconfig, run_module):
    cluster.objects[PATH]["status"] = {**DONE, "replicas": 3, "updatedReplicas": 1}
    result = rollout(run_module, kubeconfig, timeout=1)
    assert result["failed"]
    assert f"{PATH}: 1 of 2 pods are new after 1 s" in result["msg"]
    ended = {"exitCode": 1, "message": "The golden set is answered otherwise: y is 4, expected 3"}
    for name, label in (("shelf-1", "shelf"), ("other-1", "other")):
        cluster.add(
            f"/api/v1/namespaces/edgewright/pods/{name}",
            metadata={"name": name, "namespace": "edgewright", "labels": {"app.kubernetes.io/name": label}},
            status={"containerStatuses": [{"name": "golden", "state": {"terminated": ended}}]},
        )
    cluster.objects[PATH]["spec"]["selector"] = {"matchLabels": {"app.kubernetes.io/name": "shelf"}}
    message = rollout(run_module, kubeconfig, timeout=1)["msg"]
    assert "pod edgewright/shelf-1: container golden ended with exit code 1: The golden set is answered" in message
    assert "other-1" not in message


def test_a_deployment_that_is_not_there_is_told(kubeconfig, run_module):
    result = run_module("kubernetes_rollout", name="x", namespace="edgewright", stamp="b", kubeconfig=kubeconfig)
    assert result["failed"]
    assert "deployments/x is not there" in result["msg"]


@pytest.mark.parametrize(
    ("status", "lack"),
    [
        (DONE, ""),
        ({**DONE, "observedGeneration": 2}, "Kubernetes has not seen the change"),
        ({**DONE, "updatedReplicas": 1}, "1 of 2 pods are new"),
        ({**DONE, "replicas": 3}, "1 old pods are still there"),
        ({**DONE, "availableReplicas": 1}, "1 of 2 new pods are available"),
        ({}, "Kubernetes has not seen the change"),
    ],
)
def test_what_is_lacking_is_what_kubectl_waits_for(status, lack):
    assert unfinished({"metadata": {"generation": 3}, "spec": {"replicas": 2}, "status": status}) == lack

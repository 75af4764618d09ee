"""The module against an API over HTTP and a program that answers as k3s does."""

from __future__ import annotations

import datetime
import json

import pytest
from ansible_collections.edgewright.edge.tests.unit.kubernetes_server import Cluster, serving

# As k3s prints it: Go's own names, for the struct has no tags (pkg/cli/cert/cert.go).
PROGRAM = """#!/bin/sh
case $1 in
certificate) echo '{certificates}' ;;
crictl) echo '{images}' ;;
esac
"""


def certificates(days, status="OK"):
    expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days, hours=1)
    entry = {
        "Filename": "client-admin.crt",
        "Subject": "system:admin",
        "Issuer": "ca",
        "Usages": ["ClientAuth"],
        "ExpiryTime": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ResidualTime": days * 86400 * 10**9,
        "Status": status,
    }
    return {"Certificates": [entry]}


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "k3s"

    def write(found=None, images=()):
        listed = [{"id": "sha256:1", "repoTags": [tag], "pinned": pinned} for tag, pinned in images]
        path.write_text(
            PROGRAM.format(certificates=json.dumps(found or certificates(200)), images=json.dumps({"images": listed}))
        )
        path.chmod(0o755)

    return write


@pytest.fixture
def cluster():
    made = Cluster()
    made.node("a", labels={"node-role.kubernetes.io/control-plane": "true"})
    made.node("b")
    return made


@pytest.fixture
def ask(run_module, cluster, program, tmp_path):
    program()
    with serving(cluster, tmp_path) as kubeconfig:
        common = {
            "kubeconfig": kubeconfig,
            "k3s": str(tmp_path / "k3s"),
            "data_dir": str(tmp_path),
            "nodes": ["a", "b"],
        }
        yield lambda **arguments: run_module("cluster_health_info", **{**common, **arguments})


def pod(cluster, name, *, ready=True, phase="Running", **status):
    conditions = [{"type": "Ready", "status": str(ready)}]
    path = f"/api/v1/namespaces/kube-system/pods/{name}"
    return cluster.add(path, spec={}, status={"phase": phase, "conditions": conditions, **status})


def test_a_healthy_cluster_says_so(ask, cluster, tmp_path):
    (tmp_path / "server/db/etcd").mkdir(parents=True)
    pod(cluster, "coredns")
    pod(cluster, "helm-install", phase="Succeeded", ready=False)
    result = ask(version="v1.36.5+k3s1")
    assert not result["changed"]
    assert (result["healthy"], result["problems"], result["msg"]) == (True, [], "")
    assert result["datastore"] == "etcd"
    assert result["nodes"][0] == {
        "name": "a",
        "ready": True,
        "version": "v1.36.5+k3s1",
        "roles": ["control-plane"],
        "cordoned": False,
        "drained": False,
        "pressures": [],
    }
    assert result["certificates"] == [
        {"file": "client-admin.crt", "subject": "system:admin", "days": 200, "status": "OK"}
    ]
    assert (result["kubevirt"], result["cdi"], result["virtual_machines"]) == ("", "", {"total": 0})
    assert not [entry for entry in cluster.asked if entry[0] != "GET"]


def test_all_that_is_wrong_is_said_at_once_with_a_remedy(ask, cluster, program):
    cluster.node("c", ready=False, unschedulable=True)
    cluster.objects["/api/v1/nodes/b"]["status"]["conditions"].append({"type": "DiskPressure", "status": "True"})
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    pod(cluster, "coredns", ready=False, phase="Pending", containerStatuses=[{"state": {"waiting": waiting}}])
    pod(cluster, "traefik", ready=False)
    leaving = pod(cluster, "leaving", ready=False)
    leaving["metadata"]["deletionTimestamp"] = "2026-11-23T02:15:00Z"
    program(certificates(12), images=[("docker.io/rancher/mirrored-pause:3.6", False)])
    result = ask(
        nodes=["a", "b", "c", "d"],
        version="v1.36.6+k3s1",
        images=["docker.io/rancher/mirrored-pause:3.6", "quay.io/kubevirt/virt-operator:v1.9.0"],
    )
    assert not result["healthy"]
    for words in (
        "d: is not in the cluster",
        "c: is not ready; found kubelet stopped posting",
        "c: takes no pods: it is cordoned",
        "b: reports DiskPressure",
        "a: runs another k3s; found v1.36.5+k3s1; expected v1.36.6+k3s1. Run playbooks/upgrade.yml.",
        "kube-system/coredns: is a system pod that does not work; found ImagePullBackOff Back-off pulling image",
        "kube-system/traefik: is a system pod that does not work; found Running, not ready",
        "certificate client-admin.crt (system:admin): ends soon; found 12 days left; expected at least 30",
        "docker.io/rancher/mirrored-pause:3.6: is not pinned",
        "quay.io/kubevirt/virt-operator:v1.9.0: is not in this node's store",
    ):
        assert words in result["msg"]
    assert "leaving" not in result["msg"]
    assert len(result["problems"]) == len(result["msg"].splitlines())
    assert all(problem["remedy"] for problem in result["problems"])


@pytest.mark.parametrize(
    ("days", "status", "words"),
    [(-3, "EXPIRED", "has ended; found -3 days left"), (9, "NOT YET VALID", "is not valid yet. The node's clock")],
)
def test_a_certificate_that_is_not_valid_says_why(ask, program, days, status, words):
    program(certificates(days, status))
    assert words in ask()["msg"]


def test_a_cordoned_node_can_be_allowed(ask, cluster):
    cluster.node("b", unschedulable=True)
    assert not ask()["healthy"]
    assert ask(allow_cordoned=True)["healthy"]


def test_virtual_machines_and_their_operators_are_counted(ask, cluster):
    for name, path in (
        ("kubevirt", "kubevirt.io/v1/namespaces/kubevirt/kubevirts"),
        ("cdi", "cdi.kubevirt.io/v1beta1/cdis"),
    ):
        cluster.add(f"/apis/{path}/{name}", status={"phase": "Deployed"})
    for name, state in (("till", "Running"), ("drawer", "Stopped"), ("spare", "Stopped")):
        cluster.add(f"/apis/kubevirt.io/v1/namespaces/shop/virtualmachines/{name}", status={"printableStatus": state})
    result = ask()
    assert (result["kubevirt"], result["cdi"], result["healthy"]) == ("Deployed", "Deployed", True)
    assert result["virtual_machines"] == {"total": 3, "Running": 1, "Stopped": 2}
    cluster.objects["/apis/cdi.kubevirt.io/v1beta1/cdis/cdi"]["status"]["phase"] = "Deploying"
    condition = {"type": "Available", "status": "False", "message": "virt-api is starting"}
    cluster.objects["/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt"]["status"]["conditions"] = [condition]
    told = ask()["msg"]
    assert "CDI: is not deployed; found Deploying; expected Deployed" in told
    assert "KubeVirt: is not well: Available is not True; found virt-api is starting" in told


def test_it_waits_until_all_is_well(ask, cluster):
    cluster.node("b", ready=False)
    original = cluster.answer
    asked = []

    def answer(*arguments):
        asked.append(arguments[1])
        if asked.count("/api/v1/nodes") == 2:
            cluster.node("b")
        return original(*arguments)

    cluster.answer = answer
    assert ask(timeout=20)["healthy"]
    assert asked.count("/api/v1/nodes") >= 2


def test_nobody_there_is_a_problem_and_no_failure(run_module, tmp_path):
    with serving(Cluster(), tmp_path) as kubeconfig:
        pass
    result = run_module("cluster_health_info", kubeconfig=kubeconfig, k3s=str(tmp_path / "none"), nodes=["a"])
    assert not result["healthy"]
    assert "API: does not answer: http://127.0.0.1" in result["msg"]
    assert "none certificate check --output json: cannot be run: No such file or directory" in result["msg"]
    assert "a: is not in the cluster" not in result["msg"]

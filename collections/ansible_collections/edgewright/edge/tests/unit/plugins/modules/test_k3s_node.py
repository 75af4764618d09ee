"""The module against an API over HTTP that keeps objects and acts as Kubernetes' and KubeVirt's controllers do."""

from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.tests.unit.kubernetes_server import Cluster, serving

VM = "/apis/kubevirt.io/v1/namespaces/shop/virtualmachines"
SCHEDULABLE = {"kubevirt.io/schedulable": "true"}


@pytest.fixture
def cluster():
    made = Cluster()
    made.node("a", labels=SCHEDULABLE)
    return made


@pytest.fixture
def node(run_module, cluster, tmp_path):
    with serving(cluster, tmp_path) as kubeconfig:
        yield lambda state, **arguments: run_module(
            "k3s_node", **{"name": "a", "state": state, "kubeconfig": kubeconfig, "timeout": 8, **arguments}
        )


def pods(cluster):
    return sorted(path.rpartition("/")[2] for path in cluster.objects if "/pods/" in path)


def written(cluster):
    return [(method, path) for method, path, _ in cluster.asked if method != "GET"]


def test_cordoning_is_done_once(node, cluster):
    first = node("cordoned", diff=True)
    assert first["changed"]
    assert first["diff"] == {"before": "uncordoned\n", "after": "cordoned\n"}
    assert cluster.objects["/api/v1/nodes/a"]["spec"] == {"unschedulable": True}
    assert not node("cordoned")["changed"]
    assert node("uncordoned")["changed"]
    assert cluster.objects["/api/v1/nodes/a"]["spec"] == {}
    assert not node("uncordoned")["changed"]


def test_all_leaves_but_what_belongs_to_the_node(node, cluster):
    for number in range(5):
        cluster.pod(f"web-{number}")
    cluster.pod("agent", "DaemonSet")
    cluster.pod("static", "Node")
    cluster.pod("done", "Job", phase="Succeeded")
    cluster.pod("elsewhere", node="b")
    result = node("drained")
    assert result["changed"]
    assert pods(cluster) == ["agent", "done", "elsewhere", "static"]
    assert result["pods"] == [f"shop/web-{number}" for number in range(5)]
    assert result["kept"] == {
        "shop/agent": "of a DaemonSet",
        "shop/done": "has ended",
        "shop/static": "a mirror of a static pod",
    }
    assert not node("drained")["changed"]
    assert cluster.objects["/api/v1/nodes/a"]["metadata"]["annotations"] == {"edgewright.io/drained": "true"}
    node("uncordoned")
    assert cluster.objects["/api/v1/nodes/a"]["metadata"]["annotations"] == {}


def test_pods_leave_by_eviction_with_the_grace_asked_for(node, cluster):
    cluster.pod("web")
    node("drained", grace_period=7)
    _method, path, body = next(entry for entry in cluster.asked if entry[0] == "POST")
    assert path == "/api/v1/namespaces/shop/pods/web/eviction"
    assert body["apiVersion"] == "policy/v1"
    assert body["deleteOptions"] == {"gracePeriodSeconds": 7}
    assert not [entry for entry in cluster.asked if entry[0] == "DELETE"]


def test_check_mode_lists_what_would_go_and_writes_nothing(node, cluster):
    cluster.pod("web")
    cluster.machine("till", migratable=False)
    result = node("drained", check=True)
    assert result["changed"]
    assert result["pods"] == ["shop/virt-launcher-till", "shop/web"]
    assert result["stopped"] == ["shop/till"]
    assert written(cluster) == []


def test_everything_that_may_not_leave_is_named_before_anything_changes(node, cluster):
    cluster.pod("alone", "")
    cluster.pod("cache", volumes=[{"name": "scratch", "emptyDir": {}}])
    cluster.machine("till", migratable=False)
    result = node("drained", stop_virtual_machines="never")
    assert result["failed"]
    assert "shop/alone: is a pod that nothing starts again" in result["msg"]
    assert "shop/cache: has data in emptyDir volumes that would be lost: scratch" in result["msg"]
    assert "shop/till: is a virtual machine that cannot migrate: " in result["msg"]
    assert written(cluster) == []
    assert not node("drained", force=True, delete_emptydir_data=True).get("failed")
    assert pods(cluster) == []


def test_a_disruption_budget_is_waited_for_and_reported(node, cluster):
    cluster.pod("web-1")
    cluster.pod("free")
    cluster.budget = "web"
    result = node("drained", timeout=2)
    assert result["failed"]
    assert result["left"] == {"shop/web-1": "Cannot evict pod as it would violate the pod's disruption budget."}
    assert "a: 1 pods had not left after 2 s; it stays cordoned" in result["msg"]
    assert pods(cluster) == ["web-1"]
    cluster.budget = ""
    assert node("drained")["pods"] == ["shop/web-1"]


def test_a_pod_that_does_not_end_is_reported(node, cluster):
    cluster.pod("web")
    cluster.stubborn = {"web"}
    assert node("drained", timeout=2)["left"] == {"shop/web": "ends since 2026-11-23T02:15:00Z"}


def test_a_machine_that_can_migrate_does(node, cluster):
    cluster.node("b", labels=SCHEDULABLE)
    cluster.machine("till", migratable=True)
    result = node("drained")
    assert (result["migrated"], result["stopped"]) == (["shop/till"], [])
    assert cluster.objects[f"{VM}/till"]["spec"] == {"runStrategy": "Always"}
    assert cluster.objects[VM.replace("machines", "machineinstances") + "/till"]["status"]["nodeName"] == "b"


@pytest.mark.parametrize("spoil", ["cordoned", "not ready", "not for virtual machines", "alone"])
def test_a_machine_without_another_node_is_stopped(node, cluster, spoil):
    if spoil != "alone":
        labels = {} if spoil == "not for virtual machines" else SCHEDULABLE
        spec = {"unschedulable": True} if spoil == "cordoned" else {}
        cluster.node("b", ready=spoil != "not ready", labels=labels, **spec)
    cluster.machine("till", migratable=True)
    assert node("drained")["stopped"] == ["shop/till"]


@pytest.mark.parametrize("spec", [{"runStrategy": "Always"}, {"runStrategy": "RerunOnFailure"}, {"running": True}])
def test_a_stopped_machine_runs_again_as_it_did(node, cluster, spec):
    cluster.machine("till", migratable=False, **spec)
    result = node("drained")
    assert result["stopped"] == ["shop/till"]
    machine = cluster.objects[f"{VM}/till"]
    assert machine["spec"] in ({"runStrategy": "Halted"}, {"running": False})
    assert machine["metadata"]["annotations"]["edgewright.io/stopped-for-drain-of"] == "a"
    assert pods(cluster) == []
    assert not [path for method, path in written(cluster) if path.endswith("/eviction")]
    assert not node("drained")["changed"]
    assert node("uncordoned", check=True)["started"] == ["shop/till"]
    assert node("uncordoned")["started"] == ["shop/till"]
    assert machine["spec"] == spec
    assert machine["metadata"]["annotations"] == {}
    assert not node("uncordoned")["changed"]


def test_a_machine_started_by_hand_is_started_again(node, cluster):
    cluster.machine("till", migratable=False, runStrategy="Manual")
    node("drained")
    node("uncordoned")
    assert cluster.objects[f"{VM}/till"]["spec"] == {"runStrategy": "Manual"}
    started = "/apis/subresources.kubevirt.io/v1/namespaces/shop/virtualmachines/till/start"
    assert ("PUT", started) in written(cluster)


def test_a_machine_stopped_for_another_node_stays_off(node, cluster):
    cluster.machine("till", migratable=False)
    node("drained")
    cluster.node("b")
    assert node("uncordoned", name="b")["started"] == []
    assert cluster.objects[f"{VM}/till"]["spec"] == {"runStrategy": "Halted"}


def test_all_machines_are_stopped_when_asked_for(node, cluster):
    cluster.node("b", labels=SCHEDULABLE)
    cluster.machine("till", migratable=True)
    cluster.machine("drawer", migratable=False)
    assert node("drained", stop_virtual_machines="all")["stopped"] == ["shop/drawer", "shop/till"]


def test_other_pods_stay_when_only_virtual_machines_shall_leave(node, cluster):
    cluster.pod("web")
    cluster.pod("alone", "")
    cluster.machine("till", migratable=False)
    result = node("drained", only_virtual_machines=True)
    assert (result["stopped"], pods(cluster)) == (["shop/till"], ["alone", "web"])
    assert result["kept"]["shop/web"] == "no virtual machine"


def test_an_instance_that_nothing_starts_again_needs_force(node, cluster):
    cluster.machine("bare", migratable=False, owned=False)
    assert "shop/bare: is a virtual machine that cannot migrate" in node("drained")["msg"]
    result = node("drained", force=True)
    assert (result["pods"], result["stopped"]) == (["shop/virt-launcher-bare"], [])
    assert pods(cluster) == []


def test_webhooks_that_are_starting_are_waited_for(node, cluster):
    cluster.machine("till", migratable=False)
    cluster.webhooks_down = 2
    assert node("drained")["stopped"] == ["shop/till"]
    assert pods(cluster) == []


def test_a_removed_node_leaves_no_password_behind(node, cluster):
    cluster.node("b", ready=False)
    cluster.add("/api/v1/namespaces/kube-system/secrets/b.node-password.k3s")
    assert node("absent", name="b", check=True)["changed"]
    assert written(cluster) == []
    assert node("absent", name="b")["changed"]
    assert not [path for path in cluster.objects if "/b" in path]
    assert not node("absent", name="b")["changed"]


def test_a_readmitted_node_stays_and_may_come_with_another_password(node, cluster):
    cluster.add("/api/v1/namespaces/kube-system/secrets/a.node-password.k3s")
    assert node("readmitted", check=True)["changed"]
    assert written(cluster) == []
    assert node("readmitted")["changed"]
    assert [path for path in cluster.objects if path.endswith("/a") or "/a." in path] == ["/api/v1/nodes/a"]
    assert not node("readmitted")["changed"]


def test_a_running_node_is_removed_by_force_only(node, cluster):
    assert "a: still runs in the cluster, and would register again; found Ready" in node("absent")["msg"]
    assert node("absent", force=True)["changed"]
    assert "/api/v1/nodes/a" not in cluster.objects


def test_an_unknown_node_says_which_there_are(node, cluster):
    cluster.node("b")
    assert node("drained", name="c")["msg"] == "c: is no node of the cluster; expected one of a, b."


def test_an_api_that_does_not_answer_says_so(run_module, tmp_path):
    with serving(Cluster(), tmp_path) as kubeconfig:
        pass
    result = run_module("k3s_node", name="a", state="cordoned", kubeconfig=kubeconfig)
    assert "a: the cluster's API: http://127.0.0.1" in result["msg"]
    assert "does not answer" in result["msg"]


def test_a_missing_kubeconfig_says_so(run_module, tmp_path):
    result = run_module("k3s_node", name="a", state="cordoned", kubeconfig=str(tmp_path / "none"))
    assert "is no kubeconfig that can be used" in result["msg"]

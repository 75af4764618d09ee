from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_readiness import (
    Expectation,
    addon_name,
    unapplied,
    unmet,
    unready_pods,
)

KUBEVIRT = Expectation(
    "kubevirts.kubevirt.io", "v1", "kubevirt", "kubevirt", {"phase": "Deployed"}, {"Available": "True"}
)


def kubevirt(phase="Deployed", available="True", **more):
    conditions = [{"type": "Available", "status": available, "message": "virt-api does not answer"}]
    return {"metadata": {"generation": 2}, "status": {"phase": phase, "conditions": conditions, **more}}


def pod(name, *states, phase="Pending", **more):
    containers = [{"name": state["name"], "image": f"quay.io/kubevirt/{state['name']}:v1.9.0"} for state in states]
    status = {"phase": phase, "containerStatuses": list(states), **more}
    return {"metadata": {"namespace": "kubevirt", "name": name}, "spec": {"containers": containers}, "status": status}


@pytest.mark.parametrize(
    ("kind", "version", "namespace", "path"),
    [
        ("kubevirts.kubevirt.io", "v1", "kubevirt", "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/x"),
        ("cdis.cdi.kubevirt.io", "v1beta1", "", "/apis/cdi.kubevirt.io/v1beta1/cdis/x"),
        ("nodes", "v1", "", "/api/v1/nodes/x"),
        ("pods", "v1", "shop", "/api/v1/namespaces/shop/pods/x"),
    ],
)
def test_an_object_has_the_path_of_kubernetes(kind, version, namespace, path):
    assert Expectation(kind, version, "x", namespace).path == path


def test_an_object_that_is_as_expected_lacks_nothing():
    assert unmet(KUBEVIRT, kubevirt()) == []
    assert unmet(KUBEVIRT, kubevirt(observedGeneration=2)) == []


def test_an_object_that_is_not_there_is_told():
    assert unmet(KUBEVIRT, None) == ["kubevirts.kubevirt.io kubevirt/kubevirt: does not exist"]


def test_everything_that_differs_is_in_one_sentence():
    assert unmet(KUBEVIRT, kubevirt("Deploying", "False")) == [
        (
            "kubevirts.kubevirt.io kubevirt/kubevirt: phase is Deploying, expected Deployed; "
            "condition Available is False, expected True (virt-api does not answer)"
        )
    ]
    assert unmet(KUBEVIRT, {"metadata": {}}) == [
        (
            "kubevirts.kubevirt.io kubevirt/kubevirt: phase is not set, expected Deployed; "
            "condition Available is not set, expected True"
        )
    ]


def test_conditions_of_an_older_generation_do_not_count():
    (told,) = unmet(KUBEVIRT, kubevirt(observedGeneration=1))
    assert told == "kubevirts.kubevirt.io kubevirt/kubevirt: its controller has seen generation 1 of 2"


def test_a_machine_that_runs_in_an_older_form_is_ready_once_its_controller_knows_the_newest():
    machine = Expectation("virtualmachines.kubevirt.io", "v1", "till", "edgewright", {}, {"Ready": "True"})
    status = {"conditions": [{"type": "Ready", "status": "True"}], "observedGeneration": 1}
    assert unmet(machine, {"metadata": {"generation": 2}, "status": {**status, "desiredGeneration": 2}}) == []
    (told,) = unmet(machine, {"metadata": {"generation": 3}, "status": {**status, "desiredGeneration": 2}})
    assert "its controller has seen generation 2 of 3" in told


def test_an_addon_is_named_as_k3s_names_it():
    assert addon_name("/var/lib/rancher/k3s/server/manifests/edgewright-cdi.v1.66.yaml") == "edgewright-cdi"


def test_a_manifest_is_applied_when_k3s_has_noted_its_checksum():
    path = "/m/a.yaml"
    assert unapplied(path, "5e", {"spec": {"checksum": "5e"}}, []) == []
    assert unapplied(path, "5e", {"spec": {"checksum": "0d"}}, []) == ["/m/a.yaml: k3s has not applied it yet"]
    assert unapplied(path, "5e", None, []) == ["/m/a.yaml: k3s has not applied it yet"]


def test_the_newest_failure_of_a_manifest_is_told():
    def event(name, message, time, kind="Warning"):
        involved = {"kind": "Addon", "name": name}
        return {"type": kind, "involvedObject": involved, "message": message, "lastTimestamp": time}

    events = [
        event("a", "new", "2026-11-23T02:02:00Z"),
        event("a", "old", "2026-11-23T02:01:00Z"),
        event("a", "all is well", "2026-11-23T02:03:00Z", "Normal"),
        event("b", "other", "2026-11-23T02:04:00Z"),
    ]
    assert unapplied("/m/a.yaml", "5e", None, events) == ["/m/a.yaml: k3s cannot apply it: new"]


def test_a_pod_whose_image_cannot_be_had_names_the_image():
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    assert unready_pods([pod("virt-api-0", {"name": "virt-api", "state": waiting})]) == [
        (
            "pod kubevirt/virt-api-0: container virt-api of image quay.io/kubevirt/virt-api:v1.9.0 waits: "
            "ErrImagePull (not found)"
        )
    ]


def test_a_pod_that_no_node_takes_says_what_the_scheduler_said():
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: insufficient memory."}
    assert unready_pods([pod("virt-api-0", conditions=[condition])]) == [
        "pod kubevirt/virt-api-0: 0/1 nodes are available: insufficient memory."
    ]


def test_what_no_node_has_is_told_of_a_pod_that_no_node_takes():
    scheduled = {"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}
    launcher = pod("virt-launcher-till", phase="Pending", conditions=[scheduled])
    launcher["spec"]["nodeSelector"] = {"kubernetes.io/arch": "amd64", "cpu-model.node.kubevirt.io/qemu64": "true"}
    models = ["kvm64", "pentium3"]
    nodes = [
        {"metadata": {"labels": {"kubernetes.io/arch": "amd64", f"cpu-model.node.kubevirt.io/{model}": "true"}}}
        for model in models
    ]
    told = "pod kubevirt/virt-launcher-till: 0/2 nodes are available"
    missing = "no node has the label cpu-model.node.kubevirt.io/qemu64=true"
    assert unready_pods([launcher]) == [told]
    assert unready_pods([launcher], nodes=nodes) == [f"{told}; {missing} (there are kvm64, pentium3)"]
    launcher["spec"]["nodeSelector"] = {"rack": "7"}
    assert unready_pods([launcher], nodes=nodes) == [f"{told}; no node has the label rack=7"]
    launcher["spec"]["nodeSelector"] = {"kubernetes.io/arch": "amd64"}
    assert unready_pods([launcher], nodes=nodes) == [told]


def test_a_container_that_ended_badly_or_is_not_ready_is_told():
    ended = {"name": "virt-operator", "state": {"terminated": {"exitCode": 2}}}
    running = {"name": "virt-handler", "ready": False, "state": {"running": {}}}
    assert unready_pods([pod("a", ended, running)]) == [
        "pod kubevirt/a: container virt-operator ended with exit code 2; container virt-handler runs, and is not ready"
    ]


def test_pods_that_run_or_are_done_are_not_told():
    running = {"name": "virt-api", "ready": True, "state": {"running": {}}}
    done = {"name": "init", "ready": False, "state": {"terminated": {"exitCode": 0}}}
    assert unready_pods([pod("a", running, phase="Running"), pod("b", done, phase="Succeeded"), pod("c", done)]) == []


def test_a_replica_set_that_may_make_no_pods_says_why():
    condition = {"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity restricted"}
    owner = {"metadata": {"namespace": "kubevirt", "name": "virt-operator-5d"}, "status": {"conditions": [condition]}}
    assert unready_pods([], [owner]) == [
        "kubevirt/virt-operator-5d: its pods cannot be made: violates PodSecurity restricted"
    ]


def test_of_hundreds_of_pods_the_first_are_told():
    waiting = {"name": "x", "state": {"waiting": {"reason": "ErrImagePull"}}}
    told = unready_pods([pod(f"p-{number}", waiting) for number in range(100)])
    assert len(told) == 13
    assert told[-1] == "and 88 more"


def test_a_rollout_is_over_when_all_pods_are_new():
    expected = Expectation(
        "deployments.apps", "v1", "shelf", "edgewright", conditions={"Available": "True"}, rollout=True
    )
    status = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    status["conditions"] = [{"type": "Available", "status": "True"}]
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": status}
    assert unmet(expected, deployment) == []
    status["replicas"] = 2
    assert unmet(expected, deployment) == [
        "deployments.apps edgewright/shelf: 1 old pods are still there, and those of before answer as long"
    ]


def test_what_a_container_left_to_say_is_told():
    ended = {"terminated": {"exitCode": 1, "message": "The golden set is answered otherwise:\n y is 4, expected 3\n"}}
    backoff = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    said = "ended with exit code 1: The golden set is answered otherwise: y is 4, expected 3"
    image = "quay.io/kubevirt/golden:v1.9.0"
    for state, words in (
        ({"state": backoff, "lastState": ended}, f"of image {image} waits: CrashLoopBackOff (back-off 10s); {said}"),
        ({"state": ended}, said),
        (
            {"state": {"running": {}}, "lastState": ended, "started": False},
            f"runs, and is not ready; before, it {said}",
        ),
    ):
        assert unready_pods([pod("a", {"name": "golden", **state})]) == [f"pod kubevirt/a: container golden {words}"]

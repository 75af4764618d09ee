"""The module against an API over HTTP that keeps virtual machines."""

from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.node_drain import stop_patch
from ansible_collections.edgewright.edge.tests.unit.kubernetes_server import Cluster, serving

FOLDER = "/apis/kubevirt.io/v1/namespaces/shop/virtualmachines"
MACHINES = {"till": "Always", "attic": "Halted"}


@pytest.fixture
def cluster():
    made = Cluster()
    for name, strategy in MACHINES.items():
        made.machine(name, migratable=False, runStrategy=strategy)
    return made


@pytest.fixture
def declare(run_module, cluster, tmp_path):
    with serving(cluster, tmp_path) as kubeconfig:
        yield lambda **arguments: run_module(
            "kubevirt_run_strategy",
            **{"namespace": "shop", "machines": MACHINES, "kubeconfig": kubeconfig, "timeout": 5, **arguments},
        )


def strategies(cluster):
    return {name: cluster.objects[f"{FOLDER}/{name}"]["spec"]["runStrategy"] for name in MACHINES}


def test_machines_that_run_as_declared_are_left_alone(declare, cluster):
    assert not declare()["changed"]
    assert all(method == "GET" for method, *_ in cluster.asked)


def test_what_was_stopped_and_started_by_hand_is_as_declared_again(declare, cluster):
    for name, strategy in (("till", "Halted"), ("attic", "Always")):
        cluster.objects[f"{FOLDER}/{name}"]["spec"]["runStrategy"] = strategy
    told = declare(check=True, diff=True)
    assert (told["changed"], told["altered"]) == (True, ["attic", "till"])
    assert told["diff"] == {"before": "attic: Always\ntill: Halted\n", "after": "attic: Halted\ntill: Always\n"}
    assert strategies(cluster) == {"till": "Halted", "attic": "Always"}
    assert declare()["changed"]
    assert strategies(cluster) == MACHINES
    assert not declare()["changed"]


def test_a_machine_that_is_off_for_its_node_stays_off(declare, cluster):
    machine = cluster.objects[f"{FOLDER}/till"]
    patch = stop_patch(machine, "node-1")
    machine["metadata"].update(patch["metadata"])
    machine["spec"] = patch["spec"]
    assert not declare()["changed"]


def test_a_webhook_that_is_starting_is_waited_for(declare, cluster):
    cluster.objects[f"{FOLDER}/till"]["spec"]["runStrategy"] = "Halted"
    cluster.webhooks_down = 2
    assert declare()["changed"]
    assert strategies(cluster) == MACHINES


def test_a_machine_that_is_not_there_is_told_but_not_in_check_mode(declare):
    told = declare(machines={"cellar": "Always"})
    assert told["failed"]
    assert f"{FOLDER}/cellar is not there" in told["msg"]
    assert not declare(machines={"cellar": "Always"}, check=True)["changed"]

"""What the role ``inference_services`` makes of a cluster, asked of its API and of the files.

Pods are the stand-in's. The tests go on from each other.
"""

from __future__ import annotations

import json
from typing import Any

import scenario

WORKLOADS = scenario.HERE / "workloads.yml"
IMAGE = "build:containers/inference-server"
MODEL = "/var/lib/edgewright/models/shelf/scaled/1/model.onnx"
DEPLOYMENTS = "/apis/apps/v1/namespaces/edgewright/deployments"


def apply(
    services: list[dict[str, Any]], archive: str = "made/inference-server.tar", *, fails: bool = False
) -> scenario.Run:
    archives = {IMAGE: f"{scenario.SCENARIO}/{archive}"} if services else {}
    variables = {"edge_inference_services": services, "inference_services__image_archives": archives}
    return scenario.play(WORKLOADS, node=scenario.NODE, variables=variables, fails=fails)


def service(name: str, model: str, file: str, port: int) -> dict[str, Any]:
    models = [{"name": model, "source": f"file:{file}.onnx"}]
    return {"name": name, "image": IMAGE, "models": models, "port": port, "exposure": "internal"}


SHELF, TILL = service("shelf", "scaled", "scaled", 8080), service("till", "other", "other", 8081)
OTHER = service("shelf", "scaled", "other", 8080)


def ask(host: Any, path: str) -> Any:
    return json.loads(host.check_output("kubectl get --raw %s", path))


def pod(host: Any, name: str) -> Any:
    return ask(host, f"/api/v1/namespaces/edgewright/pods/{name}-0")["metadata"]["annotations"]


def test_services_are_available_and_their_models_on_the_node(host: Any) -> None:
    for name in ("shelf", "till"):
        assert ask(host, f"{DEPLOYMENTS}/{name}")["status"]["availableReplicas"] == 1
    assert host.file(MODEL).content_string == "one"


def test_a_model_of_another_content_makes_other_pods_of_its_service(host: Any) -> None:
    before = {name: pod(host, name) for name in ("shelf", "till")}
    apply([OTHER, TILL])
    assert host.file(MODEL).content_string == "two"
    assert pod(host, "shelf") != before["shelf"]
    assert pod(host, "till") == before["till"]
    assert "edgewright.stamp" not in pod(host, "shelf")


def test_a_damaged_model_is_mended_and_its_pods_are_new_ones(host: Any) -> None:
    before = pod(host, "shelf")
    host.check_output("truncate --size 1 %s", MODEL)
    assert apply([OTHER, TILL]).changed == 2
    assert host.file(MODEL).content_string == "two"
    after = pod(host, "shelf")
    assert after.pop("edgewright.stamp")
    assert after == before


def test_a_run_that_failed_when_models_were_in_place_is_completed_by_the_next(host: Any) -> None:
    before = pod(host, "shelf")
    run = apply([SHELF], "nowhere.tar", fails=True)
    assert "names what is not a file on the controller; found" in run.output
    assert host.file(MODEL).content_string == "one"
    assert pod(host, "shelf") == before
    apply([SHELF])
    assert pod(host, "shelf")["edgewright.digest"] != before["edgewright.digest"]


def test_what_is_no_longer_declared_is_gone(host: Any) -> None:
    apply([])
    assert ask(host, DEPLOYMENTS)["items"] == []
    assert host.check_output("find /var/lib/edgewright/models -mindepth 1") == ""
    assert host.check_output("find /var/lib/rancher/k3s -name '*-inference-service-*' -o -name 'own-*.tar'") == ""

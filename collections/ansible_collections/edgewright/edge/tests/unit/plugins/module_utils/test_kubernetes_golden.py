"""A golden set on Kubernetes: what is asked where, and which services cannot have one."""

from __future__ import annotations

import dataclasses
import json

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.golden_case import GoldenCase
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import Model
from ansible_collections.edgewright.edge.plugins.module_utils.inference_probes import Probes
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService
from ansible_collections.edgewright.edge.plugins.module_utils.kserve_inference_service import kserve_objects
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_inference_service import (
    refusals,
    service_objects,
)
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kubernetes_inference_services import (
    kubernetes_inference_services,
)
from ansible_collections.edgewright.edge.tests.unit.kubernetes_schema import validate

CASE = GoldenCase(
    "double",
    None,
    ({"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -4]},),
    ({"name": "y", "data": [3, -8]},),
    0.001,
)
SERVICE = InferenceService(
    "shelf",
    "nvcr.io/nvidia/tritonserver:25.08-py3",
    (Model("double", 1, "file:a.onnx"), Model("double", 2, "file:b.onnx")),
    port=8080,
    exposure="internal",
    container_port=8000,
    golden=(CASE,),
)


def rendered(**changes):
    objects = service_objects(
        dataclasses.replace(SERVICE, **changes),
        site="shop",
        image="nvcr.io/nvidia/tritonserver:25.08-py3",
        nodes=("n1",),
        golden_image="localhost/edgewright/inference-server:1.0",
    )
    return {entry["kind"]: entry for entry in objects}


def told(**changes):
    return [str(problem) for problem in refusals(dataclasses.replace(SERVICE, **changes), where="s[0]")]


@pytest.mark.parametrize("changes", [{}, {"exposure": "node", "port": 30080}], ids=["internal", "node"])
def test_kubernetes_knows_every_field_and_an_old_pod_goes_only_when_the_new_one_is_ready(changes):
    objects = rendered(**changes)
    for entry in objects.values():
        validate(entry)
    spec = objects["Deployment"]["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert all("hostPort" not in port for port in spec["template"]["spec"]["containers"][0]["ports"])


def test_a_second_container_asks_the_server_at_its_own_port_what_the_inventory_says():
    template = rendered(probes=Probes(900, 10, 3))["Deployment"]["spec"]["template"]
    server, golden = template["spec"]["containers"]
    assert golden["image"] == "localhost/edgewright/inference-server:1.0"
    assert "--url=http://127.0.0.1:8000" in golden["args"]
    assert "--timeout=900" in golden["args"]
    assert golden["securityContext"] == server["securityContext"]
    port = golden["startupProbe"]["tcpSocket"]["port"]
    assert f"--port={port}" in golden["args"]
    (volume,) = [each for each in template["spec"]["volumes"] if each["name"] == golden["volumeMounts"][0]["name"]]
    (file,) = volume["downwardAPI"]["items"]
    assert f"--cases={golden['volumeMounts'][0]['mountPath']}/{file['path']}" in golden["args"]
    (annotation,) = template["metadata"]["annotations"]
    assert file["fieldRef"]["fieldPath"] == f"metadata.annotations['{annotation}']"
    assert json.loads(template["metadata"]["annotations"][annotation]) == [CASE.question()]


def test_another_golden_set_is_another_pod_and_no_golden_set_is_no_container():
    other = rendered(golden=(dataclasses.replace(CASE, tolerance=0.1),))["Deployment"]["spec"]["template"]
    assert other != rendered()["Deployment"]["spec"]["template"]
    without = rendered(golden=())["Deployment"]["spec"]["template"]
    assert [container["name"] for container in without["spec"]["containers"]] == ["server"]
    assert "annotations" not in without["metadata"]


def test_a_pod_has_its_own_versions_of_the_models_only():
    spec = rendered()["Deployment"]["spec"]["template"]["spec"]
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
    mounts = spec["containers"][0]["volumeMounts"]
    assert {mount["mountPath"]: paths[mount["name"]] for mount in mounts if mount["name"] in paths} == {
        "/models/double/1": "/var/lib/edgewright/models/shelf/double/1",
        "/models/double/2": "/var/lib/edgewright/models/shelf/double/2",
    }


def test_a_node_s_port_is_one_that_kubernetes_itself_leads_to_pods_that_are_ready():
    service = rendered(exposure="node", port=30080)["Service"]["spec"]
    assert service["type"] == "NodePort"
    assert service["ports"] == [
        {"name": "http", "protocol": "TCP", "port": 30080, "targetPort": "http", "nodePort": 30080}
    ]
    (problem,) = told(exposure="node")
    assert problem.startswith("s[0].golden: must be answered before the first request, and this port of the node")
    assert "found port 8080; expected a port of 30000 to 30085, or 'exposure: internal'" in problem
    assert told() == told(exposure="node", port=30085) == []


def test_everything_that_keeps_a_golden_set_from_being_asked_is_told():
    large = dataclasses.replace(CASE, inputs=({**CASE.inputs[0], "data": list(range(60_000))},))
    problems = told(exposure="node", container_port=7999, golden=(large,))
    assert [problem.split(": ")[0] for problem in problems] == ["s[0].golden", "s[0].container_port", "s[0].golden"]
    assert "bytes of JSON" in problems[2]


def test_the_image_that_asks_is_one_of_those_that_the_node_needs():
    case = {"model": "double", "inputs": [CASE.inputs[0]], "outputs": [CASE.outputs[0]]}
    service = {
        "name": "shelf",
        "image": "nvcr.io/nvidia/tritonserver:25.08-py3",
        "models": [{"name": "double", "source": "file:a.onnx"}],
        "port": 30080,
        "golden": [case],
    }
    (known,) = kubernetes_inference_services({"n1": [service]}, "shop", "1.0")["services"]
    assert {"source": "build:containers/inference-server", "name": "localhost/edgewright/inference-server:1.0"} in (
        known["images"]
    )
    (known,) = kubernetes_inference_services({"n1": [{**service, "golden": []}]}, "shop", "1.0")["services"]
    assert [image["source"] for image in known["images"]] == ["nvcr.io/nvidia/tritonserver:25.08-py3"]


def test_kserve_s_pods_ask_it_too():
    objects = kserve_objects(SERVICE, site="shop", image="x", nodes=("n1",), golden_image="localhost/g:1")
    (runtime,) = [entry for entry in objects if entry["kind"] == "ServingRuntime"]
    assert [container["name"] for container in runtime["spec"]["containers"]] == ["kserve-container", "golden"]
    assert json.loads(runtime["spec"]["annotations"]["edgewright.golden"]) == [CASE.question()]

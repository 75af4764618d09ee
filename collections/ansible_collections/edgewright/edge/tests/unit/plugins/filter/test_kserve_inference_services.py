"""Services for KServe: valid where its schema is at hand, and the same server as KServe's peers get."""

from __future__ import annotations

import os
from pathlib import Path

import jsonschema
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kserve_inference_services import (
    kserve_inference_services,
)
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kubernetes_inference_services import (
    kubernetes_inference_services,
)
from ansible_collections.edgewright.edge.tests.unit.kubernetes_schema import validate

SERVICE = {
    "name": "shelf",
    "image": "build:containers/inference-server",
    "models": [{"name": "m", "source": "file:m.onnx"}],
    "port": 8080,
    "exposure": "internal",
    "resources": {"cpus": 1, "memory": "512MiB"},
    "replicas": 2,
}
CARD = {"resource": "nvidia.com/gpu", "runtime_class": "nvidia", "groups": [992]}
IMAGE = {"model_image": "registry.lan/models/m:1", "models": [{"name": "m"}]}
CASE_INPUT = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
GOLDEN = {"golden": [{"model": "m", "inputs": [CASE_INPUT], "outputs": [{"name": "y", "data": [2]}]}]}
PLURALS = {"ServingRuntime": "servingruntimes", "InferenceService": "inferenceservices"}


def rendered(**changes):
    files = kserve_inference_services({"n1": [{**SERVICE, **changes}]}, "shop", "1.0")
    assert [file["name"] for file in files] == sorted(file["name"] for file in files)
    return {entry["kind"]: entry for file in files for entry in yaml.safe_load_all(file["content"])}


def refused_unknown(schema):
    """Return a CRD's schema in which fields that it does not have are wrong."""
    closed = dict(schema)
    if "properties" in closed and not closed.get("x-kubernetes-preserve-unknown-fields"):
        closed["properties"] = {key: refused_unknown(value) for key, value in closed["properties"].items()}
        closed["additionalProperties"] = False
    if "items" in closed:
        closed["items"] = refused_unknown(closed["items"])
    return closed


@pytest.mark.parametrize(
    "changes", [{}, {"accelerator": CARD}, IMAGE, GOLDEN], ids=["plain", "accelerator", "image", "golden"]
)
def test_kserve_knows_every_field(changes):
    folder = os.environ.get("EDGEWRIGHT_KSERVE_CRDS")
    if not folder:
        pytest.skip("EDGEWRIGHT_KSERVE_CRDS names no folder with the CRDs of a KServe release (config/crd/full)")
    for kind, plural in PLURALS.items():
        definition = yaml.safe_load((Path(folder) / f"serving.kserve.io_{plural}.yaml").read_text())
        entry = rendered(**changes)[kind]
        version = entry["apiVersion"].rpartition("/")[2]
        (schema,) = [
            served["schema"]["openAPIV3Schema"]
            for served in definition["spec"]["versions"]
            if served["name"] == version
        ]
        wanted = refused_unknown({**schema["properties"]["spec"]})
        jsonschema.validate(entry["spec"], wanted)


def test_the_rest_is_valid_for_kubernetes():
    objects = rendered()
    for kind in ("Namespace", "PriorityClass"):
        validate(objects[kind])


@pytest.mark.parametrize(
    "changes", [{}, {"accelerator": CARD}, IMAGE, GOLDEN], ids=["plain", "accelerator", "image", "golden"]
)
def test_kserve_s_server_is_the_one_that_runs_without_it(changes):
    """The pod that KServe puts together of runtime and predictor is that of the Deployment."""
    objects = rendered(**changes)
    runtime, predictor = objects["ServingRuntime"]["spec"], objects["InferenceService"]["spec"]["predictor"]
    own = kubernetes_inference_services({"n1": [{**SERVICE, **changes}]}, "shop", "1.0")["files"][1]["content"]
    (deployment,) = [entry for entry in yaml.safe_load_all(own) if entry["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    of_kserve = {
        "supportedModelFormats", "protocolVersions", "minReplicas", "maxReplicas", "model",
        "topologySpreadConstraints",
    }  # fmt: skip
    both = {key: value for key, value in {**runtime, **predictor}.items() if key not in of_kserve}
    assert both["containers"][0].pop("name") == "kserve-container"
    assert pod["containers"][0].pop("name") == "server"
    annotations = deployment["spec"]["template"]["metadata"].get("annotations")
    assert both.pop("annotations", None) == annotations
    pod.pop("topologySpreadConstraints")
    assert both == pod


def test_the_service_uses_its_own_runtime_and_nothing_is_downloaded():
    objects = rendered()
    model = objects["InferenceService"]["spec"]["predictor"]["model"]
    assert model["runtime"] == objects["ServingRuntime"]["metadata"]["name"] == "shelf"
    assert "storageUri" not in model
    assert [entry["autoSelect"] for entry in objects["ServingRuntime"]["spec"]["supportedModelFormats"]] == [False]
    assert objects["InferenceService"]["spec"]["predictor"]["minReplicas"] == 2


def test_what_kserve_cannot_give_is_told_at_once():
    with pytest.raises(AnsibleFilterError) as caught:
        rendered(name="a" * 60, exposure="node", port=6443)
    told = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert told == [f"edge_inference_services[0].{key}" for key in ("port", "name", "exposure")]

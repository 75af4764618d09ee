"""What is made of a model or an image of the same name with another content: other pods, of its service only."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.plugin_utils.filters.kubernetes_inference_services import (
    kubernetes_inference_services,
)
from ansible_collections.edgewright.edge.tests.unit.kubernetes_schema import validate

SERVER = "build:containers/inference-server"
CASE = {
    "model": "m",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}],
    "outputs": [{"name": "y", "data": [2]}],
}
SERVICES = [
    {
        "name": "shelf",
        "image": "registry.lan/server:1",
        "port": 8080,
        "exposure": "internal",
        "models": [{"name": "m", "version": 1, "files": {"model.onnx": "file:a", "names.txt": "file:b"}}],
        "golden": [CASE],
    },
    {
        "name": "till",
        "image": "registry.lan/till:1",
        "port": 8081,
        "model_image": "registry.lan/models:1",
        "models": [{"name": "m"}],
    },
]
KNOWN = {source: str(number) * 64 for number, source in enumerate(["file:a", "file:b", "registry.lan/server:1"])}


def rendered(digests, services=SERVICES):
    """Return the digest that the pods of each service have."""
    found = {}
    for file in kubernetes_inference_services({"n1": services}, "shop", "1.0", digests=digests)["files"]:
        for entry in yaml.safe_load_all(file["content"]):
            validate(entry)
            if entry["kind"] == "Deployment":
                annotations = entry["spec"]["template"]["metadata"].get("annotations", {})
                found[entry["metadata"]["name"]] = annotations.get("edgewright.digest")
    return found


def test_without_digests_no_pod_has_one():
    assert rendered({}) == {"shelf": None, "till": None}


@pytest.mark.parametrize("source", ["file:a", "file:b", "registry.lan/server:1", SERVER])
def test_another_content_is_another_digest_of_its_service_only(source):
    before, after = rendered(KNOWN), rendered({**KNOWN, source: "f" * 64})
    assert before["shelf"] != after["shelf"]
    assert before["till"] is after["till"] is None


def test_files_that_change_places_are_another_digest():
    shelf, till = SERVICES
    (model,) = shelf["models"]
    swapped = {**shelf, "models": [{**model, "files": {"model.onnx": "file:b", "names.txt": "file:a"}}]}
    assert rendered(KNOWN)["shelf"] != rendered(KNOWN, [swapped, till])["shelf"]


def test_a_model_image_counts_too():
    first, second = (rendered({"registry.lan/models:1": letter * 64})["till"] for letter in "ab")
    assert first != second

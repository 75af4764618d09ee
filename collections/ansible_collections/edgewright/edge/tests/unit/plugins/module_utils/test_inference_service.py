from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.accelerator import Accelerator
from ansible_collections.edgewright.edge.plugins.module_utils.container_image import name_in_store
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import Model, model_artifacts
from ansible_collections.edgewright.edge.plugins.module_utils.inference_probes import Probes
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import (
    InferenceService,
    Resources,
    inference_services,
    order,
)

WHERE = "edge_inference_services"
SOURCE = "pypi:magika==1.0.3#magika/models/standard_v3_3/model.onnx"
LEAST = {
    "name": "file-type",
    "image": "build:containers/inference-server",
    "models": [{"name": "magika", "source": SOURCE}],
    "port": 8080,
}


def read(*items):
    return inference_services(list(items), where=WHERE)


def problems(*items):
    with pytest.raises(EdgeError) as caught:
        read(*items)
    return [str(problem) for problem in caught.value.problems]


def test_the_least_description_has_safe_defaults():
    assert read(LEAST) == (
        InferenceService(
            name="file-type",
            image="build:containers/inference-server",
            models=(Model("magika", 1, SOURCE),),
            port=8080,
            container_port=8080,
            arguments=(),
            environment={},
            resources=Resources(None, None),
            start_order=100,
            priority=50,
        ),
    )


def test_everything_can_be_said():
    (service,) = read(
        {
            **LEAST,
            "image": "registry.example.org:5000/nvidia/tritonserver:25.01-py3",
            "models": [{"name": "a.b_c", "version": 3, "source": "file:m.onnx"}, {"name": "a.b_c", "source": SOURCE}],
            "container_port": 8000,
            "arguments": ["tritonserver", "--model-repository=/models", 2],
            "environment": {"B": "x y", "A": 1},
            "resources": {"cpus": "500m", "memory": "512MiB"},
            "exposure": "internal",
            "accelerator": {
                "resource": "nvidia.com/gpu",
                "count": 2,
                "runtime_class": "nvidia",
                "devices": ["nvidia.com/gpu=all", "/dev/dri/renderD128"],
                "groups": [992],
            },
            "probes": {"startup": 900, "period": 10, "timeout": 3},
            "replicas": 2,
            "dns": True,
            "start_order": 10,
            "priority": 80,
        }
    )
    assert service.accelerator == Accelerator(
        "nvidia.com/gpu", 2, "nvidia", ("nvidia.com/gpu=all", "/dev/dri/renderD128"), (992,)
    )
    assert service.probes == Probes(900, 10, 3)
    assert (service.exposure, service.replicas, service.dns) == ("internal", 2, True)
    assert service.models == (Model("a.b_c", 3, "file:m.onnx"), Model("a.b_c", 1, SOURCE))
    assert service.arguments == ("tritonserver", "--model-repository=/models", "2")
    assert service.environment == {"A": "1", "B": "x y"}
    assert service.resources == Resources(500, 512 * 1024**2)
    assert (service.container_port, service.start_order, service.priority) == (8000, 10, 80)


X = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1.5]}
GOLDEN = {"model": "magika", "version": 1, "inputs": [X], "outputs": [{"name": "y", "data": [3.0]}]}
BAD = [
    ({"imag": 1}, ".imag: unknown key", "Did you mean 'image'?"),
    ({"name": "ssh"}, ".name: would replace the node's own ssh.service; found 'ssh'", "Use 'ssh-inference'."),
    ({"name": "systemd-networkd"}, ".name: would replace the node's own", ""),
    ({"name": "podman-restart"}, ".name: would replace the node's own", ""),
    ({"image": "nginx"}, ".image: is not a full image reference", ""),
    ({"image": "library/nginx:1"}, ".image: is not a full image reference", ""),
    ({"image": "docker.io/Nginx:1"}, ".image: is not a full image reference", ""),
    ({"image": "docker.io/library/nginx"}, ".image: names no version", "Add a tag or a digest."),
    ({"image": "docker.io/library/nginx:latest"}, ".image: has a tag that moves", "Name a version"),
    ({"image": "build:guests/till"}, ".image: builds a guest, not a container", ""),
    ({"image": "docker.io/library/nginx@sha256:12"}, ".image: is not a full image reference", ""),
    ({"port": 0}, ".port: is out of range; found 0; expected a whole number from 1 to 65535", ""),
    ({"port": None}, ".port: is missing", ""),
    ({"models": []}, ".models: has too few items", ""),
    ({"models": [{"name": "m"}]}, ".models[0].source: is missing", ""),
    ({"models": [{"name": "a/b", "source": SOURCE}]}, ".models[0].name: is not a model name; found 'a/b'", ""),
    ({"models": [{"name": "m", "version": "1.0", "source": SOURCE}]}, ".models[0].version: must be a whole number", ""),
    ({"models": [{"name": "m", "version": 0, "source": SOURCE}]}, ".models[0].version: is out of range", ""),
    ({"models": [{"name": "m", "source": "build:guests/x"}]}, ".models[0].source: builds an image, not a model", ""),
    (
        {"models": [{"name": "m", "source": SOURCE}, {"name": "m", "version": 1, "source": SOURCE}]},
        ".models[1]: this version of the model is used twice",
        "",
    ),
    ({"resources": {"cpus": 0}}, ".resources.cpus: is out of range", ""),
    (
        {"resources": {"memory": "1MiB"}},
        ".resources.memory: is out of range; found '1MiB'; expected 16MiB to 16TiB",
        "",
    ),
    ({"resources": {"cpu": 1}}, ".resources.cpu: unknown key", "Did you mean 'cpus'?"),
    ({"environment": {"1A": "x"}}, ".environment: has a bad variable name; found '1A'", ""),
    ({"environment": {"A": "x\ny"}}, ".environment.A: must be a line of text", ""),
    ({"environment": {"A": True}}, ".environment.A: must be a string", ""),
    ({"environment": ["A=1"]}, ".environment: must be a mapping", ""),
    ({"arguments": [True]}, ".arguments[0]: must be a string", ""),
    ({"arguments": "--a"}, ".arguments: must be a list", ""),
    (
        {"exposure": "public"},
        ".exposure: is not one of the choices; found 'public'; expected one of node, internal",
        "",
    ),
    ({"accelerator": {}}, ".accelerator: names no accelerator", ""),
    ({"accelerator": {"resource": "gpu"}}, ".accelerator.resource: is no resource of a device plugin", ""),
    (
        {"accelerator": {"resource": "kubernetes.io/gpu"}},
        ".accelerator.resource: is no resource of a device plugin",
        "",
    ),
    ({"accelerator": {"devices": ["/dev/../etc"]}}, ".accelerator.devices[0]: is neither a device node nor", ""),
    ({"accelerator": {"devices": ["/etc/passwd"]}}, ".accelerator.devices[0]: is neither a device node nor", ""),
    (
        {"accelerator": {"devices": ["/dev/accel0"], "count": 2}},
        ".accelerator.count: says something of a resource only",
        "Add 'resource'",
    ),
    ({"probes": {"startup": 3}}, ".probes.startup: is over before the first question is repeated", ""),
    ({"probes": {"timeout": 0}}, ".probes.timeout: is out of range", ""),
    ({"rolling_ports": [18080]}, ".rolling_ports: must be two ports; found [18080]", ""),
    ({"rolling_ports": [18080, 8080]}, ".rolling_ports[1]: the port is used twice", ""),
    ({"golden": [{**GOLDEN, "inputs": []}]}, ".golden[0].inputs: has too few items", ""),
    ({"golden": [{**GOLDEN, "model": "other"}]}, ".golden[0].model: is no model of this service; found other", ""),
    (
        {"golden": [{**GOLDEN, "version": 2}]},
        ".golden[0].model: is no model of this service; found magika version 2",
        "",
    ),
    ({"golden": [{**GOLDEN, "tolerance": -1}]}, ".golden[0].tolerance: is no tolerance", ""),
    ({"golden": [{**GOLDEN, "inputs": [{**X, "datatype": "F32"}]}]}, ".golden[0].inputs[0].datatype: is not one", ""),
    ({"golden": [{**GOLDEN, "inputs": [{**X, "shape": 2}]}]}, ".golden[0].inputs[0].shape: is no shape", ""),
    ({"golden": [{**GOLDEN, "outputs": [{"name": "y", "data": 2}]}]}, ".golden[0].outputs[0].data: is no tensor's", ""),
    ({"replicas": 0}, ".replicas: is out of range", ""),
    ({"dns": "no"}, ".dns: must be true or false", ""),
    ({"model_image": "models", "models": [{"name": "m"}]}, ".model_image: is not a full image reference", ""),
    ({"model_image": "a.io/m:1"}, ".models[0].source: has no place where 'model_image' brings", "Leave 'source' out."),
    ({"models": [{"name": "m", "files": {}}]}, ".models[0].files: names no file", ""),
    ({"models": [{"name": "m", "files": {"../a": SOURCE}}]}, ".models[0].files: has a bad path; found '../a'", ""),
    ({"models": [{"name": "m", "files": {"/a": SOURCE}}]}, ".models[0].files: has a bad path; found '/a'", ""),
    ({"models": [{"name": "m", "files": {"a": "b"}}]}, ".models[0].files.a: is not an artifact source", ""),
    (
        {"models": [{"name": "m", "files": {"a": SOURCE, "a/b": SOURCE}}]},
        ".models[0].files: has a file and a folder of one name; found 'a'",
        "",
    ),
    (
        {"models": [{"name": "m", "source": SOURCE, "files": {"a": SOURCE}}]},
        ".models[0].files: says again where the model comes from",
        "Leave one of the two out.",
    ),
]


@pytest.mark.parametrize(("change", "text", "remedy"), BAD, ids=[text for _, text, _ in BAD])
def test_a_mistake_is_told_with_its_place_and_its_mend(change, text, remedy):
    (problem,) = problems({**LEAST, **change})
    assert problem.startswith(f"{WHERE}[0]{text}")
    assert remedy in problem


@pytest.mark.parametrize(
    "image",
    [
        "docker.io/library/nginx:1.27",
        "localhost/a:1",
        "registry:5000/a/b_c-d:v1",
        f"ghcr.io/a/b@sha256:{'0' * 64}",
        f"ghcr.io/a/b:latest@sha256:{'0' * 64}",
    ],
)
def test_full_references_are_accepted(image):
    assert read({**LEAST, "image": image})[0].image == image


def test_models_can_be_an_image():
    (service,) = read({**LEAST, "model_image": "registry.lan/models/shelf:5", "models": [{"name": "m", "version": 5}]})
    assert (service.model_image, service.models) == ("registry.lan/models/shelf:5", (Model("m", 5),))


def test_a_start_takes_whole_questions():
    assert (Probes().startup_failures, Probes(11, 5).startup_failures, Probes(5, 5).startup_failures) == (60, 3, 1)


def test_services_share_neither_name_nor_port():
    assert [line.split(";")[0] for line in problems(LEAST, LEAST)] == [
        f"{WHERE}[1].name: the name is used twice",
        f"{WHERE}[1].port: the port is used twice",
    ]


def test_equal_start_orders_keep_the_order_of_the_list():
    items = [("c", 5, 1), ("a", 9, 2), ("b", 5, 3)]
    services = read(*({**LEAST, "name": name, "start_order": at, "port": port} for name, at, port in items))
    assert [service.name for service in order(services)] == ["c", "b", "a"]


def test_models_lie_in_a_repository_of_tritons_layout():
    assert model_artifacts("s", Model("m", 3, SOURCE)) == {"/var/lib/edgewright/models/s/m/3/model.onnx": SOURCE}
    openvino = Model("m", 1, files={"model.xml": "file:m.xml", "assets/labels.txt": "file:l.txt"})
    assert model_artifacts("s", openvino) == {
        "/var/lib/edgewright/models/s/m/1/assets/labels.txt": "file:l.txt",
        "/var/lib/edgewright/models/s/m/1/model.xml": "file:m.xml",
    }
    assert model_artifacts("s", Model("m", 1)) == {}


def test_images_built_here_have_the_version_as_their_tag():
    assert name_in_store("build:containers/x", version="0.1.0") == "localhost/edgewright/x:0.1.0"
    assert name_in_store("docker.io/library/nginx:1", version="0.1.0") == "docker.io/library/nginx:1"

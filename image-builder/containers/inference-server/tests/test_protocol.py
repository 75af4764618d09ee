from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from server_process import ServerProcess, tensor

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("path", "answer"), [("live", {"live": True}), ("ready", {"ready": True})])
def test_health_answers_what_the_schema_says(server: ServerProcess, path: str, answer: dict[str, bool]) -> None:
    response = server.client.get(f"/v2/health/{path}")
    assert (response.status_code, response.json()) == (200, answer)


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_metadata_names_the_extensions_with_and_without_slash(server: ServerProcess, path: str) -> None:
    answer = server.client.get(path).json()
    assert {"binary_tensor_data", "model_repository"} <= set(answer["extensions"])
    assert answer["name"]
    assert answer["version"]


def test_model_metadata_describes_the_tensors(server: ServerProcess) -> None:
    assert server.client.get("/v2/models/two").json() == {
        "name": "two",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": name, "datatype": "FP32", "shape": [-1]} for name in ("a", "b")],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [-1]} for name in ("sum", "difference")],
    }


def test_versions_are_listed_in_order_of_number_and_a_versioned_path_names_one(server: ServerProcess) -> None:
    assert server.client.get("/v2/models/versions").json()["versions"] == ["1", "2", "10"]
    assert server.client.get("/v2/models/versions/versions/2").json()["versions"] == ["2"]


@pytest.mark.parametrize(("path", "version"), [("", "10"), ("/versions/1", "1"), ("/versions/2", "2")])
def test_infer_uses_the_version_asked_for_or_the_highest(server: ServerProcess, path: str, version: str) -> None:
    body = {"inputs": [tensor("x", "FP32", [1, 2], [1, 2])]}
    answer = server.client.post(f"/v2/models/versions{path}/infer", json=body).json()
    assert answer["model_version"] == version
    assert answer["outputs"][0]["data"] == [int(version), 2 * int(version)]


@pytest.mark.parametrize("path", ["two", "two/versions/1"])
def test_model_ready(server: ServerProcess, path: str) -> None:
    response = server.client.get(f"/v2/models/{path}/ready")
    assert (response.status_code, response.json()) == (200, {"name": "two", "ready": True})


def test_an_id_is_echoed_and_one_is_made_when_there_is_none(server: ServerProcess) -> None:
    inputs = [tensor(name, "FP32", [1], [1]) for name in ("a", "b")]
    assert server.infer("two", *inputs, id="grün 7").json()["id"] == "grün 7"
    made = {server.infer("two", *inputs).json()["id"] for _ in range(2)}
    assert len(made) == 2


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (None, {"sum": [4], "difference": [2]}),
        ([], {"sum": [4], "difference": [2]}),
        ([{"name": "difference"}], {"difference": [2]}),
        ([{"name": "difference"}, {"name": "sum"}], {"difference": [2], "sum": [4]}),
    ],
)
def test_only_the_outputs_asked_for_come_back_in_their_order(
    server: ServerProcess, outputs: list[Any] | None, expected: dict[str, list[float]]
) -> None:
    extra = {} if outputs is None else {"outputs": outputs}
    answer = server.infer("two", tensor("b", "FP32", [1], [1]), tensor("a", "FP32", [1], [3]), **extra).json()
    assert [(output["name"], output["data"]) for output in answer["outputs"]] == list(expected.items())


def test_not_a_number_and_infinity_are_strings_in_json_both_ways(server: ServerProcess) -> None:
    a, b = tensor("a", "FP32", [4], [1, -1, 0, 6]), tensor("b", "FP32", [4], [0, 0, 0, 3])
    data = server.infer("divide", a, b).json()["outputs"][0]["data"]
    assert data == ["Infinity", "-Infinity", "NaN", 2.0]
    again = server.infer("divide", tensor("a", "FP32", [4], data), tensor("b", "FP32", [4], [1, 1, 1, 1]))
    assert again.json()["outputs"][0]["data"] == data


def test_a_scalar_may_be_given_bare_or_in_an_array(server: ServerProcess) -> None:
    for data in (2.5, [2.5]):
        output = server.infer("anything", tensor("x", "FP32", [], data)).json()["outputs"][0]
        assert (output["shape"], output["data"]) == ([], [2.5])


def test_the_batch_limit_of_the_configuration_holds(server: ServerProcess) -> None:
    assert server.infer("batched", tensor("x", "FP32", [4, 2], [0] * 8)).status_code == 200
    response = server.infer("batched", tensor("x", "FP32", [5, 2], [0] * 10))
    assert response.status_code == 400
    assert response.json()["error"] == "inputs[0].shape[0]: found 5; expected at most 4, the model's max_batch_size"


@pytest.mark.parametrize(
    ("method", "path", "status", "part"),
    [
        ("GET", "/v2/models/nope", 404, '"nope" is not in the repository'),
        ("GET", "/v2/models/nope/ready", 404, "nope"),
        ("POST", "/v2/models/nope/infer", 404, "nope"),
        ("GET", "/v2/models/two/versions/2", 404, 'no version "2"; expected one of 1'),
        ("GET", "/v2/models/two/versions/01", 404, 'no version "01"'),
        ("GET", "/v2/models/two/versions/" + "9" * 5000, 404, "no version"),
        ("POST", "/v2/models/%2e%2e/infer", 404, "is not in the repository"),
        ("POST", "/v2/repository/models/%2e%2e/load", 404, "is not in the repository"),
        ("GET", "/nowhere", 404, "/nowhere"),
        ("GET", "/v2/models/two/infer", 405, "expected POST"),
        ("POST", "/v2", 405, "expected GET, HEAD"),
    ],
)
def test_wrong_paths_and_methods_get_an_error_in_the_protocols_form(
    server: ServerProcess, method: str, path: str, status: int, part: str
) -> None:
    response = server.client.request(method, path)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert part in response.json()["error"]
    assert response.headers["content-type"] == "application/json"


def test_nothing_is_written_and_onnxruntime_does_not_report_home(repository: Path, tmp_path: Path) -> None:
    # A CI variable would silence onnxruntime's reports too, so the environment is a bare one, as in a container.
    with ServerProcess(repository, environment={"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}) as server:
        assert server.infer("anything", tensor("x", "FP32", [1], [1])).status_code == 200
        server.terminate()
        assert "telemetry" not in server.log()
    assert list(tmp_path.rglob("*")) == []

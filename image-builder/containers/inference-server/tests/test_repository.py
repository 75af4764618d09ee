"""The model repository: what is served, and how it changes under traffic."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import onnx_models
import pytest
from server_process import ServerProcess, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE = tensor("x", "FP32", [1, 2], [1, 2])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    onnx_models.publish(tmp_path, "m", onnx_models.scaled(1))
    return tmp_path


@pytest.fixture
def live(root: Path) -> Iterator[ServerProcess]:
    with ServerProcess(root) as process:
        yield process
        assert "event=internal_error" not in process.log()


def change(server: ServerProcess, name: str, verb: str, **body: Any) -> tuple[int, str]:
    response = server.client.post(f"/v2/repository/models/{name}/{verb}", json=body)
    return response.status_code, response.json().get("error", "")


def factor(server: ServerProcess) -> float:
    answer = server.infer("m", ONE).json()
    return float(answer["outputs"][0]["data"][0])


def index(server: ServerProcess, **body: Any) -> list[tuple[str, str, str]]:
    rows = server.client.post("/v2/repository/index", json=body).json()
    return [(row["name"], row["version"], row["state"]) for row in rows]


def test_load_brings_the_new_highest_version_and_the_index_shows_both(live: ServerProcess, root: Path) -> None:
    onnx_models.publish(root, "m", onnx_models.scaled(7), 12)
    assert factor(live) == 1
    assert change(live, "m", "load") == (200, "")
    assert factor(live) == 7
    assert index(live) == [("m", "1", "UNAVAILABLE"), ("m", "12", "READY")]
    assert index(live, ready=True) == [("m", "12", "READY")]
    assert live.metric("inference_server_model_version_loaded", model="m", version="12") == 1
    assert live.metric("inference_server_model_version_loaded", model="m", version="1") == 0


def test_a_load_that_fails_keeps_the_old_version_serving_and_says_why(live: ServerProcess, root: Path) -> None:
    onnx_models.publish(root, "m", b"not a model", 2)
    status, error = change(live, "m", "load")
    assert status == 400
    assert "version 2: model.onnx: " in error
    assert "still serving version 1" in error
    assert factor(live) == 1
    assert live.client.get("/v2/health/ready").status_code == 200
    assert live.metric("inference_server_model_loads_total", model="m", outcome="failure") == 1


def test_unload_ends_serving_and_load_brings_it_back(live: ServerProcess) -> None:
    assert change(live, "m", "unload", parameters={"unload_dependents": True}) == (200, "")
    response = live.infer("m", ONE)
    assert response.status_code == 404
    assert "is unloaded; POST /v2/repository/models/m/load" in response.json()["error"]
    assert index(live) == [("m", "1", "UNAVAILABLE")]
    assert live.client.get("/v2/health/ready").status_code == 200
    assert change(live, "m", "load") == (200, "")
    assert factor(live) == 1


def test_a_model_that_appears_later_can_be_loaded(live: ServerProcess, root: Path) -> None:
    assert change(live, "later", "load")[0] == 404
    onnx_models.publish(root, "later", onnx_models.scaled(3))
    assert change(live, "later", "load") == (200, "")
    assert live.infer("later", ONE).status_code == 200


def test_reloading_under_traffic_loses_no_request(live: ServerProcess, root: Path) -> None:
    stop = threading.Event()
    seen: list[tuple[int, float]] = []

    def ask() -> None:
        while not stop.is_set():
            response = live.infer("m", ONE)
            seen.append((response.status_code, response.json()["outputs"][0]["data"][0]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(2, 12):
        onnx_models.publish(root, "m", onnx_models.scaled(version), version)
        assert change(live, "m", "load") == (200, "")
    stop.set()
    for thread in threads:
        thread.join()
    assert len(seen) > 50
    assert {status for status, _ in seen} == {200}
    assert {value for _, value in seen} <= set(range(1, 12))
    assert factor(live) == 11


def test_unloading_under_traffic_answers_every_request_with_200_or_a_clear_404(live: ServerProcess) -> None:
    stop = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        while not stop.is_set():
            statuses.append(live.infer("m", ONE).status_code)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        assert change(live, "m", "unload")[0] == 200
        assert change(live, "m", "load")[0] == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 404}
    assert statuses.count(200) > 10


@pytest.mark.parametrize(
    ("verb", "body", "part"),
    [
        ("load", {"parameters": {"config": "{}"}}, "parameters.config: is not supported"),
        ("load", {"parameters": []}, "parameters: found []; expected an object"),
        ("unload", {"parameters": {"unload_dependents": 1}}, "unload_dependents: found 1; expected bool"),
    ],
)
def test_load_parameters_that_would_be_ignored_are_refused(
    live: ServerProcess, verb: str, body: dict[str, Any], part: str
) -> None:
    status, error = change(live, "m", verb, **body)
    assert status == 400
    assert part in error


def test_control_switched_off_refuses_changes_but_shows_the_index(root: Path) -> None:
    with ServerProcess(root, "--model-control=none") as server:
        assert change(server, "m", "unload")[0] == 403
        assert index(server) == [("m", "1", "READY")]


def test_a_broken_model_at_start_makes_the_server_alive_but_not_ready(root: Path) -> None:
    onnx_models.publish(root, "broken", b"\x00")
    with ServerProcess(root, wait="live") as server:
        server.until(lambda: "event=started" in server.log())
        assert server.client.get("/v2/health/ready").status_code == 503
        assert server.client.get("/v2/models/broken/ready").json() == {"name": "broken", "ready": False}
        response = server.infer("broken", ONE)
        assert response.status_code == 503
        assert "could not be loaded: version 1" in response.json()["error"]
        assert factor(server) == 1


@pytest.mark.parametrize("name", ["0", "01", "x", "-1", ".hidden", "1.5", "²"])
def test_folders_that_are_no_versions_are_left_alone(root: Path, name: str) -> None:
    (root / "m" / name).mkdir()
    with ServerProcess(root) as server:
        assert server.client.get("/v2/models/m").json()["versions"] == ["1"]


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", ["3"]),
        ("version_policy: { latest { num_versions: 2 } }", ["2", "3"]),
        ("version_policy { all {} }", ["1", "2", "3"]),
        ("version_policy: { specific { versions: [1, 3] } }", ["1", "3"]),
        ("version_policy: { specific: { versions: 1 versions: 2 } }", ["1", "2"]),
    ],
)
def test_the_version_policy_chooses(root: Path, policy: str, versions: list[str]) -> None:
    for version in (2, 3):
        onnx_models.publish(root, "m", onnx_models.scaled(version), version, policy)
    with ServerProcess(root) as server:
        assert server.client.get("/v2/models/m").json()["versions"] == versions


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ("max_batch_size: x", "line 1: max_batch_size: found x; expected a whole number"),
        ("name: 'other'", "line 1: name: found 'other'; expected 'm'"),
        ("platform: 'tensorrt_plan'", "platform: found 'tensorrt_plan'; expected 'onnxruntime_onnx'"),
        ("\nbackend: 'python'", "line 2: backend: found 'python'; expected 'onnxruntime'"),
        ("sequence_batching { }", "sequence_batching is not supported by this server"),
        ("nonsense: 1", "line 1: nonsense is not supported"),
        ("max_batch_size: 1 max", "line 1: found 'end of file'; expected ':' and a value"),
        ("version_policy { specific { versions: 9 } }", "versions [9] are not there; found [1]"),
        ("version_policy { latest { num_versions: 0 } }", "expected one of latest"),
        ("default_model_filename: '../../m/1/model.onnx'", "expected a file name without a folder"),
        ("default_model_filename: 'other.onnx'", "version 1: no file other.onnx"),
        ("input { name: 'z' }", "input 'z' is not in the model; expected one of x"),
        ("input { name: 'x' data_type: TYPE_INT8 }", "data_type differs from the model's FP32"),
        ("input { name: 'x' data_type: TYPE_X }", "data_type: found TYPE_X; expected one of TYPE_BOOL"),
        ("input { name: 'x' dims: [1, 3] }", "dims [1, 3] contradict the model's shape [-1, 2]"),
        ("input { name: 'x' dims: 2 reshape { shape: [2, 1] } }", "input.reshape is not supported"),
    ],
)
def test_a_configuration_that_cannot_be_honoured_is_refused_with_its_line(
    live: ServerProcess, root: Path, config: str, part: str
) -> None:
    (root / "m" / "config.pbtxt").write_text(config)
    status, error = change(live, "m", "load")
    assert status == 400
    assert part in error
    assert factor(live) == 1


def test_a_batch_limit_needs_a_variable_first_dimension(live: ServerProcess, root: Path) -> None:
    onnx_models.publish(root, "fixed", onnx_models.identity("FP32", [1, 2]), config="max_batch_size: 2")
    assert "needs a variable first dimension" in change(live, "fixed", "load")[1]


def test_a_configuration_narrows_the_shape_and_what_is_left_out_is_logged(live: ServerProcess, root: Path) -> None:
    config = """
        name: "wide" platform: "onnxruntime_onnx"  # a comment
        input [ { name: "x", data_type: TYPE_FP32, dims: [ 3, -1 ], format: FORMAT_NONE } ]
        instance_group [ { count: 2 kind: KIND_CPU } ]
        dynamic_batching { max_queue_delay_microseconds: 100 }
    """
    onnx_models.publish(root, "wide", onnx_models.identity("FP32"), config=config)
    assert change(live, "wide", "load") == (200, "")
    assert live.client.get("/v2/models/wide").json()["inputs"][0]["shape"] == [3, -1]
    assert live.infer("wide", ONE).status_code == 400
    assert 'event=config_fields_ignored model=wide fields="instance_group,dynamic_batching"' in live.log()


def test_a_model_that_the_protocol_cannot_carry_is_refused_with_a_reason(live: ServerProcess, root: Path) -> None:
    onnx_models.publish(root, "sequence", onnx_models.sequence_output())
    status, error = change(live, "sequence", "load")
    assert status == 400
    assert "output 'y' is a seq(tensor(float)), which the protocol cannot carry" in error


def test_a_repository_that_is_not_there_is_logged_and_never_ready(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "nowhere", wait="live") as server:
        server.until(lambda: "event=repository_unreadable" in server.log())
        assert server.client.get("/v2/health/ready").status_code == 503

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_models
import pytest
from inference_server.errors import KINDS
from prometheus_client.parser import text_string_to_metric_families
from server_process import ServerProcess, tensor

if TYPE_CHECKING:
    from pathlib import Path

    from server_process import ServerProcess as Server


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    onnx_models.publish(tmp_path, "m", onnx_models.scaled(1), 3)
    return tmp_path


def test_requests_are_counted_by_model_version_and_outcome(counted: Path) -> None:
    with ServerProcess(counted) as server:
        for _ in range(3):
            server.infer("m", tensor("x", "FP32", [1, 2], [1, 2]))
        server.infer("m")
        for number in range(5):
            server.infer(f"unknown-{number}")
        name, m = "inference_server_requests_total", {"model": "m", "version": "3"}
        assert server.metric(name, **m, outcome="success") == 3
        assert server.metric(name, **m, outcome="client_error") == 1
        assert server.metric(name, model="", version="", outcome="client_error") == 5
        assert server.metric("inference_server_request_duration_seconds_count", **m) == 3
        assert server.metric("inference_server_inference_duration_seconds_count", **m) == 3
        assert 0 < server.metric("inference_server_request_duration_seconds_sum", **m) < 3
        assert server.metric("inference_server_errors_total", kind="unknown_model") == 5
        assert server.metric("inference_server_model_version_loaded", **m) == 1
        assert "unknown-" not in server.client.get("/metrics").text


def test_the_text_is_what_prometheus_reads_and_labels_stay_bounded(server: Server) -> None:
    response = server.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    kinds = {sample.labels["kind"] for sample in families["inference_server_errors"].samples if "kind" in sample.labels}
    assert kinds == set(KINDS)
    assert "process_resident_memory_bytes" in families
    assert families["inference_server_queue_capacity"].samples[0].value == 32


def test_the_access_log_has_one_line_for_each_request_and_no_body(counted: Path) -> None:
    with ServerProcess(counted, "--access-log=true") as server:
        server.infer("m", tensor("x", "FP32", [1, 2], [12345.5, 2]))
        server.infer("evil%20name%0Alevel=forged", id="secret")
        server.until(lambda: server.log().count("event=inference") == 2)
        lines = server.log().splitlines()
        assert all(line.startswith("level=") for line in lines)
        assert [line for line in lines if "model=m " in line and "outcome=success" in line]
        assert not [line for line in lines if line.startswith("level=forged")]
        assert "12345" not in server.log()
        assert "secret" not in server.log()

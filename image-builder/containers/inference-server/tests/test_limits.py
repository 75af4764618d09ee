"""The bounds: body, queue, time, and the end of the process."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import onnx_models
import pytest
from server_process import Background, ServerProcess, tensor

if TYPE_CHECKING:
    from pathlib import Path

FOR_EVER = 10**12


@pytest.fixture(scope="module")
def slow_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("slow")
    onnx_models.publish(root, "slow", onnx_models.slow())
    onnx_models.publish(root, "stuck", onnx_models.stuck())
    return root


def rounds(number: int) -> dict[str, Any]:
    return tensor("n", "INT64", [1], [number])


def rounds_for(server: ServerProcess, seconds: float) -> int:
    """Return how many rounds of the slow model take about so many seconds here and now."""
    probe = 20_000
    start = time.monotonic()
    assert server.infer("slow", rounds(probe)).status_code == 200
    return int(probe * seconds / (time.monotonic() - start))


def test_a_body_over_the_limit_is_a_413_announced_or_not(server: ServerProcess) -> None:
    body = b" " * (2**20 + 1)
    for content in (body, iter([body[:1000], body[1000:]])):
        response = server.client.post("/v2/models/two/infer", content=content)
        assert response.status_code == 413
        assert response.json() == {"error": "body: is larger than the limit of 1048576 bytes"}
    assert server.client.post("/v2/models/two/infer", content=body[1:]).status_code == 400


def test_an_announced_length_over_the_limit_is_refused_before_the_body_comes(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"POST /v2/models/two/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_full_queue_answers_503_at_once_and_serves_again_when_it_has_room(slow_models: Path) -> None:
    with ServerProcess(slow_models, "--concurrency=1", "--queue-size=2", "--request-timeout=60") as server:
        number = rounds_for(server, 1.0)
        calls = [Background(lambda: server.infer("slow", rounds(number))) for _ in range(3)]
        server.until(lambda: server.metric("inference_server_queue_length") == 2)
        assert server.metric("inference_server_running") == 1
        start = time.monotonic()
        refused = server.infer("slow", rounds(1))
        assert time.monotonic() - start < 0.5
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"].startswith("the queue is full: 1 running and 2 waiting")
        assert server.client.get("/v2/health/ready").status_code == 200
        assert [call.result().status_code for call in calls] == [200] * 3
        assert server.infer("slow", rounds(1)).status_code == 200
        labels = {"model": "slow", "version": "1", "outcome": "rejected"}
        assert server.metric("inference_server_requests_total", **labels) == 1


def test_overload_answers_every_request_and_leaves_nothing_behind(slow_models: Path) -> None:
    with ServerProcess(slow_models, "--concurrency=2", "--queue-size=3", "--request-timeout=2") as server:

        def visit(length: int, last: int) -> list[int]:
            """Ask again until the answer is ``last``."""
            statuses: list[int] = []
            while last not in statuses:
                statuses.append(server.infer("slow", rounds(length)).status_code)
            return statuses

        endless = [Background(lambda: visit(FOR_EVER, 504)) for _ in range(3)]
        quick = [Background(lambda: visit(1, 200)) for _ in range(20)]
        statuses = [status for visitor in endless + quick for status in visitor.result()]
        assert set(statuses) == {200, 503, 504}
        server.until(lambda: server.metric("inference_server_running") == 0)
        assert server.metric("inference_server_queue_length") == 0
        assert server.metric("inference_server_errors_total", kind="internal") == 0


def test_a_request_that_takes_too_long_is_a_504_and_its_thread_is_free_again(slow_models: Path) -> None:
    with ServerProcess(slow_models, "--concurrency=1", "--request-timeout=0.5") as server:
        start = time.monotonic()
        running = Background(lambda: server.infer("slow", rounds(FOR_EVER)))
        server.until(lambda: server.metric("inference_server_running") == 1)
        waiting = Background(lambda: server.infer("slow", rounds(FOR_EVER)))
        for call in (running, waiting):
            assert call.result().status_code == 504
            assert call.result().json() == {"error": "the inference did not finish within 0.5 seconds"}
        assert time.monotonic() - start < 5
        server.until(lambda: server.metric("inference_server_running") == 0)
        assert server.infer("slow", rounds(1)).status_code == 200


def test_a_body_that_never_comes_is_a_408(slow_models: Path) -> None:
    with (
        ServerProcess(slow_models, "--request-timeout=0.3") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection,
    ):
        connection.sendall(b"POST /v2/models/slow/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))  # the server closes the connection
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"body: did not arrive within 0.3 seconds" in answer


def test_health_answers_quickly_while_every_thread_is_busy(slow_models: Path) -> None:
    with ServerProcess(slow_models, "--concurrency=1", "--intra-op-threads=1") as server:
        number = rounds_for(server, 2.0)
        call = Background(lambda: server.infer("slow", rounds(number)))
        server.until(lambda: server.metric("inference_server_running") == 1)
        start = time.monotonic()
        for _ in range(20):
            assert server.client.get("/v2/health/live").status_code == 200
        assert time.monotonic() - start < 1
        assert call.result().status_code == 200


def test_a_stop_lets_requests_finish_shows_it_in_ready_and_ends_with_0(slow_models: Path) -> None:
    limits = ("--stop-timeout=300", "--request-timeout=300")  # a machine that is busy all at once is no failure
    with ServerProcess(slow_models, "--concurrency=1", *limits) as server:
        number = rounds_for(server, 2)
        calls = [Background(lambda: server.infer("slow", rounds(number))) for _ in range(2)]
        server.until(lambda: server.metric("inference_server_queue_length") == 1)
        server.process.terminate()
        server.until(lambda: "event=stopping" in server.log())
        ready = server.client.get("/v2/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"ready": False})
        assert server.client.get("/v2/models/slow/ready").status_code == 503
        assert server.client.get("/v2/health/live").status_code == 200
        late = server.infer("slow", rounds(1))
        assert late.status_code == 503
        assert "the server is stopping" in late.json()["error"]
        assert [call.result().status_code for call in calls] == [200, 200]
        assert server.process.wait(30) == 0
        assert "event=requests_cut" not in server.log()


def test_a_stop_cuts_what_takes_longer_than_its_time(slow_models: Path) -> None:
    with ServerProcess(slow_models, "--concurrency=1", "--stop-timeout=0.5") as server:
        calls = [Background(lambda: server.infer("slow", rounds(FOR_EVER))) for _ in range(2)]
        server.until(lambda: server.metric("inference_server_queue_length") == 1)
        assert server.terminate() < 5
        assert server.process.returncode == 0
        for call in calls:
            assert call.result().status_code == 503
            assert "the server is stopping" in call.result().json()["error"]
        assert "event=requests_cut count=2" in server.log()


def test_a_kernel_that_cannot_be_stopped_does_not_hold_the_process(slow_models: Path) -> None:
    with ServerProcess(slow_models, "--concurrency=1", "--stop-timeout=0.2") as server:
        call = Background(lambda: server.infer("stuck", tensor("size", "INT64", [2], [9000, 9000])))
        # The matrix is filled, by a kernel of its own, in a fraction of this.
        began = server.cpu_seconds()
        server.until(lambda: server.cpu_seconds() - began > 2)
        assert server.terminate() < 6
        assert server.process.returncode == 0
        assert call.result().status_code == 503
        assert "event=stopped unfinished=1" in server.log()


def test_a_server_that_still_loads_answers_so_and_can_be_stopped(tmp_path: Path) -> None:
    onnx_models.publish(tmp_path, "big", onnx_models.slow_to_load(9000))
    with ServerProcess(tmp_path, wait="live") as server:
        assert server.client.get("/v2/health/ready").status_code == 503
        response = server.infer("big", tensor("x", "FP32", [1], [1]))
        assert response.status_code == 503
        assert response.json() == {"error": 'model "big" is being loaded'}
        assert response.headers["Retry-After"] == "1"
        rows = server.client.post("/v2/repository/index").json()
        assert rows == [{"name": "big", "version": "1", "state": "LOADING", "reason": ""}]
        assert server.terminate() < 4
        assert server.process.returncode == 0


def test_an_idle_server_stops_at_once_with_0(slow_models: Path) -> None:
    with ServerProcess(slow_models) as server:
        assert server.terminate() < 2
        assert server.process.returncode == 0
        lines = [line for line in server.log().splitlines() if not line.startswith("level=")]
        assert lines == []

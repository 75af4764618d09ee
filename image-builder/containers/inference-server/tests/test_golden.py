"""The golden set is asked of a real server by the program that does it beside one in a pod."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import onnx_models
import pytest
import yaml
from server_process import SOURCE, ServerProcess, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RIGHT = {
    "model": "double",
    "version": "1",
    "inputs": [tensor("x", "FP32", [1, 2], [1.5, -4])],
    "outputs": [{"name": "y", "data": [3, -8]}],
    "tolerance": 1e-5,
}
WRONG = {**RIGHT, "outputs": [{"name": "y", "data": [3, 8]}]}
RECIPE = SOURCE.parent / "container.yml"
SHARED = "ansible_collections/edgewright/edge/plugins/module_utils"
COLLECTIONS = SOURCE.parents[3] / "collections"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    onnx_models.publish(tmp_path / "models", "double", onnx_models.scaled(2))
    return tmp_path / "models"


class Asked:
    """The program with one golden set, beside the server on a port."""

    def __init__(self, folder: Path, server: int, *cases: dict[str, Any], timeout: float = 10) -> None:
        self.port = free_port()
        (folder / "golden.json").write_text(json.dumps(cases))
        # Of the project it has what its image has, and of Python what comes with it (-S).
        for name in yaml.safe_load(RECIPE.read_text())["module_utils"]:
            (folder / SHARED).mkdir(parents=True, exist_ok=True)
            shutil.copy(COLLECTIONS / SHARED / f"{name}.py", folder / SHARED)
        words = [f"--url=http://127.0.0.1:{server}", f"--cases={folder}/golden.json", f"--port={self.port}"]
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-m", "inference_server.golden", *words, f"--timeout={timeout}"],
            env={**os.environ, "PYTHONPATH": f"{SOURCE}:{folder}"},
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


@contextmanager
def asked(folder: Path, server: int, *cases: dict[str, Any], timeout: float = 10) -> Iterator[Asked]:
    golden = Asked(folder, server, *cases, timeout=timeout)
    try:
        yield golden
    finally:
        golden.process.kill()
        golden.process.wait()


def test_right_answers_open_the_port_and_are_asked_for_once(models: Path, tmp_path: Path) -> None:
    with ServerProcess(models) as server, asked(tmp_path, server.port, RIGHT, {**RIGHT, "version": None}) as golden:
        until(lambda: is_open(golden.port))
        time.sleep(1)
        assert is_open(golden.port)
        assert server.metric("inference_server_requests_total", model="double", version="1", outcome="success") == 2
        golden.process.send_signal(signal.SIGTERM)
        assert golden.end()[0] == 0


def test_a_wrong_answer_is_told_and_the_port_stays_closed(models: Path, tmp_path: Path) -> None:
    with ServerProcess(models) as server, asked(tmp_path, server.port, RIGHT, WRONG) as golden:
        status, said = golden.end()
        assert status == 1
        assert "golden[1], model double: output 'y' value 1 is -8.0, expected 8" in said
        assert not is_open(golden.port)


def test_a_question_that_the_server_refuses_is_told(models: Path, tmp_path: Path) -> None:
    question = {**RIGHT, "inputs": [tensor("z", "FP32", [1, 2], [1, 2])]}
    with ServerProcess(models) as server, asked(tmp_path, server.port, question) as golden:
        status, said = golden.end()
        assert status == 1
        assert "golden[0], model double: " in said
        assert "answered 400" in said


def test_a_server_that_comes_later_is_waited_for_and_asked_again_when_it_was_restarted(
    models: Path, tmp_path: Path
) -> None:
    port = free_port()
    with asked(tmp_path, port, RIGHT) as golden:
        time.sleep(0.5)
        assert golden.process.poll() is None
        with ServerProcess(models, f"--port={port}") as server:
            until(lambda: is_open(golden.port))
            server.process.kill()
            server.process.wait()
            status, said = golden.end()
    assert status == 0
    assert "waiting: " in said
    assert "the server has ended" in said


class Impatient(BaseHTTPRequestHandler):
    """Closes a connection that asks nothing for a moment, as many servers do after minutes."""

    timeout = 0.2
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Rude(Impatient):
    """Resets it instead, as some do, and what is between two machines."""

    def finish(self) -> None:
        super().finish()
        if not hasattr(self, "command"):  # it was asked nothing
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


@pytest.mark.parametrize("kind", [Impatient, Rude])
def test_a_server_that_closes_idle_connections_has_not_ended(tmp_path: Path, kind: type[Impatient]) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    with asked(tmp_path, server.server_address[1]) as golden:
        until(lambda: is_open(golden.port))
        time.sleep(1.5)
        assert golden.process.poll() is None
        server.shutdown()
        server.server_close()
        assert golden.end()[0] == 0

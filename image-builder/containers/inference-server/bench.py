"""Measure the server against onnxruntime alone, side by side with one model, and print the figures as JSON.

Both sides use the same session settings. "bare" is a loop of ``session.run`` in this process on ready arrays;
"json" and "binary" are whole HTTP requests on a kept-alive loopback connection to a server process. Rounds alternate,
so that a busy machine disturbs all sides alike. Throughput: as many requests at a time as the server runs.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "src")]

from inference_server.binary_tensors import encode  # noqa: E402 - after the path above
from inference_server.cpus import usable_cpus  # noqa: E402 - after the path above
from inference_server.model import Cancellation, Model, SessionSettings  # noqa: E402 - after the path above
from inference_server.model_config import ModelConfig  # noqa: E402 - after the path above


def main() -> None:
    """Run the bench; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="an ONNX file; default: a small one, made with the onnx package")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each side and kind of measurement")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench" / "1" / "model.onnx"
        path.parent.mkdir(parents=True)
        if options.model:
            path.symlink_to(options.model.resolve())
        else:
            path.write_bytes(small_model())
        figures = measure(Path(folder), path, options.seconds, options.rounds)
    figures["model"] = options.model.name if options.model else "add, FP32 [1, 16]"
    print(json.dumps(figures, indent=2))


def small_model() -> bytes:
    """Return a model whose own work is next to nothing, so that what is measured is the server."""
    from onnx import TensorProto, helper

    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 16]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "add", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def measure(repository: Path, path: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Return latency and throughput of the bare session and of the server, both wire forms."""
    cpus = usable_cpus()
    model = Model.load("bench", 1, path, ModelConfig(), SessionSettings(cpus, spinning=False, memory_arena=True))
    inputs = {
        spec.name: np.ones([abs(dim) for dim in spec.shape], spec.datatype.dtype)
        for spec in model.signature.inputs.values()
    }
    outputs = list(model.signature.outputs)
    requests = {form: request(model, inputs, binary=form == "binary") for form in ("json", "binary")}
    with Server(repository) as server:

        def bare() -> Callable[[], object]:
            return lambda: model.run(inputs, outputs, Cancellation())

        def over_http(form: str) -> Callable[[], Callable[[], object]]:
            return lambda: Client(server.port, requests[form]).ask

        sides = {"bare": bare, **{form: over_http(form) for form in requests}}
        times: dict[str, list[float]] = {name: [] for name in sides}
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for round_number in range(rounds + 1):  # the first one warms up
            for name, side in sides.items():
                found = latencies(side(), seconds / rounds)
                rate = throughput(side, cpus, seconds / rounds)
                if round_number:
                    times[name] += found
                    rates[name].append(rate)
    result: dict[str, Any] = {name: summary(times[name], rates[name]) for name in sides}
    for form in requests:
        result[f"overhead_{form}"] = {
            f"{key}_ms": round(result[form][f"{key}_ms"] - result["bare"][f"{key}_ms"], 4) for key in ("p50", "p99")
        }
    return result | {"cpus": cpus}


def summary(times: list[float], rates: list[float]) -> dict[str, float]:
    """Return percentiles in milliseconds and the median rate of the rounds."""
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    return {
        "p50_ms": round(float(p50), 4),
        "p99_ms": round(float(p99), 4),
        "per_second": round(float(np.median(rates)), 1),
        "samples": len(times),
    }


def latencies(call: Callable[[], object], seconds: float) -> list[float]:
    """Return the duration of each call, made one after another."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        call()
        times.append(time.perf_counter() - start)
    return times


def throughput(side: Callable[[], Callable[[], object]], clients: int, seconds: float) -> float:
    """Return calls in a second, from ``clients`` threads at once."""
    counts: list[int] = []

    def work() -> None:
        counts.append(len(latencies(side(), seconds)))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def request(model: Model, inputs: dict[str, np.ndarray[Any, Any]], *, binary: bool) -> bytes:
    """Return a whole HTTP request."""
    entries: list[dict[str, Any]] = []
    tail = b""
    for name, array in inputs.items():
        datatype = model.signature.inputs[name].datatype
        entry: dict[str, Any] = {"name": name, "datatype": datatype.name, "shape": array.shape}
        if binary:
            data = encode(array, datatype)
            entry["parameters"] = {"binary_data_size": len(data)}
            tail += data
        else:
            entry["data"] = array.reshape(-1).tolist()
        entries.append(entry)
    head = json.dumps({"id": "1", "inputs": entries, "parameters": {"binary_data_output": binary}}).encode()
    lines = ["POST /v2/models/bench/infer HTTP/1.1", "Host: localhost", f"Content-Length: {len(head) + len(tail)}"]
    lines += [f"Inference-Header-Content-Length: {len(head)}"] if binary else []
    return "\r\n".join([*lines, "", ""]).encode() + head + tail


class Client:
    """One kept-alive connection that always sends the same request; as thin as can be, so as not to be measured."""

    def __init__(self, port: int, message: bytes) -> None:
        self._message = message
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> None:
        """Send the request and read the whole answer."""
        self._socket.sendall(self._message)
        answer = self._socket.recv(65536)
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._socket.recv(65536)
        head = answer[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(answer.decode(errors="replace"))
        length = int(head.split(b"\r\ncontent-length: ", 1)[1].split(b"\r\n", 1)[0])
        missing = end + 4 + length - len(answer)
        while missing > 0:
            missing -= len(self._socket.recv(missing))


class Server:
    """A server process on a free port, ready when entered."""

    def __init__(self, repository: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        arguments = [f"--port={self.port}", "--host=127.0.0.1", f"--model-repository={repository}"]
        self._argv = [sys.executable, "-m", "inference_server", *arguments, "--log-level=warning"]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._argv, env={**os.environ, "PYTHONPATH": str(HERE / "src")})
        message = b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for _ in range(200):
            try:
                Client(self.port, message).ask()
            except (OSError, RuntimeError):
                time.sleep(0.05)
            else:
                return self
        self._process.kill()
        raise RuntimeError("the server did not become ready")

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait(30)


if __name__ == "__main__":
    main()

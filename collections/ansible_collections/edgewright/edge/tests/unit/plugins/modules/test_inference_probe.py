"""The probe against a real server on a real socket that speaks the protocol, well or badly."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Doubler(BaseHTTPRequestHandler):
    """A server with one model, ``double``, in versions 1 and 2 (the newer adds one)."""

    ready_after = 0.0
    asked: list[str]
    told = ""

    def do_GET(self):
        self.asked.append(self.path)
        if time.monotonic() < self.ready_after:
            self.answer(400, {"error": "still loading"})
        elif self.path in ("/v2/health/ready", "/v2/models/double/ready", "/v2/models/double/versions/1/ready"):
            self.answer(200, {})
        else:
            self.answer(404, {"error": f"no such thing: {self.path}"})

    def do_POST(self):
        self.asked.append(self.path)
        (tensor,) = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]
        if tensor["datatype"] != "FP32":
            self.answer(400, {"error": "input 'x' must be FP32"})
            return
        if self.told:
            self.reply(200, self.told.encode())
            return
        version = "1" if "/versions/1/" in self.path else "2"
        data = [2 * value + (version == "2") for value in tensor["data"]]
        output = {"name": "y", "datatype": "FP32", "shape": tensor["shape"], "data": data}
        self.answer(200, {"model_name": "double", "model_version": version, "outputs": [output]})

    def answer(self, status, body):
        self.reply(status, json.dumps(body).encode())

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Doubler,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        handler.url = f"http://127.0.0.1:{running.server_port}"
        yield handler
        running.shutdown()


@pytest.fixture
def over_tls(tmp_path):
    """A server with a certificate that only its own file vouches for."""
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    made += ["-subj", "/CN=box", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.pem"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    handler = type("Handler", (Doubler,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
        running.socket = context.wrap_socket(running.socket, server_side=True)
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{running.server_port}", tmp_path
        running.shutdown()


@pytest.fixture
def probe(run_module):
    return lambda **arguments: run_module("inference_probe", **{"timeout": 0, **arguments})


X = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1.0, 2.5]}


def test_a_server_over_tls_is_believed_by_its_authority_only(probe, over_tls):
    url, folder = over_tls
    assert not probe(url=url, ca_path=str(folder / "ca.pem")).get("failed")
    assert "CERTIFICATE_VERIFY_FAILED" in probe(url=url)["msg"]
    for name in ("key.pem", "none.pem"):
        message = probe(url=url, ca_path=str(folder / name))["msg"]
        assert message.startswith(f"ca_path: {folder / name} cannot be read as certificates (")


def test_a_refusal_whose_body_never_comes_is_told_as_one(probe, server):
    def promise(handler, *_):
        handler.send_response(503)
        handler.send_header("Content-Length", "9")
        handler.end_headers()
        time.sleep(1.5)

    server.reply = promise
    told = probe(url=server.url, timeout=1)["msg"]
    assert told.startswith("not ready within 1 s: ")
    assert "/v2/health/ready answered 503: nothing (timed out)" in told


def test_a_ready_server_is_enough_without_a_model(probe, server):
    result = probe(url=f"{server.url}/")
    assert not result["changed"]
    assert server.asked == ["/v2/health/ready"]


def test_a_right_answer_is_returned(probe, server):
    result = probe(url=server.url, model="double", inputs=[X], outputs=[{"name": "y", "shape": [2], "data": [3, 6]}])
    assert not result["changed"]
    assert result["model_version"] == "2"
    assert result["outputs"][0]["data"] == [3.0, 6.0]
    assert 0 < result["seconds"] < 10


def test_a_version_can_be_asked_for(probe, server):
    result = probe(url=server.url, model="double", version="1", inputs=[X], outputs=[{"name": "y", "data": [2, 5]}])
    assert result["model_version"] == "1"
    assert server.asked[-1] == "/v2/models/double/versions/1/infer"


def test_check_mode_asks_and_fails_alike(probe, server):
    result = probe(url=server.url, model="double", inputs=[X], outputs=[{"name": "y", "data": [3, 7]}], check=True)
    assert result["failed"]
    assert result["msg"] == "The answer is not the expected one: output 'y' value 1 is 6.0, expected 7"
    assert result["differences"] == ["output 'y' value 1 is 6.0, expected 7"]


@pytest.mark.parametrize(("tolerance", "good"), [(0.01, True), (0.0001, False)])
def test_tolerance_is_the_distance_allowed(probe, server, tolerance, good):
    outputs = [{"name": "y", "data": [3.003, 6]}]
    result = probe(url=server.url, model="double", inputs=[X], outputs=outputs, tolerance=tolerance)
    assert ("failed" not in result) == good


def test_it_waits_until_the_server_is_ready(probe, server):
    server.ready_after = time.monotonic() + 1
    assert not probe(url=server.url, timeout=20).get("failed")
    assert len(server.asked) > 1


def test_what_is_not_ready_in_time_says_why(probe, server):
    server.ready_after = time.monotonic() + 60
    result = probe(url=server.url, timeout=1)
    assert result["msg"] == f"not ready within 1 s: {server.url}/v2/health/ready answered 400: still loading"


def test_a_model_that_is_not_there_says_so(probe, server):
    result = probe(url=server.url, model="triple")
    assert result["msg"].endswith("/v2/models/triple/ready answered 404: no such thing: /v2/models/triple/ready")


def test_a_refused_question_says_why(probe, server):
    result = probe(url=server.url, model="double", inputs=[{**X, "datatype": "FP64"}])
    assert result["msg"].endswith("/v2/models/double/infer answered 400: input 'x' must be FP32")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("<html>", "the answer is not JSON: <html>"),
        ("[]", "the answer is not a JSON object"),
        ("{}", "The answer is not the expected one: the answer has no 'outputs'"),
    ],
)
def test_an_answer_that_is_none_says_so(probe, server, told, message):
    server.told = told
    assert probe(url=server.url, model="double", inputs=[X], outputs=[{"name": "y"}])["msg"] == message


def test_nobody_there_says_so(probe):
    assert "http://127.0.0.1:1/v2/health/ready gave no answer" in probe(url="http://127.0.0.1:1")["msg"]


def test_a_proxy_of_the_environment_is_not_used(probe, server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert not probe(url=server.url).get("failed")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "file:///etc/passwd"}, "url: found 'file:///etc/passwd', expected http://HOST:PORT"),
        ({"url": "http://x", "version": "1"}, "missing parameter(s) required by 'version': model"),
        ({"url": "http://x", "inputs": [X]}, "missing parameter(s) required by 'inputs': model"),
        ({"url": "http://x", "model": "m", "inputs": [{"name": "x"}]}, "inputs[0]: datatype, shape, data is missing"),
        ({"url": "http://x", "model": "m", "inputs": [X], "outputs": [{}]}, "outputs[0]: name is missing"),
        ({"url": "http://x", "tolerance": -1}, "tolerance: found -1.0, expected a number from 0"),
        ({"url": "http://x", "timeout": -1}, "timeout: found -1, expected seconds from 0"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_asked(probe, arguments, message):
    result = probe(**arguments)
    assert result["failed"]
    assert message in result["msg"]

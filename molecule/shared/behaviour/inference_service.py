"""What an inference service does on every runtime. A scenario's class inherits the tests and says what its runtime is.

The tests go on from each other, in their order.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from scenario import Run

IMAGE = "build:containers/inference-server"
SCALED_2 = {"name": "scaled", "version": 1, "source": "file:scaled-2.onnx"}
SCALED_3 = {"name": "scaled", "version": 2, "source": "file:scaled-3.onnx"}
BOUNDS = {"cpus": 1, "memory": "512MiB"}
DOUBLE: dict[str, Any] = {
    "name": "double",
    "image": IMAGE,
    "models": [SCALED_2],
    "port": 8080,
    "resources": BOUNDS,
    "start_order": 20,
}
INTERNAL: dict[str, Any] = {
    "name": "triple",
    "image": IMAGE,
    "models": [{"name": "scaled", "version": 1, "files": {"model.onnx": "file:scaled-3.onnx"}}],
    "port": 8081,
    "exposure": "internal",
    "probes": {"startup": 120, "period": 2, "timeout": 4},
    "resources": BOUNDS,
    "start_order": 30,
}
QUESTION = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -4]}]}
# Prints status and body of an answer; arguments: address, body (none when empty).
_ASK = (
    "import sys, urllib.error, urllib.request\n"
    "request = urllib.request.Request(sys.argv[1], sys.argv[2].encode() or None)\n"
    "try:\n"
    "    answer = urllib.request.urlopen(request, timeout=20)\n"
    "except urllib.error.HTTPError as error:\n"
    "    answer = error\n"
    "except OSError as error:\n"
    "    sys.exit(f'no answer: {error}')\n"
    "print(answer.status, answer.read().decode())"
)
# The other end of a cable (molecule/shared/tasks/neighbour.yml).
NODE_ADDRESS = "192.0.2.1"
NEIGHBOUR = "ip netns exec neighbour "


class Runtime(ABC):
    """What a scenario says of its runtime."""

    @abstractmethod
    def apply(self, services: list[dict[str, Any]]) -> Run:
        """Run the site's roles with these services in the inventory."""

    @abstractmethod
    def internal_url(self, host: Any, service: dict[str, Any]) -> str:
        """Return where programs on the node find a service that nobody else is to find."""

    @abstractmethod
    def process(self, host: Any, name: str) -> str:
        """Return what is another one whenever a service was started anew."""

    @abstractmethod
    def kill(self, host: Any, name: str) -> None:
        """End a service's server as a crash does."""

    @abstractmethod
    def power_cycle(self, host: Any) -> None:
        """Cut the node's power, and give it back."""


class Service:
    """A service, asked on the node or from its neighbour."""

    def __init__(self, host: Any, url: str, *, prefix: str = "") -> None:
        self.host, self.url, self.prefix = host, url, prefix

    def ask(self, path: str, body: str = "") -> tuple[int, str]:
        """Return status and body of what it answers; the status is 0 when nobody does."""
        done = self.host.run(f"{self.prefix}python3 -c %s %s %s", _ASK, f"{self.url}{path}", body)
        if done.rc != 0:
            return 0, str(done.stderr)
        status, _, answer = done.stdout.partition(" ")
        return int(status), answer.strip()

    def infer(self) -> tuple[str, list[float]]:
        """Return the version of the model that answered, and its numbers."""
        status, answer = self.ask("/v2/models/scaled/infer", json.dumps(QUESTION))
        assert status == 200, answer
        told = json.loads(answer)
        return told["model_version"], told["outputs"][0]["data"]

    def wait(self, seconds: float = 300) -> None:
        """Wait until it is ready."""
        until = time.monotonic() + seconds
        while (said := self.ask("/v2/health/ready"))[0] != 200:
            assert time.monotonic() < until, said
            time.sleep(1)


def on_node(host: Any) -> Service:
    return Service(host, f"http://127.0.0.1:{DOUBLE['port']}")


class InferenceServiceBehaviour:
    """The tests. ``runtime`` is the scenario's."""

    runtime: ClassVar[Runtime]

    def test_declared_services_answer_their_golden_question(self, host: Any) -> None:
        self.runtime.apply([DOUBLE, INTERNAL])
        on_node(host).wait()
        assert on_node(host).infer() == ("1", [3.0, -8.0])
        internal = Service(host, self.runtime.internal_url(host, INTERNAL))
        internal.wait()
        assert internal.infer() == ("1", [4.5, -12.0])

    def test_a_second_run_changes_nothing(self, host: Any) -> None:
        before = [self.runtime.process(host, name) for name in ("double", "triple")]
        assert self.runtime.apply([DOUBLE, INTERNAL]).changed == 0
        assert [self.runtime.process(host, name) for name in ("double", "triple")] == before

    def test_metadata_tell_what_a_client_has_to_send(self, host: Any) -> None:
        status, told = on_node(host).ask("/v2/models/scaled")
        assert status == 200
        model = json.loads(told)
        assert (model["name"], model["versions"]) == ("scaled", ["1"])
        assert [(tensor["name"], tensor["datatype"]) for tensor in model["inputs"]] == [("x", "FP32")]
        status, told = on_node(host).ask("/v2")
        assert status == 200
        assert {"name", "version", "extensions"} <= set(json.loads(told))

    @pytest.mark.parametrize(
        ("path", "body", "expected"),
        [
            ("/v2/models/unknown", "", 404),
            ("/v2/models/unknown/infer", json.dumps(QUESTION), 404),
            ("/v2/models/scaled/versions/9/infer", json.dumps(QUESTION), 404),
            ("/v2/models/scaled/infer", "{", 400),
            ("/v2/models/scaled/infer", json.dumps({"inputs": []}), 400),
            (
                "/v2/models/scaled/infer",
                json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1]}]}),
                400,
            ),
        ],
        ids=["unknown-model", "ask-unknown-model", "unknown-version", "no-json", "no-inputs", "wrong-shape"],
    )
    def test_a_wrong_request_is_refused_with_its_reason(self, host: Any, path: str, body: str, expected: int) -> None:
        status, told = on_node(host).ask(path, body)
        assert status == expected
        assert json.loads(told)["error"]

    def test_a_neighbour_reaches_the_nodes_service_and_not_an_internal_one(self, host: Any) -> None:
        assert Service(host, f"http://{NODE_ADDRESS}:8080", prefix=NEIGHBOUR).infer() == ("1", [3.0, -8.0])
        status, said = Service(host, f"http://{NODE_ADDRESS}:{INTERNAL['port']}", prefix=NEIGHBOUR).ask("/v2")
        assert status == 0
        assert "no answer" in said

    def test_a_killed_server_returns_by_itself(self, host: Any) -> None:
        before = self.runtime.process(host, "double")
        self.runtime.kill(host, "double")
        until = time.monotonic() + 120
        while self.runtime.process(host, "double") in ("", "0", before):
            assert time.monotonic() < until
            time.sleep(0.5)
        on_node(host).wait()
        assert on_node(host).infer() == ("1", [3.0, -8.0])

    def test_a_new_version_of_a_model_is_served_and_other_services_are_left_alone(self, host: Any) -> None:
        changed, other = (self.runtime.process(host, name) for name in ("double", "triple"))
        self.runtime.apply([{**DOUBLE, "models": [SCALED_2, SCALED_3]}, INTERNAL])
        on_node(host).wait()
        assert on_node(host).infer() == ("2", [4.5, -12.0])
        assert self.runtime.process(host, "double") != changed
        assert self.runtime.process(host, "triple") == other

    def test_services_come_back_after_a_power_cut(self, host: Any) -> None:
        self.runtime.power_cycle(host)
        on_node(host).wait(600)
        assert on_node(host).infer() == ("2", [4.5, -12.0])
        internal = Service(host, self.runtime.internal_url(host, INTERNAL))
        internal.wait()
        assert internal.infer() == ("1", [4.5, -12.0])

    def test_a_service_that_is_no_longer_declared_is_gone_and_its_port_closed(self, host: Any) -> None:
        url = self.runtime.internal_url(host, INTERNAL)
        self.runtime.apply([INTERNAL])
        status, said = on_node(host).ask("/v2/health/live")
        assert status == 0
        assert "refused" in said
        assert Service(host, url).infer() == ("1", [4.5, -12.0])
        self.runtime.apply([])
        assert Service(host, url).ask("/v2/health/live")[0] == 0
        assert not host.file("/var/lib/edgewright/models/double").exists
        assert not host.file("/var/lib/edgewright/models/triple").exists

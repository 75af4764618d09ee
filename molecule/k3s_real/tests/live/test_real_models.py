"""Models change on a real k3s: the tests go on from each other, and from a cluster without a service."""

from __future__ import annotations

import json
import time
from typing import Any, Self

from real_site import CHANGED, WORKLOADS, cut_power, pin, play, ready
from scenario import SCENARIO

PORT = 30080
INPUTS = [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -4]}]
DOUBLE = {"name": "scaled", "version": 1, "source": "file:scaled-2.onnx"}
TRIPLE = {"name": "scaled", "version": 2, "source": "file:scaled-3.onnx"}
CASE = {"model": "scaled", "inputs": INPUTS, "outputs": [{"name": "y", "data": [3, -8]}]}
TRIPLE_CASE = {**CASE, "outputs": [{"name": "y", "data": [4.5, -12]}]}
SERVICE = {
    "name": "shelf",
    "image": "build:containers/inference-server",
    "models": [DOUBLE],
    "port": PORT,
    "probes": {"period": 1},
    "golden": [CASE],
}
ANOTHER = {**SERVICE, "models": [TRIPLE], "golden": [TRIPLE_CASE]}
# Asks again and again and writes what it was told last, and when it was told nothing, and why.
ASKER = """
import json, sys, time, urllib.request
body = json.dumps({"inputs": json.loads(sys.argv[2])}).encode()
address = f"http://127.0.0.1:{sys.argv[1]}/v2/models/scaled/infer"
asked, lost, said = 0, [], None
while True:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body), timeout=30) as answer:
            said = json.loads(answer.read())["outputs"][0]["data"]
    except OSError as error:
        lost.append(f"{time.time():.2f} {error}")
    asked += 1
    with open("/run/asker.json", "w") as file:
        json.dump({"asked": asked, "lost": lost, "said": said}, file)
    time.sleep(0.02)
"""


class Asker:
    """A client on the node, for as long as the block lasts."""

    def __init__(self, host: Any) -> None:
        self.host = host

    def __enter__(self) -> Self:
        self.host.check_output(
            "systemd-run --collect --unit asker python3 -c %s %s %s", ASKER, str(PORT), json.dumps(INPUTS)
        )
        self.until(lambda told: told["asked"] > 5)
        return self

    def __exit__(self, *_: object) -> None:
        self.host.run("systemctl stop asker; rm -f /run/asker.json")

    def told(self) -> dict[str, Any]:
        text = self.host.run("cat /run/asker.json").stdout
        return json.loads(text) if text.endswith("}") else {"asked": 0, "lost": [], "said": None}

    def until(self, condition: Any, seconds: float = 240) -> None:
        end = time.monotonic() + seconds
        while not condition(told := self.told()):
            assert time.monotonic() < end, told
            time.sleep(0.5)


def listed(host: Any) -> list[dict[str, Any]]:
    """Return the service's pods, but for those that are on their way out."""
    said = json.loads(host.check_output("kubectl -n edgewright get pods -l app.kubernetes.io/name=shelf -o json"))
    return [pod for pod in said["items"] if "deletionTimestamp" not in pod["metadata"]]


def pods(host: Any) -> dict[str, bool]:
    """Return the names of the service's pods, and whether each is ready."""
    return {
        pod["metadata"]["name"]: any(
            condition["type"] == "Ready" and condition["status"] == "True" for condition in pod["status"]["conditions"]
        )
        for pod in listed(host)
    }


def revision(host: Any) -> int:
    """Return how many forms the service's pods have had."""
    path = r"jsonpath={.metadata.annotations.deployment\.kubernetes\.io/revision}"
    return int(host.check_output("kubectl -n edgewright get deployment shelf -o %s", path))


def said(host: Any) -> list[float]:
    with Asker(host) as asker:
        asker.until(lambda told: told["said"] is not None)
        return list(asker.told()["said"])


def test_a_service_answers_at_a_port_of_kubernetes_once_its_golden_set_is_right(host: Any) -> None:
    CHANGED["edge_inference_services"] = [SERVICE]
    CHANGED["inference_services__image_archives"] = {SERVICE["image"]: f"{SCENARIO}/inference-server.tar"}
    play(WORKLOADS)
    assert list(pods(host).values()) == [True]
    assert said(host) == [3.0, -8.0]
    assert play(WORKLOADS).changed == 0
    assert revision(host) == 1


def test_a_model_that_answers_right_takes_over_at_once_and_without_a_lost_request(host: Any) -> None:
    CHANGED["edge_inference_services"] = [ANOTHER]
    with Asker(host) as asker:
        play(WORKLOADS)
        asker.until(lambda told: told["said"] == [4.5, -12.0])
        assert asker.told()["lost"] == [], asker.told()
    assert list(pods(host).values()) == [True]
    assert revision(host) == 2
    assert host.check_output("ls /var/lib/edgewright/models/shelf/scaled") == "2"


def test_a_model_that_answers_otherwise_gets_no_request_and_the_old_one_stays(host: Any) -> None:
    (old,) = pods(host)
    CHANGED["edge_inference_services"] = [{**ANOTHER, "models": [{**DOUBLE, "version": 3}]}]
    with Asker(host) as asker:
        run = play(WORKLOADS, "-e", "inference_services__ready_timeout=40", fails=True)
        assert "golden[0], model scaled: output 'y' value 0 is 3.0, expected 4.5" in run.output
        assert asker.told()["lost"] == [], asker.told()
        assert asker.told()["said"] == [4.5, -12.0]
    found = pods(host)
    assert found.pop(old) is True
    assert list(found.values()) == [False]


def test_the_old_one_comes_back_after_a_power_cut(host: Any) -> None:
    cut_power(host)
    time.sleep(1)
    ready(host)
    with Asker(host) as asker:
        asker.until(lambda told: told["said"] is not None)
        time.sleep(30)
        assert asker.told()["said"] == [4.5, -12.0]


def test_another_model_is_tried_after_one_that_was_refused(host: Any) -> None:
    CHANGED["edge_inference_services"] = [ANOTHER]
    play(WORKLOADS)
    assert list(pods(host).values()) == [True]
    assert said(host) == [4.5, -12.0]


def test_a_server_that_was_restarted_is_asked_again(host: Any) -> None:
    def containers() -> dict[str, dict[str, Any]]:
        (pod,) = listed(host)
        return {state["name"]: state for state in pod["status"]["containerStatuses"]}

    def restarts() -> dict[str, int]:
        return {name: state["restartCount"] for name, state in containers().items()}

    before = restarts()
    server = containers()["server"]["containerID"].removeprefix("containerd://")
    host.check_output("kill -9 %s", str(json.loads(host.check_output("crictl inspect %s", server))["info"]["pid"]))
    end = time.monotonic() + 120
    while not all(restarts()[name] > before[name] for name in ("server", "golden")) or list(pods(host).values()) != [
        True
    ]:
        assert time.monotonic() < end, restarts()
        time.sleep(1)


def test_a_damaged_model_is_mended_and_its_pods_read_it_anew(host: Any) -> None:
    CHANGED["edge_inference_services"] = [{**ANOTHER, "golden": []}]
    play(WORKLOADS)
    (before,) = pods(host)
    host.check_output("truncate --size 1 /var/lib/edgewright/models/shelf/scaled/2/model.onnx")
    assert play(WORKLOADS).changed > 0
    assert before not in pods(host)
    assert said(host) == [4.5, -12.0]
    assert play(WORKLOADS).changed == 0


def test_a_run_that_failed_when_models_were_in_place_is_completed_by_the_next(host: Any) -> None:
    (before,) = pods(host)
    pin(f"{TRIPLE['source']}={SCENARIO}/models/scaled-2.onnx")
    archives = CHANGED["inference_services__image_archives"]
    CHANGED["inference_services__image_archives"] = {SERVICE["image"]: f"{SCENARIO}/nowhere.tar"}
    assert "nowhere.tar" in play(WORKLOADS, fails=True).output
    assert list(pods(host)) == [before]
    CHANGED["inference_services__image_archives"] = archives
    play(WORKLOADS)
    assert before not in pods(host)
    assert said(host) == [3.0, -8.0]
    pin()


def test_nothing_of_it_is_left(host: Any) -> None:
    CHANGED["edge_inference_services"] = []
    CHANGED["inference_services__image_archives"] = {}
    play(WORKLOADS)
    assert pods(host) == {}

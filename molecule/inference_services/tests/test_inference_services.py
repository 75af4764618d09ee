"""What a node does after the role ``inference_services`` ran, then lost a service and gained a model, asked by HTTP."""

from __future__ import annotations

import json
from typing import Any

ASK = (
    "import sys, urllib.request\n"
    "body = sys.argv[2].encode() or None\n"
    "print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], body), timeout=30).read().decode())"
)
QUESTION = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -4]}]}


def ask(host: Any, path: str, question: Any = None, *, port: int = 8080) -> Any:
    """Return the JSON that the service on a port answers, asked on the node itself."""
    body = "" if question is None else json.dumps(question)
    return json.loads(host.check_output("python3 -c %s %s %s", ASK, f"http://127.0.0.1:{port}{path}", body))


def test_newest_version_of_the_model_answers(host: Any) -> None:
    answer = ask(host, "/v2/models/scaled/infer", QUESTION)
    assert answer["model_version"] == "2"
    assert answer["outputs"][0]["data"] == [4.5, -12.0]


def test_models_come_out_of_an_image(host: Any) -> None:
    answer = ask(host, "/v2/models/scaled/infer", QUESTION, port=8082)
    assert answer["model_version"] == "5"
    assert answer["outputs"][0]["data"] == [3, -8]
    mounts = json.loads(host.check_output("podman inspect imaged"))[0]["Mounts"]
    sources = [mount["Source"] for mount in mounts if mount["Destination"] == "/models"]
    assert not any(source.startswith("/var/lib/edgewright") for source in sources)
    assert not host.file("/var/lib/edgewright/models/imaged").exists


def test_device_and_its_group_are_in_the_container(host: Any) -> None:
    inspected = json.loads(host.check_output("podman inspect imaged"))[0]
    assert "/dev/null" in [device["PathOnHost"] for device in inspected["HostConfig"]["Devices"]]
    groups = host.check_output("podman exec imaged id -G").split()
    assert "44" in groups


def test_service_starts_with_the_node_and_is_restarted(host: Any) -> None:
    assert host.service("double.service").is_running
    wanted = host.check_output("systemctl show -P WantedBy double.service")
    assert "multi-user.target" in wanted
    before = host.check_output("systemctl show -P MainPID double.service")
    host.check_output("kill -9 %s", host.check_output("podman inspect --format '{{.State.Pid}}' double"))
    host.check_output(
        "timeout 240 sh -c 'until /usr/lib/edgewright/check-inference 8080 && "
        '[ "$(systemctl show -P MainPID double.service)" != "$0" ]; do sleep 1; done\' %s',
        before,
    )


def test_container_is_held_in_bounds(host: Any) -> None:
    inspected = json.loads(host.check_output("podman inspect double"))[0]
    assert inspected["HostConfig"]["Memory"] == 512 * 1024**2
    assert inspected["HostConfig"]["NanoCpus"] == 10**9
    assert inspected["HostConfig"]["ReadonlyRootfs"] is True
    assert inspected["EffectiveCaps"] in ([], None)
    assert {mount["Destination"]: mount["RW"] for mount in inspected["Mounts"]}["/models"] is False


def test_node_knows_the_service_is_healthy(host: Any) -> None:
    assert host.check_output("/etc/edgewright/health.d/inference-double") == "ready"
    host.check_output("systemctl stop double.service")
    said = host.run("/etc/edgewright/health.d/inference-double")
    host.check_output("systemctl start double.service")
    assert said.rc == 1
    assert said.stdout.startswith("gave no answer to http://127.0.0.1:8080/v2/health/ready")


def test_status_tells_of_the_service(host: Any) -> None:
    host.check_output("/usr/lib/edgewright/collect-status")
    status = json.loads(host.file("/run/edgewright/status.json").content_string)
    models = [{"name": "scaled", "version": 1}, {"name": "scaled", "version": 2}]
    assert status["inference_services"] == [
        {"name": "double", "active": True, "port": 8080, "models": models},
        {"name": "imaged", "active": True, "port": 8082, "models": [{"name": "scaled", "version": 5}]},
    ]


def test_removed_service_leaves_nothing(host: Any) -> None:
    assert not host.service("triple.service").is_running
    assert sorted(host.check_output("podman ps --all --format '{{.Names}}'").split()) == ["double", "imaged"]
    for path in (
        "/etc/containers/systemd/triple.container",
        "/etc/edgewright/health.d/inference-triple",
        "/etc/edgewright/inference-services/triple.json",
        "/var/lib/edgewright/models/triple",
    ):
        assert not host.file(path).exists


def test_archive_is_not_kept_on_the_node(host: Any) -> None:
    assert host.check_output("ls /var/lib/edgewright/images").split() == [
        "localhost_edgewright_inference-server_0.1.0.sha256",
        "registry.example_models_scaled_5.sha256",
    ]


def test_no_unit_has_failed(host: Any) -> None:
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""

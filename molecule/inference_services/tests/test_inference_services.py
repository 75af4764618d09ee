"""What is podman's of inference services: models out of an image, devices, bounds, health and status."""

from __future__ import annotations

import json
from typing import Any

from inference_service import NEIGHBOUR, NODE_ADDRESS, Service
from knocks import assert_told_at_once


def test_models_come_out_of_an_image(host: Any) -> None:
    assert Service(host, "http://127.0.0.1:8082").infer() == ("5", [3.0, -8.0])
    mounts = json.loads(host.check_output("podman inspect imaged"))[0]["Mounts"]
    sources = [mount["Source"] for mount in mounts if mount["Destination"] == "/models"]
    assert not any(source.startswith("/var/lib/edgewright") for source in sources)
    assert not host.file("/var/lib/edgewright/models/imaged").exists


def test_device_and_its_group_are_in_the_container(host: Any) -> None:
    inspected = json.loads(host.check_output("podman inspect imaged"))[0]
    assert "/dev/null" in [device["PathOnHost"] for device in inspected["HostConfig"]["Devices"]]
    groups = host.check_output("podman exec imaged id -G").split()
    assert "44" in groups


def test_container_is_held_in_bounds(host: Any) -> None:
    inspected = json.loads(host.check_output("podman inspect imaged"))[0]
    assert inspected["HostConfig"]["Memory"] == 512 * 1024**2
    assert inspected["HostConfig"]["NanoCpus"] == 10**9
    assert inspected["HostConfig"]["ReadonlyRootfs"] is True
    assert inspected["EffectiveCaps"] in ([], None)
    assert host.run("podman exec --user root imaged touch /models/another").rc != 0


def test_node_knows_the_service_is_healthy(host: Any) -> None:
    assert host.check_output("/etc/edgewright/health.d/inference-imaged") == "ready"
    host.check_output("systemctl stop imaged.service")
    said = host.run("/etc/edgewright/health.d/inference-imaged")
    host.check_output("systemctl start imaged.service")
    assert said.rc == 1
    assert said.stdout.startswith("gave no answer to http://127.0.0.1:8082/v2/health/ready")


def test_a_neighbour_is_told_at_once_that_a_service_is_away(host: Any) -> None:
    assert_told_at_once(host, NODE_ADDRESS, 8082, "imaged.service", prefix=NEIGHBOUR)


def test_the_port_of_a_stopped_service_is_free_for_others(host: Any) -> None:
    host.check_output("systemctl stop imaged.service")
    closed = host.check_output("nft --json list set inet edgewright-published-ports closed")
    host.check_output("systemctl start imaged.service")
    (found,) = [item["set"] for item in json.loads(closed)["nftables"] if "set" in item]
    assert "elem" not in found


def test_status_tells_of_the_service(host: Any) -> None:
    host.check_output("/usr/lib/edgewright/collect-status")
    status = json.loads(host.file("/run/edgewright/status.json").content_string)
    assert status["inference_services"] == [
        {"name": "imaged", "active": True, "port": 8082, "models": [{"name": "scaled", "version": 5}]},
    ]


def test_removed_service_leaves_nothing(host: Any) -> None:
    assert host.check_output("podman ps --all --format '{{.Names}}'").split() == ["imaged"]
    for path in (
        "/etc/containers/systemd/triple.container",
        "/etc/edgewright/health.d/inference-triple",
        "/etc/edgewright/inference-services/triple.json",
    ):
        assert not host.file(path).exists


def test_archive_is_not_kept_on_the_node(host: Any) -> None:
    assert host.check_output("ls /var/lib/edgewright/images").split() == [
        "localhost_edgewright_inference-server_0.1.0.sha256",
        "registry.example_models_scaled_5.sha256",
    ]


def test_no_unit_has_failed(host: Any) -> None:
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""

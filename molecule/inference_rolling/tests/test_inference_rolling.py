"""What was asked of a service while it changed, and what a node has after it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import Model
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService
from ansible_collections.edgewright.edge.plugins.module_utils.service_proxy import proxy_file
from knocks import assert_told_at_once

OLD, NEW = "[3.0, -8.0]", "[4.5, -12.0]"


def test_no_question_was_lost(host: Any) -> None:
    found = json.loads(host.file("/srv/result.json").content_string)
    assert found["lost"] == []
    assert set(found["answers"]) == {OLD, NEW}
    assert found["answers"][OLD] > 100
    assert found["answers"][NEW] > 100


def test_only_the_service_and_its_proxy_are_left(host: Any) -> None:
    assert host.check_output("podman ps --all --format '{{.Names}}'") == "double"
    assert host.check_output("ls /run/containers/systemd") == ""
    # proc_net_tcp(5): address and port in hexadecimal; 0A is a socket that listens.
    sockets = [line.split() for line in host.file("/proc/net/tcp").content_string.splitlines()[1:]]
    listening = {
        int(words[1].partition(":")[2], 16): words[1].partition(":")[0] for words in sockets if words[3] == "0A"
    }
    assert listening[8080] == "00000000"
    assert listening[18080] == "0100007F"
    assert 18081 not in listening
    assert 80 not in listening


def test_models_are_those_of_the_service_that_passed(host: Any) -> None:
    files = host.check_output("find /var/lib/edgewright/models/double -type f")
    assert files == "/var/lib/edgewright/models/double/scaled/2/model.onnx"
    assert host.check_output("find /var/lib/edgewright -name 'models-next*' -o -name '*~'") == ""


def test_who_asks_while_the_service_is_away_is_told_so_as_the_protocol_tells_it(host: Any) -> None:
    host.check_output("systemctl stop double.service")
    script = (
        "import json, urllib.error, urllib.request\n"
        "try: urllib.request.urlopen('http://127.0.0.1:8080/v2/health/ready')\n"
        "except urllib.error.HTTPError as error: print(error.code, json.load(error)['error'])\n"
    )
    said = host.check_output("python3 -c %s", script)
    host.check_output("systemctl start double.service")
    assert said == "503 the service is not there at the moment: try again"


def test_the_proxy_is_told_at_once_that_the_service_is_away(host: Any) -> None:
    assert_told_at_once(host, "127.0.0.1", 18080, "double.service")


def test_both_start_with_the_node(host: Any) -> None:
    for unit in ("double.service", "nginx.service"):
        assert "multi-user.target" in host.check_output("systemctl show -P WantedBy %s", unit)
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""


@pytest.mark.parametrize("exposure", ["node", "internal"])
def test_nginx_takes_the_proxy_of_every_exposure(host: Any, exposure: str) -> None:
    model = Model("m", 1, "file:m")
    service = InferenceService(
        "shelf", "build:containers/x", (model,), port=18480, rolling_ports=(18481, 18482), exposure=exposure
    )
    settings = f"pid /srv/nginx.pid; error_log stderr; events {{}} http {{ {proxy_file(service)} }}"
    host.check_output("printf %%s %s >/srv/nginx.conf", settings)
    said = host.run("nginx -t -c /srv/nginx.conf")
    assert said.rc == 0, said.stderr

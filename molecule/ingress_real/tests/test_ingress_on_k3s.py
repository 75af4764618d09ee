"""A real k3s at one address, through the Traefik that it brings: the tests of every runtime, and what is its own."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import scenario
from ingress import CURL, KNOWN, IngressBehaviour, ask, code
from real_site import CHANGED, play
from scenario import PROJECT

CONVERGE = scenario.HERE / "converge.yml"
ADDRESS = "203.0.113.254"
URL = f"https://{ADDRESS}"
ANSWERING = PROJECT / "molecule" / "ingress" / "files" / "web.py"
QUESTION = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -4]}]}
# In the place of a virtual machine: a pod with the labels of its launcher.
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "till",
        "namespace": "edgewright",
        "labels": {"app.kubernetes.io/name": "till", "edgewright.workload": "virtual-machine"},
    },
    "spec": {
        "containers": [
            {
                "name": "web",
                "image": "localhost/edgewright/inference-server:0.1.0",
                "imagePullPolicy": "Never",
                "command": ["/usr/bin/python3", "/srv/web.py", "", "8000"],  # at all addresses
                "volumeMounts": [{"name": "srv", "mountPath": "/srv", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "srv", "hostPath": {"path": "/srv"}}],
    },
}
ROUTES = [
    {"virtual_machine": "till", "port": 8000, "host": "till.example"},
    {"virtual_machine": "till", "port": 8000, "path": "/till/web"},
]
CLIENT = "--cert /srv/camera.crt --key /srv/camera.key"
INGRESS = {"names": ["shop.example"], "routes": ROUTES, "timeout": 5, "max_body_size": "32MiB"}


@pytest.fixture(scope="module", autouse=True)
def answering(host: Any) -> None:
    """What takes the virtual machine's place answers, and the client knows the site's authority."""
    host.check_output("mkdir -p /srv && cp /var/lib/edgewright/ingress/ca.crt %s", KNOWN)
    host.check_output("cat >/srv/web.py <<'END'\n" + ANSWERING.read_text() + "END")
    host.check_output("echo %s | kubectl apply -f -", json.dumps(POD))
    host.check_output("kubectl -n edgewright wait --for=condition=Ready pod/till --timeout=120s")
    until = time.monotonic() + 60
    while not code(host, f"{URL}/till/web/").startswith("200"):
        assert time.monotonic() < until
        time.sleep(0.5)


class TestIngress(IngressBehaviour):
    address = ADDRESS
    service = "double"


def test_a_service_answers_below_its_name_at_every_address(host: Any) -> None:
    for address in (URL, "https://192.0.2.1"):
        assert code(host, f"{address}/double/v2/health/ready").startswith("200")
    body = f"--data '{json.dumps(QUESTION)}'"
    for url, more in ((URL, ""), ("https://shop.example", f"--resolve shop.example:443:{ADDRESS}")):
        answer = ask(host, f"{url}/double/v2/models/scaled/infer", f"{body} {more}")
        assert answer["outputs"][0]["data"] == [3.0, -8.0]


def test_a_neighbour_reaches_it(host: Any) -> None:
    asked = f"ip netns exec neighbour {CURL} --fail https://192.0.2.1/double/v2/health/ready"
    assert host.run(asked).rc == 0


def test_the_node_is_healthy(host: Any) -> None:
    assert "its certificate is good until" in host.check_output("/etc/edgewright/health.d/ingress")


def test_a_certificate_that_is_made_anew_is_served(host: Any) -> None:
    before = served(host)
    host.check_output(
        "rm /var/lib/edgewright/ingress/tls.pem && systemctl start edgewright-ingress-certificate.service"
    )
    until = time.monotonic() + 90
    while (now := served(host)) == before or not now:
        assert time.monotonic() < until
        time.sleep(1)
    assert code(host, f"{URL}/double/v2/health/ready").startswith("200")


def served(host: Any) -> str:
    """Return the fingerprint of the certificate that is served now."""
    asked = (
        f"echo | openssl s_client -connect {ADDRESS}:443 -noservername 2>/dev/null | openssl x509 -noout -fingerprint"
    )
    return str(host.run(asked).stdout)


def test_another_route_comes_and_the_old_one_goes(host: Any) -> None:
    CHANGED["edge_ingress"] = {**INGRESS, "routes": [ROUTES[0], {**ROUTES[1], "path": "/register"}]}
    play(CONVERGE)
    until = time.monotonic() + 60
    while not code(host, f"{URL}/register/").startswith("200"):
        assert time.monotonic() < until
        time.sleep(0.5)
    assert code(host, f"{URL}/till/web/").startswith("404")
    assert play(CONVERGE).changed == 0


def test_who_asks_needs_a_certificate_where_the_site_says_so(host: Any) -> None:
    host.check_output(
        "cd /srv && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=clients "
        "-keyout clients.key -out clients.crt 2>/dev/null && openssl req -new -newkey ec -pkeyopt "
        "ec_paramgen_curve:P-256 -nodes -subj /CN=camera-7 -keyout camera.key -out camera.csr 2>/dev/null && "
        "openssl x509 -req -in camera.csr -CA clients.crt -CAkey clients.key -days 30 -out camera.crt 2>/dev/null"
    )
    CHANGED["edge_ingress"] = {**INGRESS, "client_ca": host.check_output("cat /srv/clients.crt") + "\n"}
    play(CONVERGE)
    url = f"{URL}/double/v2/health/ready"
    until = time.monotonic() + 60
    while host.run(f"{CURL} {url}").rc == 0:
        assert time.monotonic() < until
        time.sleep(0.5)
    assert code(host, url, CLIENT).startswith("200")
    assert host.run("/etc/edgewright/health.d/ingress").rc == 0


def test_an_ingress_that_is_no_longer_declared_is_gone(host: Any) -> None:
    CHANGED["edge_ingress"] = None
    play(CONVERGE)
    until = time.monotonic() + 60
    while code(host, f"{URL}/double/v2/health/ready", f"--insecure {CLIENT}").startswith("200"):
        assert time.monotonic() < until
        time.sleep(0.5)
    assert not host.file("/etc/edgewright/health.d/ingress").exists
    left = host.check_output(
        "kubectl -n edgewright get ingress,middlewares,services,secrets -l edgewright.workload=ingress -o name"
    )
    assert left == ""

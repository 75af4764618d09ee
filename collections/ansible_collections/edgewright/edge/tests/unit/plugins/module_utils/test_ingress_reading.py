from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.ingress_reading import read_ingress

MODELS = [{"name": "m", "source": "file:m.onnx"}]
SERVICE = {"name": "first", "image": "build:containers/x", "port": 8000, "models": MODELS}
MACHINE = {"name": "till", "memory": "32MiB", "disks": [{"source": "file:till.raw"}], "nics": [{}]}
NETWORK = {"interfaces": [{"name": "lan", "match": {"name": "en*"}, "addresses": ["192.0.2.7/24"]}]}


def read(data: object, runtime: str, **declared: Any) -> Any:
    config = declared.pop("config", None)
    return read_ingress(data, {"box": declared}, site="s", runtime=runtime, config=config)


@pytest.mark.parametrize("runtime", ["podman", "k3s"])
def test_what_is_behind_an_ingress_is_read_alike_on_every_runtime(runtime):
    data = {"names": ["shop.example"], "routes": [{"service": "first", "host": "first.example"}]}
    found = read(data, runtime, services=[SERVICE], machines=[MACHINE], network=NETWORK)
    assert {name: service.port for name, service in found.services.items()} == {"first": 8000}
    assert found.subjects == [
        *("shop.example", "first.example", "box", "localhost"),
        *("192.0.2.7", "127.0.0.1", "::1"),
    ]
    # A node may declare nothing: an inventory that leaves a variable empty gives it as null.
    with pytest.raises(EdgeError, match="is empty, and there is no inference service"):
        read({}, runtime, services=None, machines=None, network=None)


@pytest.mark.parametrize("runtime", ["podman", "k3s"])
def test_all_that_does_not_fit_is_one_error(runtime):
    data = {"routes": [{"service": "second"}, {"virtual_machine": "till", "port": 80, "address": "192.0.2.9"}]}
    service = {**SERVICE, "port": 443, "exposure": "node"}
    with pytest.raises(EdgeError) as caught:
        read(data, runtime, services=[service], config={"disable": "traefik"})
    ports, *ours, route, machine = [str(problem) for problem in caught.value.problems]
    assert ports.startswith("edge_inference_services[0].port: the site's ingress listens there")
    assert [problem.partition(";")[0] for problem in ours] == (
        ["edge_ingress: is Traefik on k3s, at ports that its service load balancer gives it"] * (runtime == "k3s")
    )
    assert route.startswith("edge_ingress.routes[0].service: is no inference service of this site; found 'second'")
    assert machine.startswith("edge_ingress.routes[1].virtual_machine: is no virtual machine of this site")


def test_nodes_of_a_cluster_may_declare_the_same_service_and_each_adds_its_addresses():
    other = {"interfaces": [{"name": "lan", "match": {"name": "en*"}, "addresses": ["192.0.2.8/24"]}]}
    nodes = {"a": {"services": [SERVICE], "network": NETWORK}, "b": {"services": [SERVICE], "network": other}}
    found = read_ingress({}, nodes, site="s", runtime="k3s")
    assert list(found.services) == ["first"]
    assert found.subjects == ["a", "b", "localhost", "192.0.2.7", "192.0.2.8", "127.0.0.1", "::1"]

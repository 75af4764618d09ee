"""What an ingress may say, and what it does not fit. nginx itself is asked in the Molecule scenario ingress."""

from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import Model
from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService
from ansible_collections.edgewright.edge.plugins.module_utils.ingress import (
    Ingress,
    Route,
    port_problems,
    problems,
)
from ansible_collections.edgewright.edge.plugins.module_utils.ingress_proxy import proxy_settings
from ansible_collections.edgewright.edge.plugins.module_utils.ingress_site import check_ingress
from ansible_collections.edgewright.edge.plugins.module_utils.network import Network
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import VirtualMachine, virtual_machines

IMAGE = "build:containers/x"
SERVICES = tuple(
    InferenceService(name, IMAGE, (Model("m", 1, "file:m"),), port=port) for name, port in (("a", 8080), ("b", 8081))
)
MACHINES: tuple[VirtualMachine, ...] = virtual_machines(
    [{"name": "till", "memory": "1GiB", "disks": [{"source": "file:d.img", "bus": "sata"}]}],
    where="edge_virtual_machines",
    site="s",
)


def read(data: object) -> Ingress:
    return Ingress.from_inventory(data, where="edge_ingress")


def told(data: object, runtime: str = "podman") -> list[str]:
    return [str(problem) for problem in problems(read(data), SERVICES, MACHINES, runtime=runtime, where="edge_ingress")]


def test_without_a_word_every_service_is_below_its_name():
    assert read({}).all_routes(["a", "b"]) == [Route("a", "/a"), Route("b", "/b")]
    assert told({}) == []


def test_a_service_that_a_route_names_is_nowhere_else():
    ingress = read({"routes": [{"service": "a", "path": "/x/y"}, {"service": "b", "host": "b.example"}]})
    assert ingress.all_routes(["a", "b"]) == [Route("a", "/x/y"), Route("b", "/", host="b.example")]
    assert read({"every_service": False, "routes": [{"service": "a"}]}).all_routes(["a", "b"]) == [Route("a", "/a")]


def test_a_certificate_is_for_what_leads_there():
    network = Network.from_inventory(
        {"interfaces": [{"name": "u", "match": {"name": "e"}, "addresses": ["10.0.2.15/24", "2001:db8::5/64"]}]},
        where="edge_network",
    )
    ingress = read({"names": ["shop.example"], "addresses": ["192.0.2.1"], "routes": [{"service": "a", "host": "a.b"}]})
    assert ingress.subjects({"box-1": network}) == [
        *("shop.example", "a.b", "box-1", "localhost"),
        *("192.0.2.1", "10.0.2.15", "2001:db8::5", "127.0.0.1", "::1"),
    ]


@pytest.mark.parametrize("name", ["Shop.example", "*.example", "a..b", "shop.example:443", "10.0.0.1", "-a", "a_b", ""])
def test_what_is_no_host_name_is_refused(name: str):
    with pytest.raises(EdgeError, match=r"^edge_ingress\.names\[0\]"):
        read({"names": [name]})


@pytest.mark.parametrize("path", ["a", "/a/", "//", "/a//b", "/a/../b", "/a b", "/ä", "/a;b", "/{a}", "/a?b", "/$a"])
def test_what_is_no_path_is_refused(path: str):
    with pytest.raises(EdgeError, match=r"^edge_ingress\.routes\[0\]\.path"):
        read({"routes": [{"service": "a", "path": path}]})


def test_all_mistakes_are_told_at_once():
    with pytest.raises(EdgeError) as error:
        read(
            {
                "addresses": ["x"],
                "max_body_size": 1,
                "routes": [
                    {"service": "a", "port": 80},
                    {"service": "a"},
                    {"service": "b", "path": "/a"},
                    {"virtual_machine": "till"},
                ],
            }
        )
    assert str(error.value).splitlines() == [
        "edge_ingress.addresses[0]: is not an IP address; found 'x'; expected an IP address without prefix length.",
        "edge_ingress.routes[0].port: belongs to a virtual machine: a service says its own. Leave it out.",
        "edge_ingress.routes[3].port: is missing. Add the TCP port of the virtual machine.",
        "edge_ingress.routes[2]: this host and path is used twice; found '/a', also at edge_ingress.routes[1].",
        "edge_ingress.max_body_size: is out of range; found 1; expected 1KiB to 64GiB.",
    ]


def test_a_virtual_machine_needs_what_its_runtime_finds_it_by():
    route = {"virtual_machine": "till", "port": 80}
    assert told({"routes": [route]})[0].startswith("edge_ingress.routes[0].address: is missing")
    assert told({"routes": [{**route, "address": "192.168.122.10"}]}) == []
    assert told({"routes": [route]}, "k3s") == [
        "edge_ingress.routes[0].virtual_machine: has no network card; found 'till'. Add 'nics'."
    ]


def test_nothing_to_offer_is_a_mistake():
    (problem,) = told({"every_service": False})
    assert problem.startswith("edge_ingress.routes: is empty, and there is no inference service that would be reached")


def test_its_ports_are_its_own():
    taken = [
        InferenceService("a", IMAGE, (), port=8080, rolling_ports=(80, 81)),
        InferenceService("b", IMAGE, (), port=443, exposure="internal"),
    ]
    assert [problem.where for problem in port_problems(taken, runtime="podman")] == [
        "edge_inference_services[0].port",
        "edge_inference_services[1].port",
    ]
    # Inside a cluster a port is no port of the node.
    assert [problem.found for problem in port_problems(taken[1:], runtime="k3s")] == []


def test_a_route_of_every_host_is_seen_where_a_host_of_its_own_leaves_room():
    machine = {"virtual_machine": "till", "address": "2001:db8::9", "port": 8000}
    routes = [{**machine, "host": "till.example", "path": "/app"}, {**machine, "path": "/app/deep"}]
    text = proxy_settings(read({"routes": routes}), {"a": 8080})
    assert "server [2001:db8::9]:8000 " in text
    _, _, own = text.partition("server_name till.example;")
    assert [line.split()[1] for line in own.splitlines() if line.strip().startswith("location /")] == [
        "/",
        "/app/",
        "/a/",
    ]


def hosts(runtime: str, **second: object) -> dict[str, dict[str, object]]:
    services = [{"name": "a", "image": IMAGE, "port": 8080, "models": [{"name": "m", "source": "file:m"}]}]
    both = {"edge_site": "s", "edge_runtime": runtime, "edge_ingress": {}}
    return {"one": {**both, "edge_inference_services": services}, "two": {**both, **second}}


def test_several_machines_need_one_authority():
    assert [problem.where for problem in check_ingress(hosts("podman"))] == ["one: edge_ingress", "two: edge_ingress"]
    assert [problem.where for problem in check_ingress(hosts("podman", ingress__ca_certificate="x"))] == [
        "one: edge_ingress"
    ]
    assert check_ingress({"one": hosts("podman")["one"]}) == []


def test_a_cluster_is_reached_at_one_address():
    groups = {"k3s_server": ["one"], "k3s_agent": ["two"]}
    assert check_ingress(hosts("k3s"), groups) == []
    (problem,) = check_ingress(hosts("k3s", edge_ingress={"timeout": 5}), groups)
    assert str(problem).startswith("two: edge_ingress: differs between hosts of one cluster; expected what one has")
    declared = hosts("k3s")
    for variables in declared.values():
        variables["edge_ingress"] = {"routes": [{"service": "c"}]}
    declared["one"]["k3s__config"] = {"disable": "traefik,servicelb", "disable-helm-controller": True}
    assert [(problem.where, problem.found) for problem in check_ingress(declared, groups)] == [
        ("one: edge_ingress", "k3s__config.disable: traefik, servicelb"),
        ("one: edge_ingress", "k3s__config.disable-helm-controller: true"),
        ("one: edge_ingress.routes[0].service", "'c'"),
    ]

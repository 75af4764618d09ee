from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform
from ansible_collections.edgewright.edge.plugins.module_utils.node_identity import NodeIdentity
from ansible_collections.edgewright.edge.plugins.module_utils.site import (
    Storage,
    check_hosts,
    check_site_variables,
    parse_site,
)

LEAST = {"edge_site": "demo", "edge_runtime": "podman"}
NODE_MAC = "52:54:00:ed:9e:01"
TILL = {"name": "till", "memory": "64MiB", "disks": [{"source": "build:guests/till"}]}
SERVICE = {"name": "a", "image": "build:containers/x", "models": [{"name": "m", "source": "file:m"}], "port": 8080}


def texts(variables):
    return [str(problem) for problem in check_site_variables({**LEAST, **variables})]


def test_a_site_needs_a_name_and_a_runtime():
    site = parse_site(LEAST)
    assert (site.site, site.runtime, site.virtualization) == ("demo", "podman", "kvm")
    assert (site.node, site.storage, site.virtual_machines, site.admin_keys) == (NodeIdentity(), Storage(), (), ())
    assert [str(problem) for problem in check_site_variables({})] == [
        "edge_site: is missing. Add 'edge_site'.",
        "edge_runtime: is missing. Add 'edge_runtime'.",
    ]


def test_a_site_on_k3s_has_its_releases_and_mirrors():
    mirrors = [{"prefix": "docker.io/", "location": "r.lan:5000"}]
    site = parse_site({**LEAST, "edge_runtime": "k3s", "edge_mirrors": mirrors, "edge_virtual_machines": [TILL]})
    assert site.kubernetes == Platform()
    assert site.mirrors.locate("docker.io/a/b:1").address == "r.lan:5000/a/b:1"
    assert parse_site(LEAST).kubernetes is None
    assert parse_site({**LEAST, "edge_mirrors": mirrors}).mirrors == site.mirrors


def test_other_peoples_variables_are_not_looked_at():
    assert texts({"ansible_host": 7, "edgy": [], "base_x": {}, "edge_image_build": True}) == []


def test_everything_is_read():
    site = parse_site(
        {
            **LEAST,
            "edge_virtualization": "emulation",
            "edge_node": {"mac": [NODE_MAC.upper()], "dmi_serial": [" SN1 "]},
            "edge_network": {"interfaces": [{"name": "u", "match": {"mac": NODE_MAC}, "dhcp": True}]},
            "edge_storage": {"root_size": "2GiB", "state_min_size": "8GiB"},
            "edge_virtual_machines": [TILL],
            "edge_inference_services": [SERVICE],
        }
    )
    assert site.node == NodeIdentity((NODE_MAC,), ("SN1",), ())
    assert site.storage == Storage(2 * 1024**3, 8 * 1024**3)
    assert [vm.name for vm in site.virtual_machines] == ["till"]
    assert [service.name for service in site.inference_services] == ["a"]
    assert site.network.links[0].dhcp


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"edge_kubernetes": {}},
            (
                "edge_kubernetes: says something only where workloads run on k3s. "
                "Set 'edge_runtime: k3s', or leave it out."
            ),
        ),
        (
            {"edge_runtime": "k3s", "edge_kubernetes": {"k3s": "v1.37.1+k3s1", "kubevirt": None}},
            "edge_kubernetes: versions do not go together: the options of k3s 1.37 are not known",
        ),
        (
            {"edge_runtime": "k3s", "edge_kubernetes": {"kubevirt": None}, "edge_virtual_machines": [TILL]},
            (
                "edge_virtual_machines: run on KubeVirt, which this site does not have; "
                "found edge_kubernetes: k3s v1.36.5+k3s1. "
            ),
        ),
        (
            {"edge_runtime": "k3s", "edge_virtual_machines": [{**TILL, "machine": "pc"}]},
            "edge_virtual_machines[0].machine: cannot run on KubeVirt; found 'pc'; expected one of q35.",
        ),
        (
            {"edge_mirrors": [{"prefix": "docker.io/", "location": "http://m.lan/"}]},
            "edge_mirrors[0].location: holds no container images",
        ),
        (
            {"edge_runtime": "docker"},
            "edge_runtime: is not one of the choices; found 'docker'; expected one of podman, k3s.",
        ),
        (
            {"edge_virtualization": "xen"},
            "edge_virtualization: is not one of the choices; found 'xen'; expected one of kvm, emulation.",
        ),
        ({"edge_storage": {"root_size": "2GB"}}, "edge_storage.root_size: must be a multiple of 1MiB; found '2GB';"),
        ({"edge_node": {"macs": []}}, "edge_node.macs: unknown key;"),
        ({"edge_node": []}, "edge_node: must be a mapping; found [];"),
        (
            {"edge_inference_services": [{**SERVICE, "name": "till"}], "edge_virtual_machines": [TILL]},
            (
                "edge_inference_services[0].name: a virtual machine has this name already; "
                "found 'till', also at edge_virtual_machines[0].name."
            ),
        ),
        (
            {"edge_inference_services": [{**SERVICE, "port": 22}]},
            "edge_inference_services[0].port: the node's SSH server listens there; found 22; expected another port.",
        ),
        (
            {"edge_node": {"mac": [NODE_MAC]}, "edge_virtual_machines": [{**TILL, "nics": [{"mac": NODE_MAC}]}]},
            (
                f"edge_virtual_machines[0].nics[0].mac: the node itself has this MAC address; found {NODE_MAC}, "
                "also at edge_node.mac[0]. Leave mac out to have one derived."
            ),
        ),
        (
            {
                "edge_network": {"interfaces": [{"name": "u", "match": {"mac": NODE_MAC}, "dhcp": True}]},
                "edge_virtual_machines": [{**TILL, "nics": [{"mac": NODE_MAC}]}],
            },
            (
                f"edge_virtual_machines[0].nics[0].mac: the node itself has this MAC address; found {NODE_MAC}, "
                "also at edge_network.interfaces[0].match.mac."
            ),
        ),
        (
            {"edge_virtual_machines": [{**TILL, "disks": [{"source": "file:x", "bus": "ide"}]}]},
            "edge_virtual_machines[0].disks[0].bus: machine q35 has no IDE controller;",
        ),
        (
            {"edge_machines": []},
            "edge_machines: is no variable of a site; expected one of edge_site, ",
        ),
    ],
    ids=str,
)
def test_a_mistake_is_told_once(variables, expected):
    (problem,) = texts(variables)
    assert problem.startswith(expected)


def test_an_unknown_variable_gets_a_suggestion():
    assert "Did you mean 'edge_virtual_machines'?" in texts({"edge_virtual_machine": []})[0]
    assert "Variables of your own need another prefix than edge_." in texts({"edge_zzz": []})[0]


def test_all_mistakes_come_at_once():
    found = texts(
        {
            "edge_site": "Demo",
            "edge_node": {"mac": ["x"]},
            "edge_network": {"interfaces": [{}]},
            "edge_virtual_machines": [{}],
            "edge_inference_services": [{**SERVICE, "port": 0}],
            "edge_admin_keys": ["x"],
        }
    )
    assert [line.split(": ")[0] for line in found] == [
        "edge_site",
        "edge_node.mac[0]",
        "edge_network.interfaces[0].name",
        "edge_network.interfaces[0].match",
        "edge_admin_keys[0]",
        "edge_virtual_machines[0].name",
        "edge_virtual_machines[0].disks",
        "edge_virtual_machines[0].memory",
        "edge_inference_services[0].port",
    ]


def test_parse_raises_what_check_returns():
    with pytest.raises(EdgeError) as caught:
        parse_site({"edge_site": 7})
    assert caught.value.problems == check_site_variables({"edge_site": 7})


def host(**variables):
    return {**LEAST, **{f"edge_{name}": value for name, value in variables.items()}}


def address(text):
    return {"interfaces": [{"name": "u", "match": {"name": "en*"}, "addresses": [text]}]}


def test_hosts_share_nothing_that_tells_them_apart():
    uuid = "4c4c4544-0042-3510-8056-b7c04f4a4d32"
    found = check_hosts(
        {
            "a": host(node={"mac": [NODE_MAC], "dmi_uuid": [uuid]}, network=address("10.0.0.1/24")),
            "b": host(node={"mac": [NODE_MAC.upper()], "dmi_serial": ["S"]}, network=address("10.0.0.1/16")),
            "c": host(node={"dmi_serial": ["S"], "dmi_uuid": [uuid.upper()]}, site="other"),
        }
    )
    assert [str(problem) for problem in found] == [
        f"b: edge_node.mac[0]: two hosts have the same MAC address; found '{NODE_MAC}', also at a: edge_node.mac[0].",
        (
            "b: edge_network.interfaces[0].addresses[0]: two hosts have the same address; found '10.0.0.1', "
            "also at a: edge_network.interfaces[0].addresses[0]."
        ),
        (
            "c: edge_node.dmi_serial[0]: two hosts have the same DMI serial number; "
            "found 'S', also at b: edge_node.dmi_serial[0]."
        ),
        (
            f"c: edge_node.dmi_uuid[0]: two hosts have the same DMI UUID; "
            f"found '{uuid}', also at a: edge_node.dmi_uuid[0]."
        ),
        "c: edge_site: one inventory is one site; found 'other', but 'demo' at a; expected the same name for all.",
    ]


def test_one_of_several_hosts_needs_something_to_be_recognised_by():
    good = host(node={"mac": [NODE_MAC]})
    for nothing in (host(), host(node={}), host(node={"mac": []})):
        (problem,) = check_hosts({"a": good, "b": nothing})
        assert str(problem).startswith("b: edge_node: nothing tells this machine from the site's others")
        assert check_hosts({"b": nothing}) == []


def test_what_is_wrong_in_one_host_is_not_told_twice():
    bad = host(node={"mac": ["x"]}, network=7)
    assert check_hosts({"a": bad, "b": host(node=7), "c": host(node={"dmi_serial": ["S"]})}) == []

from __future__ import annotations

from ansible_collections.edgewright.edge.plugins.module_utils.k3s_site import check_cluster
from ansible_collections.edgewright.edge.plugins.module_utils.site import check_hosts

SERVERS, AGENTS = ["s1", "s2", "s3"], ["a1", "a2"]
GROUPS = {"k3s_server": SERVERS, "k3s_agent": AGENTS, "other": ["x"]}


def host(number, **variables):
    network = {"interfaces": [{"name": "lan", "match": {"name": "eth0"}, "addresses": [f"10.1.0.{number}/24"]}]}
    return {"edge_runtime": "k3s", "edge_network": network, **variables}


def plant(**changes):
    hosts = {name: host(number) for number, name in enumerate([*SERVERS, *AGENTS], 1)}
    return {name: {**variables, **changes.get(name, {})} for name, variables in hosts.items()}


def texts(hosts, groups=GROUPS):
    return [str(problem) for problem in check_cluster(hosts, groups)]


def test_a_whole_cluster_is_fine():
    assert texts(plant()) == []
    assert texts({"s1": host(1)}, {"k3s_server": ["s1"]}) == []
    assert texts({"s1": {"edge_runtime": "podman"}}, {}) == []
    assert check_cluster(plant(), None) == []


def test_a_host_needs_a_place_in_the_cluster():
    (text,) = texts({"s1": host(1), "x": host(9)}, {"k3s_server": ["s1"]})
    assert text == (
        "x: edge_runtime: is k3s, but the host is no node of the cluster; found no group of k3s; "
        "expected the group k3s_server or k3s_agent. Put 'x' into one of them in the inventory's hosts file."
    )
    assert len(texts({"x": host(9)}, {})) == 1


def test_groups_are_checked_at_a_host():
    hosts = plant()
    del hosts["s3"]
    (text,) = texts(hosts)
    assert text.startswith("s1: k3s_server: etcd goes on only with more than half of its members: 2 servers")
    (text,) = texts({"a1": host(4)}, GROUPS)
    assert text.startswith("a1: k3s_agent: has hosts, but k3s_server has none")


def test_what_concerns_the_cluster_is_the_same_everywhere():
    found = texts(
        plant(
            s2={"k3s__config": {"disable": ["traefik"]}},
            a1={"k3s__cluster_cidrs": ["10.9.0.0/16"], "k3s__config": {"debug": True}},
        )
    )
    assert [text.split("; ")[0] for text in found] == [
        "a1: k3s__cluster_cidrs: differs between hosts of one cluster",
        "s2: k3s__config.disable: differs between servers of one cluster",
    ]


def test_every_node_is_read_as_its_role_reads_it():
    found = texts(
        plant(
            s1={"k3s__config": {"tokn": "x"}, "k3s__node_ips": None},
            a2={"k3s__config": {"disable": []}, "k3s__kubelet": {"max_pods": 0}},
        )
    )
    assert [text.split("; ")[0].split(". ")[0].removesuffix(".") for text in found] == [
        "s1: k3s__config.tokn: is no option of k3s server",
        "a2: k3s__config.disable: is an option of servers, not of agents",
        "a2: k3s__kubelet.max_pods: is out of range",
    ]


def test_a_machine_is_not_declared_where_it_could_not_start():
    till = {"edge_virtual_machines": [{"name": "till"}, "?"]}
    slow = {"edge_virtualization": "emulation"}
    (text,) = texts(plant(s2={**slow, **till}, a1=till))
    assert text.startswith("s2: edge_virtual_machines[0]: 'till' could not start there; found edge_virtualization")
    assert texts(plant(s1=till, s2={**slow, **till})) == []
    assert len(texts(plant(s1={**slow, **till}, a1=till))) == 1
    free = {"edge_virtual_machines": [{"name": "till", "disks": [{"volume": "data_volume"}]}]}
    assert texts(plant(s1={**slow, **free}, a1=free)) == []
    assert len(texts(plant(s1={**slow, **free}))) == 1
    assert texts(plant(s2=slow, a1=till)) == []
    assert texts({name: {**variables, **slow, **till} for name, variables in plant().items()}) == []


def test_a_network_that_cannot_be_read_is_told_elsewhere():
    assert texts(plant(a1={"edge_network": {"interfaces": 7}})) == []


def test_pods_and_nodes_do_not_share_addresses():
    hosts = plant(
        s1={"edge_network": {"interfaces": [{"name": "l", "match": {"name": "e"}, "addresses": ["10.42.0.9/24"]}]}}
    )
    found = texts(hosts)
    assert len(found) == 5
    assert all("k3s's default): overlaps another network; found 10.42.0.0/16" in text for text in found)


def test_hosts_are_checked_with_everything_else():
    named = {name: {**variables, "edge_node": {"dmi_serial": [name]}} for name, variables in plant().items()}
    assert check_hosts(named, GROUPS) == []
    named["s2"]["k3s__config"] = {"x": 1}
    (problem,) = check_hosts(named, GROUPS)
    assert problem.where == "s2: k3s__config.x"

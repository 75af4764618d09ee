from __future__ import annotations

from ipaddress import IPv4Network, ip_network

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import (
    Cluster,
    ClusterNetwork,
    Platform,
)
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import TESTED
from hypothesis import given
from hypothesis import strategies as st


def texts(make, *arguments, **named):
    with pytest.raises(EdgeError) as caught:
        make(*arguments, **named)
    return [str(problem) for problem in caught.value.problems]


def test_nothing_is_the_newest_tested_tuple_without_cdi():
    for nothing in (None, {}):
        assert Platform.from_inventory(nothing) == Platform(TESTED[0].k3s, TESTED[0].kubevirt, None)


def test_a_version_of_k3s_brings_its_kubevirt_and_null_is_none():
    assert Platform.from_inventory({"k3s": "v1.36.2+k3s1"}).kubevirt is None
    assert Platform.from_inventory({"k3s": "v1.36.4+k3s1"}).kubevirt == "v1.9.0"
    assert Platform.from_inventory({"kubevirt": None}).kubevirt is None


def test_everything_is_read():
    platform = Platform.from_inventory(
        {
            "k3s": "v1.36.3+k3s1",
            "kubevirt": "v1.9.0",
            "cdi": "v1.66.0",
            "manifests": ["file:manifests/dash.yml", "https://example.org/a.json"],
            "images": ["busybox:1.37.0"],
        }
    )
    assert platform.images == ("docker.io/library/busybox:1.37.0",)
    assert platform.manifests == ("file:manifests/dash.yml", "https://example.org/a.json")
    assert str(platform.release) == "k3s v1.36.3+k3s1, KubeVirt v1.9.0, CDI v1.66.0"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            {"k3s": "v1.37.1+k3s1", "kubevirt": "v1.9.0"},
            "KubeVirt v1.9.0 supports Kubernetes 1.34, 1.35, 1.36, not 1.37",
        ),
        ({"k3s": "v1.36.1+k3s1", "kubevirt": "v1.9.0"}, "container disks empty"),
        ({"kubevirt": None, "cdi": "v1.66.0"}, "there is no KubeVirt"),
        ({"k3s": "1.36"}, "edge_kubernetes.k3s: is not a release of k3s"),
        ({"kubvirt": "v1.9.0"}, "Did you mean 'kubevirt'?"),
        ({"manifests": ["build:guests/till"]}, "is no manifest"),
        ({"manifests": ["file:a.txt"]}, "ends in .yaml, .yml or .json"),
        ({"manifests": ["file:My_App.yaml"]}, "has a name that k3s passes over"),
        ({"manifests": ["file:a/x.yaml", "file:b/x.yaml"]}, "has the file name of another manifest"),
        ({"manifests": ["file:x.yaml", "file:b/x.yaml"]}, "has the file name of another manifest"),
        ({"images": ["busybox", "docker.io/library/busybox:latest"]}, "the image is used twice"),
        ({"images": ["Busybox"]}, "edge_kubernetes.images[0]: is no container image's name"),
        ([], "edge_kubernetes: must be a mapping"),
    ],
)
def test_a_wrong_platform_is_refused(data, text):
    assert any(text in found for found in texts(Platform.from_inventory, data))


def test_one_server_keeps_its_data_in_sqlite_and_three_in_etcd():
    one = Cluster.from_groups(["a"], ["b"])
    assert (one.datastore, one.first_server, one.nodes) == ("sqlite", "a", ("a", "b"))
    assert Cluster.from_groups(["a", "b", "c"]).datastore == "etcd"
    assert Cluster.from_groups([], []).nodes == ()


@pytest.mark.parametrize(
    ("servers", "agents", "text"),
    [
        ("ab", "", "k3s_server: etcd goes on only with more than half of its members: 2 servers survive no more"),
        ("abcd", "", "expected 1, 3 or 5. Move d to the group k3s_agent."),
        ("abcdefg", "", "more than 5 servers"),
        ("", "x", "k3s_agent: has hosts, but k3s_server has none; found x."),
        ("a", "a", "k3s_agent: a server runs an agent itself; found 'a', also in k3s_server."),
    ],
)
def test_wrong_groups_are_refused(servers, agents, text):
    (found,) = texts(Cluster.from_groups, servers, agents)
    assert text in found


def test_dual_stack_has_a_main_family():
    network = ClusterNetwork.from_inventory(["fd01::/56", "10.1.0.0/16"], ["fd02::/112", "10.2.0.0/16"])
    assert network.families == (6, 4)
    assert ClusterNetwork.from_inventory([], None) == ClusterNetwork()


@pytest.mark.parametrize(
    ("cluster", "service", "text"),
    [
        (["10.1.0.0/16", "10.3.0.0/16"], [], "k3s__cluster_cidrs: may have one network a family"),
        (["10.1.0.0/16", "fd01::/56"], [], "has other families than the pods, or in another order; found IPv4"),
        (["10.1.0.0/16", "fd01::/56"], ["fd02::/112", "10.2.0.0/16"], "found IPv6, IPv4; expected IPv4, IPv6"),
        (["10.1.0.0/16"], ["10.1.128.0/20"], "overlaps another network; found 10.1.128.0/20"),
        (["10.43.0.0/17"], [], "k3s__service_cidrs (k3s's default): overlaps another network"),
        (["192.168.0.0/16"], [], "expected nothing of 192.168.7.0/24 (edge_network of a)"),
        (["10.1.0.0/25"], [], "has a size that Kubernetes does not take"),
        (["10.1.0.1/16"], [], "is no network (10.1.0.1/16 has host bits set)"),
        (["10.1.0.0"], [], "has a size"),
        ("10.1.0.0/16", [], "k3s__cluster_cidrs: must be a list"),
    ],
)
def test_wrong_networks_are_refused(cluster, service, text):
    found = texts(
        ClusterNetwork.from_inventory, cluster, service, taken=[("edge_network of a", ip_network("192.168.7.0/24"))]
    )
    assert any(text in problem for problem in found)


@given(st.integers(8, 24), st.integers(0, 2**24 - 1), st.integers(8, 24), st.integers(0, 2**24 - 1))
def test_networks_that_are_accepted_never_overlap_the_nodes(size, place, other_size, other_place):
    pods = IPv4Network((place << 8, size), strict=False)
    nodes = IPv4Network((other_place << 8, other_size), strict=False)
    services = ip_network("10.43.0.0/16")
    overlap = pods.overlaps(nodes) or nodes.overlaps(services) or pods.overlaps(services)
    if overlap:
        with pytest.raises(EdgeError, match="overlaps another network"):
            ClusterNetwork.from_inventory([str(pods)], [], taken=[("n", nodes)])
    else:
        assert ClusterNetwork.from_inventory([str(pods)], [], taken=[("n", nodes)]).cluster == (pods,)

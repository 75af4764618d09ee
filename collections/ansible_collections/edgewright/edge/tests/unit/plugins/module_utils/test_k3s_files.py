"""What a node gets, read again with PyYAML and, where there is one, systemd's own check."""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import ip_address, ip_interface

import pytest
import yaml
from ansible_collections.edgewright.edge.plugins.module_utils import k3s_files as files_of
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_files import MANAGED, k3s_files
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_options import OPTIONS
from hypothesis import given
from hypothesis import strategies as st

SERVERS = ["s1", "s2", "s3"]
CONFIG = "/etc/rancher/k3s/config.yaml"


def network(*addresses, gateway=None, **keys):
    link = {"name": "lan", "match": {"mac": "52:54:00:00:00:01"}, "addresses": list(addresses), **keys}
    return {"interfaces": [{**link, **({"gateway": gateway} if gateway else {})}]}


LAN = {name: network(f"10.1.0.{number}/24", gateway="10.1.0.254") for number, name in enumerate([*SERVERS, "a1"], 1)}


def node(name="s1", role="server", servers=("s1",), **keys):
    return {"name": name, "role": role, "servers": list(servers), **keys}


def cluster(name, role="server", **keys):
    return node(name, role, SERVERS, **{"agents": ["a1"], "networks": LAN, "token": True, **keys})


def written(described, kubernetes=None):
    return {file["path"]: file for file in k3s_files(kubernetes, described)}


def config(described, kubernetes=None):
    return yaml.safe_load(written(described, kubernetes)[CONFIG]["content"])


def texts(described, kubernetes=None):
    with pytest.raises(EdgeError) as caught:
        k3s_files(kubernetes, described)
    return [str(problem) for problem in caught.value.problems]


def test_a_single_node_needs_nothing_but_its_name():
    files = written(node())
    assert list(files) == [
        CONFIG,
        "/etc/rancher/k3s/kubelet.conf",
        "/etc/systemd/logind.conf.d/zz-edgewright-k3s.conf",
        "/etc/systemd/system/k3s.service",
    ]
    assert config(node()) == {
        "kubelet-arg": ["config=/etc/rancher/k3s/kubelet.conf"],
        "node-name": "s1",
        "nonroot-devices": True,
        "secrets-encryption": True,
        "write-kubeconfig-mode": "0600",
    }


def test_the_first_of_three_servers_starts_etcd_and_the_others_join_it():
    first, second, agent = config(cluster("s1")), config(cluster("s2")), config(cluster("a1", "agent"))
    assert first["cluster-init"] is True
    assert "server" not in first
    assert second["server"] == agent["server"] == "https://10.1.0.1:6443"
    assert "cluster-init" not in second
    assert agent["node-ip"] == ["10.1.0.4"]
    assert first["token-file"] == second["token-file"] == agent["token-file"] == "/etc/rancher/k3s/token"
    assert "/etc/systemd/system/k3s-agent.service" in written(cluster("a1", "agent"))


def test_an_agent_is_told_only_what_agents_know():
    everything = {
        "cis_profile": True,
        "api_endpoint": "k.lan",
        "cluster_cidrs": ["10.9.0.0/16"],
        "embedded_registry": True,
    }
    told = config(cluster("a1", "agent", registries={"mirrors": {"*": {}}}, **everything))
    assert [key for key in told if "agent" not in OPTIONS[key].roles] == []
    assert told["protect-kernel-defaults"] is True


def test_servers_answer_to_the_endpoint_that_nodes_join_at():
    assert config(cluster("s2", api_endpoint="k.lan"))["tls-san"] == ["k.lan"]
    assert config(cluster("s2", api_endpoint="k.lan:443"))["server"] == "https://k.lan:443"
    assert config(cluster("s2", api_endpoint="fd00::7"))["server"] == "https://[fd00::7]:6443"
    assert config(cluster("s2", config={"https-listen-port": 7443}))["server"] == "https://10.1.0.1:7443"
    assert config(cluster("s2", networks={}))["server"] == "https://s1:6443"


def test_dual_stack_takes_an_address_of_each_family():
    networks = {"s1": network("10.1.0.1/24", "fd00::1/64", gateway="10.1.0.254")}
    cidrs = {"cluster_cidrs": ["fd01::/56", "10.9.0.0/16"], "service_cidrs": ["fd02::/112", "10.10.0.0/16"]}
    told = config(node(networks=networks, **cidrs))
    assert told["node-ip"] == ["fd00::1", "10.1.0.1"]
    assert told["cluster-cidr"] == ["fd01::/56", "10.9.0.0/16"]
    assert told["service-cidr"] == ["fd02::/112", "10.10.0.0/16"]
    assert told["flannel-ipv6-masq"] is True
    assert config(node(networks=networks))["node-ip"] == ["10.1.0.1"]


def test_a_single_node_without_a_gateway_gets_a_dummy_route_and_no_public_resolver():
    files = written(node(networks={"s1": network("10.1.0.1/24")}))
    assert "Kind=dummy" in files["/etc/systemd/network/90-edgewright-dummy0.netdev"]["content"]
    assert "Gateway=203.0.113.255" in files["/etc/systemd/network/90-edgewright-dummy0.network"]["content"]
    assert files["/etc/rancher/k3s/resolv.conf"]["content"].endswith("nameserver 10.1.0.1\n")
    assert yaml.safe_load(files[CONFIG]["content"])["resolv-conf"] == "/etc/rancher/k3s/resolv.conf"
    assert "network-online" not in files["/etc/systemd/system/k3s.service"]["content"]


@pytest.mark.parametrize(
    ("addresses", "cidrs", "gateways"),
    [
        (["fd00::1/64"], ["fd01::/56"], ["2001:db8:edfe::ff"]),
        (["10.1.0.1/24", "fd00::1/64"], ["10.9.0.0/16", "fd01::/56"], ["203.0.113.255", "2001:db8:edfe::ff"]),
        (["10.1.0.1/24", "fd00::1/64"], [], ["203.0.113.255"]),
    ],
)
def test_a_dummy_route_is_of_each_family_that_pods_have(addresses, cidrs, gateways):
    services = ["fd02::/112" if ":" in cidr else "10.10.0.0/16" for cidr in cidrs]
    clusters = {"cluster_cidrs": cidrs, "service_cidrs": services} if cidrs else {}
    files = written(node(networks={"s1": network(*addresses)}, **clusters))
    text = files["/etc/systemd/network/90-edgewright-dummy0.network"]["content"]
    assert re.findall("^Gateway=(.*)$", text, re.MULTILINE) == gateways
    for own, gateway in zip(re.findall("^Address=(.*)$", text, re.MULTILINE), gateways, strict=True):
        assert ip_address(gateway) in ip_interface(own).network


def test_a_dual_stack_cluster_without_a_gateway_has_a_route_of_each_family_where_the_nodes_meet():
    hosts = [*SERVERS, "a1"]
    networks = {name: network(f"10.1.0.{place}/24", f"fd00::{place}/64") for place, name in enumerate(hosts, 1)}
    cidrs = {"cluster_cidrs": ["10.9.0.0/16", "fd01::/56"], "service_cidrs": ["10.10.0.0/16", "fd02::/112"]}
    route = written(cluster("s2", networks=networks, **cidrs))[
        "/etc/systemd/network/10-lan.network.d/50-edgewright-k3s.conf"
    ]["content"]
    assert re.findall("^Destination=(.*)$", route, re.MULTILINE) == ["0.0.0.0/0", "::/0"]


def test_a_cluster_without_a_gateway_has_its_route_where_the_nodes_meet():
    networks = {name: network(f"10.1.0.{number}/24") for number, name in enumerate([*SERVERS, "a1"], 1)}
    files = written(cluster("s2", networks=networks))
    route = files["/etc/systemd/network/10-lan.network.d/50-edgewright-k3s.conf"]
    assert route["content"] == "[Route]\nDestination=0.0.0.0/0\nScope=link\nMetric=65535\n"
    assert route["affects"] == "network"
    assert not any("dummy" in path for path in files)


@pytest.mark.parametrize(
    "keys",
    [
        {"networks": LAN},
        {"networks": {"s1": network(dhcp=True)}},
        {"networks": {"s1": network("10.1.0.1/24")}, "default_route": True},
        {},
    ],
)
def test_a_node_with_a_gateway_gets_no_other(keys):
    assert not any(path.startswith("/etc/systemd/network") for path in written(node(**keys)))


def test_a_node_whose_route_nobody_knows_must_say_where_the_others_are():
    lost = cluster("s1", networks={}, default_route=False)
    (text,) = texts(lost)
    assert text.startswith("k3s__config.flannel-iface: is missing")
    told = written({**lost, "config": {"flannel-iface": "eth1"}})
    assert "/etc/systemd/network/90-edgewright-dummy0.network" in told


def test_the_cis_profile_restricts_pods_but_not_the_system_s():
    files = written(node(cis_profile=True, exempt_namespaces=["machines"]), {"cdi": "v1.66.0"})
    admission = yaml.safe_load(files["/etc/rancher/k3s/admission.yaml"]["content"])
    security, events = (plugin["configuration"] for plugin in admission["plugins"])
    assert security["exemptions"]["namespaces"] == ["cdi", "kube-system", "kubevirt", "machines"]
    assert security["defaults"]["enforce"] == "restricted"
    assert events["limits"][0]["type"] == "Server"
    told = yaml.safe_load(files[CONFIG]["content"])
    arguments = dict(argument.split("=", 1) for argument in told["kube-apiserver-arg"])
    assert arguments["admission-control-config-file"] in files
    assert arguments["audit-policy-file"] in files
    assert "AlwaysPullImages" not in arguments["enable-admission-plugins"]
    assert files["/etc/sysctl.d/90-kubelet.conf"]["affects"] == "sysctl"
    agent = written(cluster("a1", "agent", cis_profile=True))
    assert "/etc/rancher/k3s/admission.yaml" not in agent
    assert "/etc/sysctl.d/90-kubelet.conf" in agent


def test_an_argument_that_the_user_gives_too_is_the_user_s():
    told = config(
        node(cis_profile=True, config={"kube-apiserver-arg": ["audit-log-maxage=7"], "kubelet-arg+": ["v=2"]})
    )
    assert [item for item in told["kube-apiserver-arg"] if item.startswith("audit-log-maxage")] == [
        "audit-log-maxage=7"
    ]
    assert "audit-log-maxsize=100" in told["kube-apiserver-arg"]
    assert told["kubelet-arg"] == ["config=/etc/rancher/k3s/kubelet.conf", "v=2"]


def test_an_image_built_node_asks_nobody_else():
    files = written(node(loopback_registries=["docker.io", "quay.io"]))
    registries = yaml.safe_load(files["/etc/rancher/k3s/registries.yaml"]["content"])
    assert registries["mirrors"]["quay.io"]["endpoint"] == ["http://127.0.0.1:5000"]
    assert yaml.safe_load(files[CONFIG]["content"])["disable-default-registry-endpoint"] is True


def test_what_root_alone_may_read_is_marked():
    registries = {"configs": {"r.lan": {"auth": {"username": "u", "password": "hunter2"}}}}
    for path, file in written(node(registries=registries, cis_profile=True)).items():
        assert file["secret"] or "hunter2" not in file["content"]
        assert not file["secret"] or file["mode"] == "0600", path


def test_all_mistakes_come_at_once():
    wrong = {
        **node("s1", servers=["s1", "s2"], config={"token": "x"}, kubelet={"max_pods": 0}, node_labels={"a": True}),
        "registries": {"x": 1},
        "cluster_cidrs": ["10.43.0.0/16"],
        "node_taints": ["a=b:No"],
    }
    found = texts(wrong, {"k3s": "v1.37.1+k3s1"})
    starts = (
        "edge_kubernetes:",
        "k3s_server:",
        "k3s__config.token:",
        "k3s__registries.x:",
        "k3s__kubelet.max_pods:",
        "k3s__node_labels.a:",
        "k3s__node_taints[0]:",
    )
    for start in starts:
        assert any(text.startswith(start) for text in found), start


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"name": "s9"}, "k3s_server: does not have 's9', which is to be a server"),
        ({"role": "worker"}, "role: is not one of the choices"),
        ({"nam": "x"}, "nam: unknown key"),
        ({"servers": []}, "k3s_server: does not have 's1'"),
        ({"servers": SERVERS}, "k3s__token: is missing: nodes join by it"),
        ({"node_ips": ["10.1.0.1/24"]}, "k3s__node_ips[0]: is no IP address"),
        ({"node_ips": ["fd00::1"]}, "k3s__node_ips: has other families than the pods"),
        ({"api_endpoint": "https://x"}, "k3s__api_endpoint: is no host"),
        ({"networks": {"s1": network("10.42.7.1/24")}}, "overlaps another network"),
        ({"node_labels": {"node-role.kubernetes.io/worker": ""}}, "is a label that a node may not give itself"),
        ({"node_labels": ["a=b"]}, "k3s__node_labels: must be a mapping"),
        ({"node_taints": ["a=b:NoShedule"]}, "Did you mean 'NoSchedule'?"),
        ({"exempt_namespaces": ["A"]}, "k3s__exempt_namespaces[0]: is not an RFC 1123 label"),
        ({"token": "x"}, "token: must be true or false"),
    ],
)
def test_a_wrong_node_is_refused(keys, text):
    assert any(text in found for found in texts(node(**keys)))


def test_labels_and_taints_are_written_as_the_kubelet_takes_them():
    labels = {"site.example/gpu": "a2", "topology.kubernetes.io/zone": "hall-1", "empty": ""}
    told = config(node(node_labels=labels, node_taints=["gpu:NoSchedule", "a=b:NoExecute"]))
    assert told["node-label"] == ["empty=", "site.example/gpu=a2", "topology.kubernetes.io/zone=hall-1"]
    assert told["node-taint"] == ["gpu:NoSchedule", "a=b:NoExecute"]


def test_folders_come_parents_first_and_old_files_are_named():
    files = k3s_files(None, node(cis_profile=True))
    paths = [folder["path"] for folder in files_of.directories(files)]
    assert paths == sorted(paths)
    assert {"path": "/var/lib/rancher/k3s/server/logs", "mode": "0700"} in files_of.directories(files)
    made = [*paths, *(file["path"] for file in files)]
    assert {path.rpartition("/")[0] for path in made} <= {*paths, "/etc", "/var/lib"}
    assert "/etc/systemd/system/k3s-agent.service" in files_of.absent(files)
    assert not set(files_of.absent(files)) & {file["path"] for file in files}


NODES = st.builds(
    lambda name, gateway, **keys: cluster(
        name,
        "agent" if name == "a1" else "server",
        networks={host: network(f"10.1.0.{n}/24", gateway=gateway) for n, host in enumerate([*SERVERS, "a1"], 1)},
        **keys,
    ),
    st.sampled_from([*SERVERS, "a1"]),
    st.sampled_from([None, "10.1.0.254"]),
    cis_profile=st.booleans(),
    secrets_encryption=st.booleans(),
    loopback_registries=st.sampled_from([[], ["docker.io"]]),
    node_labels=st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.sampled_from(["", "yes", "1"])),
    kubelet=st.fixed_dictionaries({}, optional={"max_pods": st.integers(1, 200)}),
)


@given(NODES)
def test_whatever_is_asked_for_k3s_knows_and_the_same_gives_the_same(described):
    files = k3s_files({}, described)
    assert files == k3s_files({}, described)
    assert [file["path"] for file in files] == sorted(file["path"] for file in files)
    assert all(file["path"] in MANAGED or ".network.d/" in file["path"] for file in files)
    told = yaml.safe_load(next(file for file in files if file["path"] == CONFIG)["content"])
    for key, value in told.items():
        option = OPTIONS[key]
        assert described["role"] in option.roles
        assert isinstance(value, {"bool": bool, "list": list}.get(option.type, str))
    assert [ip_address(address).version for address in told["node-ip"]] == [4]
    kubelet = yaml.safe_load(next(file for file in files if file["path"].endswith("kubelet.conf"))["content"])
    assert kubelet["kind"] == "KubeletConfiguration"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("role", ["server", "agent"])
def test_systemd_takes_the_unit(tmp_path, role):
    described = cluster("s1" if role == "server" else "a1", role)
    path, text = next((p, f["content"]) for p, f in written(described).items() if p.endswith(".service"))
    unit = tmp_path / path.rpartition("/")[2]
    unit.write_text(text.replace("/usr/local/bin/k3s", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert unit.name not in done.stderr

"""A cluster of real k3s nodes that grows, is backed up, changed and put back: the tests go on from each other."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
import testinfra  # type: ignore[import-untyped]
from inference_service import DOUBLE, IMAGE, Service
from lifecycle_site import SCENARIO, Site, on, started

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO, THREE = NODES = ("real-1", "real-2", "real-3")
ADDRESSES = {name: f"198.18.79.1{number}" for number, name in enumerate(NODES, 1)}
# The newest release at hand, and the one before it if there is one.
*_, FIRST = VERSIONS = (SCENARIO / "versions").read_text().split()
OLD_TOKEN, NEW_TOKEN = "old-token-0123456789abcdef", "new-token-fedcba9876543210"
SPREAD = {**DOUBLE, "exposure": "internal", "replicas": 2}
# Servers leave out only what the release at hand may lack the images of.
CONFIG: dict[str, Any] = {
    "disable": ["coredns", "local-storage", "metrics-server", "servicelb", "traefik"],
    "disable-helm-controller": True,
}
# Of some there may be none, or they end by themselves meanwhile.
END_PODS = "grep -ls kubepods /proc/[0-9]*/cgroup | cut -d/ -f3 | xargs -r kill -9 || :"
SERVERS = {"k3s__config": CONFIG}
VARIABLES: dict[str, Any] = {
    "edge_kubernetes": {"k3s": FIRST, "kubevirt": None},
    "edge_inference_services": [SPREAD],
    "inference_services__image_archives": {IMAGE: f"{SCENARIO}/inference-server.tar"},
    "inference_services__ready_timeout": 300,
    "k3s__default_route": None,
    "k3s__ready_timeout": 600,
    "k3s__token": OLD_TOKEN,
}
SMALL = Site("small", [ONE], [TWO], dict(VARIABLES), ADDRESSES, dict(SERVERS))
GROWN = Site("small", [*NODES], variables=dict(VARIABLES), addresses=ADDRESSES, server_variables=dict(SERVERS))
HARD = Site(
    "hard",
    [ONE],
    variables={
        **VARIABLES,
        "edge_inference_services": [DOUBLE],
        "k3s__cis_profile": True,
        # A container's kernel may have no dummy interface, on which a single node has its route otherwise.
        "k3s__default_route": True,
        "k3s__cluster_cidrs": ["10.42.0.0/16", "fd42::/56"],
        "k3s__service_cidrs": ["10.43.0.0/16", "fd43::/112"],
        "k3s__node_ips": [ADDRESSES["real-1"], "fd79::11"],
    },
    addresses=ADDRESSES,
    server_variables=SERVERS,
)
SITE = "molecule/k3s_real/workloads.yml"


def ready(server: str) -> dict[str, str]:
    """Return the versions of the nodes that are ready and take pods, as a server's own client shows them."""
    listed = json.loads(on(server, "kubectl", "get", "nodes", "-o", "json"))["items"]
    conditions = {
        item["metadata"]["name"]: {each["type"]: each["status"] for each in item["status"]["conditions"]}
        for item in listed
    }
    return {
        name: item["status"]["nodeInfo"]["kubeletVersion"]
        for item in listed
        if conditions[name := item["metadata"]["name"]]["Ready"] == "True" and not item["spec"].get("unschedulable")
    }


def serves(server: str, *nodes: str) -> None:
    """Each node reaches the service, whose pods are on several."""
    address = on(server, "kubectl", "-n", "edgewright", "get", "service", "double", "-o", "jsonpath={.spec.clusterIP}")
    for node in nodes:
        service = Service(testinfra.get_host(f"docker://{node}"), f"http://{address}:{SPREAD['port']}")
        service.wait()
        for _ in range(8):  # kube-proxy chooses a pod at random
            assert service.infer() == ("1", [3.0, -8.0])


def hosts_of_pods(server: str) -> set[str]:
    pods = on(server, "kubectl", "-n", "edgewright", "get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}")
    return set(pods.split())


def keep(server: str, name: str) -> None:
    """Write an object that must not be lost."""
    on(server, "kubectl", "create", "configmap", name, "--from-literal=kept=1")


def kept(server: str) -> set[str]:
    return set(on(server, "kubectl", "get", "configmaps", "-o", "name").split())


def newest(site: Site) -> Path:
    return max(site.copies.glob("*.tar.gz"), key=lambda path: path.name)


def starts(node: str, unit: str, since: str) -> int:
    """Return how often k3s has been started on a node since a time of its own."""
    words = "--grep=Starting k3s (agent )?v"
    said = on(node, "journalctl", "-u", unit, f"--since=@{since}", "-o", "cat", words, check=False)
    return len(said.splitlines())


# A server and an agent


def test_a_server_and_its_agent_run_and_share_their_work() -> None:
    SMALL.play(SITE)
    assert ready(ONE) == {ONE: FIRST, TWO: FIRST}
    assert hosts_of_pods(ONE) == {ONE, TWO}
    serves(ONE, ONE, TWO)


def test_a_second_run_changes_nothing() -> None:
    told = SMALL.play(SITE)
    assert "changed=0" in told
    assert "changed=1" not in told


def test_a_changed_option_restarts_each_node_once_and_one_after_the_other() -> None:
    since = on(ONE, "date", "+%s")
    SMALL.variables["k3s__config"] = {"debug": True}
    SMALL.server_variables["k3s__config"] = GROWN.server_variables["k3s__config"] = {**CONFIG, "debug": True}
    SMALL.play(SITE)
    assert (starts(ONE, "k3s", since), starts(TWO, "k3s-agent", since)) == (1, 1)
    # CLOCK_MONOTONIC is the same for all containers of a machine.
    active = on(ONE, "systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", "k3s")
    assert int(active) < int(started(TWO, "k3s-agent"))


# Three servers


def test_one_server_becomes_three_and_its_data_move_to_etcd() -> None:
    keep(ONE, "of-sqlite")
    SMALL.play("playbooks/reset.yml", "-e", "confirm=small", "--limit", TWO)
    assert ready(ONE) == {ONE: FIRST}
    GROWN.play(SITE)
    assert ready(THREE) == dict.fromkeys(NODES, FIRST)
    assert "configmap/of-sqlite" in kept(THREE)
    for name in NODES:
        assert on(name, "ls", "/var/lib/rancher/k3s/server/db/etcd/member")
    serves(TWO, *NODES)


@pytest.mark.skipif(len(VERSIONS) == 1, reason="one release only is at hand")
def test_an_upgrade_goes_from_node_to_node() -> None:
    GROWN.variables["edge_kubernetes"] = {"k3s": VERSIONS[0], "kubevirt": None}
    told = GROWN.play("playbooks/upgrade.yml")
    assert f"{VERSIONS[0]} comes to: {ONE}, {TWO}, {THREE}" in told
    assert ready(TWO) == dict.fromkeys(NODES, VERSIONS[0])
    assert newest(GROWN).name.endswith("-etcd.tar.gz")
    assert int(started(ONE)) < int(started(TWO)) < int(started(THREE))
    serves(ONE, *NODES)


def test_token_certificates_and_keys_are_made_anew() -> None:
    secret = ["k3s", "secrets-encrypt", "status", "--output", "json"]
    serial = ["sha256sum", "/var/lib/rancher/k3s/server/tls/client-admin.crt"]
    keys, certificates = json.loads(on(ONE, *secret)), {name: on(name, *serial) for name in NODES}
    GROWN.variables["k3s__token"] = NEW_TOKEN
    told = GROWN.play("playbooks/rotate.yml", "-e", "rotate=token,certificates,encryption", "-vvv")
    assert OLD_TOKEN not in told
    assert NEW_TOKEN not in told
    now = json.loads(on(ONE, *secret))
    assert now["activekey"] != keys["activekey"]
    assert now["hashmatch"]
    for name in NODES:
        assert on(name, *serial) != certificates[name]
        assert on(name, "cat", "/var/lib/rancher/k3s/server/token").endswith(f"::server:{NEW_TOKEN}")
    assert set(ready(THREE)) == set(NODES)
    assert "configmap/of-sqlite" in kept(TWO)


def test_etcd_comes_back_on_a_blank_server_and_on_those_that_run() -> None:
    keep(ONE, "of-the-backup")
    on(ONE, "kubectl", "create", "secret", "generic", "sealed", "--from-literal=word=tide")
    GROWN.play("playbooks/backup.yml")
    keep(ONE, "after-the-backup")
    blank(ONE)
    GROWN.play("playbooks/restore.yml", "-e", f"backup={newest(GROWN)}", "-e", "confirm=small")
    assert set(ready(THREE)) == set(NODES)
    assert {"configmap/of-sqlite", "configmap/of-the-backup"} <= kept(TWO)
    assert "configmap/after-the-backup" not in kept(TWO)
    sealed = on(TWO, "kubectl", "get", "secret", "sealed", "-o", "jsonpath={.data.word}")
    assert sealed == "dGlkZQ=="
    GROWN.play(SITE)
    serves(ONE, *NODES)


def blank(name: str) -> None:
    """Take all of k3s away, as a new disk would have it."""
    ruin = (
        f"systemctl stop k3s; {END_PODS}; systemctl kill -s KILL k3s; "
        "findmnt -rno TARGET | grep -E '/run/k3s|/var/lib/(kubelet|rancher)/' | sort -r | xargs -r umount -l; "
        "rm -rf /etc/rancher /var/lib/rancher /var/lib/kubelet /usr/local/bin/k3s* /etc/systemd/system/k3s.service; "
        "systemctl daemon-reload"
    )
    on(name, "sh", "-c", ruin)


def test_a_cut_power_leaves_two_servers_that_go_on_and_a_third_that_returns() -> None:
    cut = on(TWO, "date", "--utc", "+%FT%TZ")
    on(TWO, "sh", "-c", f"systemctl kill -s KILL k3s; {END_PODS}")
    keep(ONE, "without-the-second")
    until = time.monotonic() + 300
    while not (returned(ONE, TWO, cut) and set(ready(ONE)) == set(NODES)):
        assert time.monotonic() < until
        time.sleep(2)
    serves(THREE, *NODES)


def returned(server: str, node: str, since: str) -> bool:
    """Tell whether a node's kubelet has spoken since a time, and whether all containers there were started since.

    A node that lost its power counts as ready for the better part of a minute, and its pods do, too.
    """
    lease = on(server, "kubectl", "-n", "kube-node-lease", "get", "lease", node, "-o", "jsonpath={.spec.renewTime}")
    there = f"--field-selector=spec.nodeName={node}"
    pods = json.loads(on(server, "kubectl", "-n", "edgewright", "get", "pods", there, "-o", "json"))["items"]
    containers = [each for pod in pods for each in pod["status"].get("containerStatuses", [])]
    started = all(each["ready"] and each["state"]["running"]["startedAt"] > since for each in containers)
    return lease > since and started


def test_a_reset_leaves_nothing() -> None:
    GROWN.play("playbooks/reset.yml", "-e", "confirm=small")
    for name in NODES:
        assert on(name, "sh", "-c", "pgrep -a 'k3s|containerd' || :") == ""
        places = "/etc /usr/local /usr/lib/edgewright /usr/lib/systemd /run /var/lib/rancher /var/lib/kubelet"
        left = on(name, "sh", "-c", f"find {places} -name '*k3s*' 2>/dev/null || :").split()
        # What made the container like a machine stays. The folder of the data may be a file system of its own.
        assert [path for path in left if not path.endswith((".service.d", "/var/lib/rancher/k3s"))] == []
        assert on(name, "find", "/var/lib/rancher", "-mindepth", "2") == ""


# One server, with all that the CIS benchmark asks for, and both families of addresses


def test_a_hardened_node_with_two_families_of_addresses_serves() -> None:
    address = "fd79::11"
    for setting in ("all", "eth0"):
        on(ONE, "sysctl", "-w", f"net.ipv6.conf.{setting}.disable_ipv6=0")
    # As the role base has it: networkd takes away what it is not told of, whenever its settings are read again.
    added = (
        f"[Address]\nAddress={address}/64\nDuplicateAddressDetection=none\n[Route]\nDestination=0.0.0.0/0\nScope=link\n"
    )
    folder = "/etc/systemd/network/10-uplink.network.d"
    on(ONE, "sh", "-c", f'mkdir -p {folder} && printf "%s" "$1" >{folder}/second.conf', "sh", added)
    on(ONE, "networkctl", "reload")
    HARD.play(SITE)
    assert set(ready(ONE)) == {ONE}
    node = Service(testinfra.get_host(f"docker://{ONE}"), f"http://127.0.0.1:{DOUBLE['port']}")
    node.wait()
    assert node.infer() == ("1", [3.0, -8.0])
    pod = ["kubectl", "-n", "edgewright", "get", "pods", "-o", "jsonpath={.items[*].status.podIPs[*].ip}"]
    assert [ipaddress.ip_address(each).version for each in on(ONE, *pod).split()] == [4, 6]
    nodes = on(
        ONE, "kubectl", "get", "nodes", "-o", "jsonpath={.items[*].status.addresses[?(@.type=='InternalIP')].address}"
    )
    assert nodes.split() == [ADDRESSES[ONE], address]
    assert "changed=0" in HARD.play(SITE)


def test_a_hardened_node_refuses_privileged_pods_and_keeps_an_audit() -> None:
    privileged = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged", "namespace": "default"},
        "spec": {"containers": [{"name": "a", "image": "b", "securityContext": {"privileged": True}}]},
    }
    said = subprocess.run(
        ["docker", "exec", "-i", ONE, "kubectl", "create", "-f", "-"],
        input=json.dumps(privileged),
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode != 0
    assert 'violates PodSecurity "restricted' in said.stderr
    log = on(ONE, "tail", "-n", "1", "/var/lib/rancher/k3s/server/logs/audit.log")
    assert json.loads(log)["apiVersion"] == "audit.k8s.io/v1"


def test_no_token_is_in_any_log() -> None:
    log = (SCENARIO / "playbooks.log").read_text()
    assert OLD_TOKEN not in log
    assert NEW_TOKEN not in log
    for name in NODES:
        journal = on(name, "journalctl", "--no-pager")
        assert OLD_TOKEN not in journal
        assert NEW_TOKEN not in journal

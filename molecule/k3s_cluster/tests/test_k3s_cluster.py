"""What a cluster does after the role ``k3s`` ran on all its nodes, refused some, and restarted all."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import testinfra  # type: ignore[import-untyped]

NODES = ("server-1", "server-2", "server-3", "agent-1")
TOKEN = "token-of-the-cluster-0123456789abcdef"


@pytest.fixture(scope="module")
def nodes() -> dict[str, Any]:
    """All machines by name."""
    return {name: testinfra.get_host(f"docker://{name}") for name in NODES}


def unit(name: str) -> str:
    """Return the unit of a node."""
    return "k3s-agent" if name.startswith("agent") else "k3s"


def test_all_nodes_are_ready_in_the_eyes_of_each_server(nodes: dict[str, Any]) -> None:
    for server in NODES[:3]:
        found = json.loads(nodes[server].check_output("kubectl get nodes -o json"))
        states = {item["metadata"]["name"]: item["status"]["conditions"][0]["status"] for item in found["items"]}
        assert states == dict.fromkeys(NODES, "True")


def test_data_is_in_etcd_on_every_server(nodes: dict[str, Any]) -> None:
    for server in NODES[:3]:
        assert nodes[server].file("/var/lib/rancher/k3s/server/db/etcd").is_directory
        assert not nodes[server].file("/var/lib/rancher/k3s/server/db/state.db").exists
    assert not nodes["agent-1"].file("/var/lib/rancher/k3s/server").exists


def test_nodes_were_restarted_once_and_one_after_the_other(nodes: dict[str, Any]) -> None:
    spans = []
    for name in NODES:
        before = int(nodes[name].file("/tmp/before-rolling-restart").content_string)
        shown = nodes[name].check_output(
            "systemctl show --timestamp=unix -P ExecMainStartTimestamp -P ActiveEnterTimestamp %s", unit(name)
        )
        started, ready = (int(line.removeprefix("@")) for line in shown.split())
        starts = nodes[name].check_output(
            f"journalctl -u {unit(name)} --since=@{before} --output=cat --grep='Starting k3s (agent )?v'"
        )
        assert len(starts.splitlines()) == 1
        spans.append((started, ready))
    assert spans == sorted(spans)
    for (_, ready), (started, _) in itertools.pairwise(spans):
        assert started >= ready


def test_token_is_in_files_that_only_root_reads_and_nowhere_else(nodes: dict[str, Any]) -> None:
    for name in NODES:
        node = nodes[name]
        assert node.file("/etc/rancher/k3s/token").mode == 0o600
        assert TOKEN not in node.file("/etc/rancher/k3s/config.yaml").content_string
        assert TOKEN not in node.check_output("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '")
        assert TOKEN not in node.check_output("journalctl --no-pager")


def test_agent_asks_for_itself_with_its_own_certificate(nodes: dict[str, Any]) -> None:
    assert nodes["agent-1"].check_output("/etc/edgewright/health.d/k3s") == "ready, v1.36.5+k3s1"
    assert not nodes["agent-1"].file("/etc/rancher/k3s/k3s.yaml").exists

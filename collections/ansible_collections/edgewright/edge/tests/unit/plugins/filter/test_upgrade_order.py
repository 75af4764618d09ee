from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.edgewright.edge.plugins.filter.upgrade_order import FilterModule

upgrade_order = FilterModule().filters()["upgrade_order"]
SERVERS, AGENTS = ["s2", "s1", "s3"], ["a1"]


def nodes(**versions):
    return [{"name": name, "version": version} for name, version in versions.items()]


def test_servers_come_first_in_the_order_of_the_inventory_and_those_done_are_left_out():
    old, new = "v1.36.4+k3s1", "v1.36.5+k3s1"
    running = nodes(a1=old, s1=old, s2=new, s3=old)
    assert upgrade_order(running, new, SERVERS, AGENTS) == ["s1", "s3", "a1"]
    assert upgrade_order(nodes(a1=new, s1=new, s2=new, s3=new), new, SERVERS, AGENTS) == []


def test_a_node_that_a_stopped_upgrade_left_drained_is_finished():
    running = [{"name": "s1", "version": "v1.36.5+k3s1", "drained": True}, *nodes(s2="v1.36.5+k3s1")]
    assert upgrade_order(running, "v1.36.5+k3s1", SERVERS, AGENTS) == ["s1"]


def test_every_step_that_is_not_allowed_is_named():
    running = nodes(s1="v1.34.9+k3s1", s2="v1.36.6+k3s1", s3="v1.35.1+k3s1", stranger="v1.36.4+k3s1")
    with pytest.raises(AnsibleFilterError) as caught:
        upgrade_order(running, "v1.36.5+k3s1", SERVERS, AGENTS)
    text = str(caught.value)
    assert "s1: edge_kubernetes.k3s: skips a minor version of Kubernetes; found v1.36.5+k3s1 after v1.34.9+k3s1" in text
    assert "s2: edge_kubernetes.k3s: an older version cannot read the datastore" in text
    assert "stranger: is a node of the cluster, but not of the inventory" in text
    assert "s3" not in text

from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_options import (
    CLUSTER_WIDE,
    FIRST_START,
    OPTIONS,
    SECRET,
    check_config,
    differences,
    read_config,
    refused_changes,
)
from hypothesis import given
from hypothesis import strategies as st


def texts(config, role="server"):
    return [str(problem) for problem in check_config(config, role)]


def test_every_option_of_the_table_is_one():
    assert len(OPTIONS) == 125
    assert set(OPTIONS) >= CLUSTER_WIDE | FIRST_START | SECRET
    assert [name for name, option in OPTIONS.items() if option.roles == ("agent",)] == ["disable-apiserver-lb"]


def test_a_configuration_is_read_and_lists_are_lists():
    config = {
        "disable": "traefik",
        "tls-san+": ["a.lan", 10],
        "write-kubeconfig-mode": "0640",
        "etcd-snapshot-retention": 7,
        "etcd-s3-timeout": "1h30m",
        "flannel-backend": "host-gw",
        "debug": True,
    }
    assert read_config(config, "server") == {
        "disable": ["traefik"],
        "tls-san": ["a.lan", "10"],
        "write-kubeconfig-mode": "0640",
        "etcd-snapshot-retention": 7,
        "etcd-s3-timeout": "1h30m",
        "flannel-backend": "host-gw",
        "debug": True,
    }
    assert read_config(None, "agent") == {}


@pytest.mark.parametrize(
    ("config", "role", "text"),
    [
        ({"disabel": []}, "server", "k3s__config.disabel: is no option of k3s server. Did you mean 'disable'?"),
        ({"s": "x"}, "agent", "k3s__config.s: is no option of k3s agent. Write 'server'."),
        (
            {"disable": ["traefik"]},
            "agent",
            "k3s__config.disable: is an option of servers, not of agents. Move it to group_vars/k3s_server.yml.",
        ),
        (
            {"disable-apiserver-lb": True},
            "server",
            (
                "k3s__config.disable-apiserver-lb: is an option of agents, not of servers. "
                "Move it to group_vars/k3s_agent.yml."
            ),
        ),
        (
            {"cluster-cidr": "10.0.0.0/8"},
            "server",
            "k3s__config.cluster-cidr: is not set here. Set 'k3s__cluster_cidrs'.",
        ),
        ({"node-label+": ["a=b"]}, "agent", "k3s__config.node-label+: is not set here. Set 'k3s__node_labels'."),
        (
            {"debug": "yes"},
            "server",
            "k3s__config.debug: must be true or false; found 'yes'; expected true or false, without quotes.",
        ),
        ({"debug+": True}, "server", "k3s__config.debug+: only lists go on. Write 'debug'."),
        (
            {"tls-san": ["a"], "tls-san+": ["b"]},
            "server",
            "k3s__config.tls-san+: 'tls-san' is given twice. Put all of it under 'tls-san'.",
        ),
        (
            {"write-kubeconfig-mode": 384},
            "server",
            (
                'k3s__config.write-kubeconfig-mode: is no file mode; found 384; expected "0600" and the like. '
                "Put it in quotes: YAML reads 0600 as 384."
            ),
        ),
        (
            {"etcd-s3-timeout": 5},
            "server",
            "k3s__config.etcd-s3-timeout: is no duration; found 5; expected numbers with units, as 10m or 1h30m.",
        ),
        (
            {"lb-server-port": 0},
            "agent",
            "k3s__config.lb-server-port: is out of range; found 0; expected a whole number from 1 to 65535.",
        ),
        (
            {"kubelet-arg": ["--config=/x"]},
            "agent",
            (
                "k3s__config.kubelet-arg: has '--config=/x', a place that the role fills; found ['--config=/x']. "
                "Set 'k3s__kubelet'."
            ),
        ),
        (
            {"tls-san": [True]},
            "server",
            "k3s__config.tls-san: must be a list of strings; found [True]; expected a list, one item a line.",
        ),
        (7, "server", "k3s__config: must be a mapping; found 7; expected options of k3s as config.yaml has them."),
    ],
)
def test_a_wrong_configuration_is_refused(config, role, text):
    assert texts(config, role) == [text]


def test_choices_have_a_nearest_one():
    (text,) = texts({"disable": ["traefic"]})
    assert text.endswith("Did you mean 'traefik'?")
    (text,) = texts({"flannel-backend": "wireguard"})
    assert text.endswith("Did you mean 'wireguard-native'?")


@pytest.mark.parametrize("key", sorted(SECRET))
def test_a_secret_is_refused_without_being_shown(key):
    (text,) = texts({key: "hunter2"})
    assert "hunter2" not in text
    assert text.startswith(f"k3s__config.{key}: is not set here. ")


def test_a_whole_file_may_have_what_the_role_sets_and_nothing_unknown():
    config = {"cluster-init": True, "token-file": "/t", "kubelet-arg": ["config=/x"], "cluster-cidr": "10.44.0.0/16"}
    assert read_config(config, "server", whole=True) == {**config, "cluster-cidr": ["10.44.0.0/16"]}
    with pytest.raises(EdgeError) as caught:
        read_config({"tokn": "hunter2", "token": 17171717, "server": ""}, "server", where="config", whole=True)
    texts = [str(problem) for problem in caught.value.problems]
    assert texts[0] == "config.tokn: is no option of k3s server. Did you mean 'token'?"
    assert [text.partition(":")[0] for text in texts[1:]] == ["config.token", "config.server"]
    assert "17171717" not in texts[1]


def test_a_default_said_aloud_is_no_change():
    said = {"cluster-cidr": ["10.42.0.0/16"], "service-cidr": ["10.43.0.0/16"], "flannel-backend": "vxlan"}
    assert refused_changes({}, said, where="config") == []
    assert len(refused_changes(said, {**said, "service-cidr": ["10.45.0.0/16"]}, where="config")) == 1


def test_all_mistakes_come_at_once():
    assert len(texts({"a": 1, "debug": 1, "token": "x", "tls-san": {}})) == 4


@given(
    st.dictionaries(
        st.sampled_from(sorted(OPTIONS)) | st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text()
    )
)
def test_no_configuration_breaks_the_check(config):
    for role in ("server", "agent"):
        if not check_config(config, role):
            assert set(read_config(config, role)) <= {str(key).removesuffix("+") for key in config}


def test_servers_agree_on_what_concerns_the_cluster():
    one = {"disable": ["traefik", "servicelb"], "egress-selector-mode": "agent", "debug": True}
    two = {"disable": ["servicelb", "traefik"], "flannel-backend": "vxlan", "supervisor-metrics": False}
    assert differences({"one": one, "two": two}) == []
    three = {"disable": ["traefik"], "flannel-backend": "host-gw"}
    assert [str(problem) for problem in differences({"one": one, "two": two, "three": three})] == [
        (
            "three: k3s__config.disable: differs between servers of one cluster; found ['traefik']; "
            "expected ['servicelb', 'traefik'], as one has. Set it in group_vars/k3s_server.yml only."
        ),
        (
            "three: k3s__config.flannel-backend: differs between servers of one cluster; found 'host-gw'; "
            "expected 'vxlan', as one has. Set it in group_vars/k3s_server.yml only."
        ),
    ]
    (problem,) = differences({"one": {"agent-token": "hunter2"}, "two": {}})
    assert "hunter2" not in str(problem)


def test_what_a_cluster_began_with_stays():
    before = {"cluster-cidr": ["10.42.0.0/16"], "secrets-encryption": True, "node-label": ["a=b"]}
    assert refused_changes(before, {**before, "node-label": [], "flannel-backend": "vxlan"}, where="c") == []
    found = refused_changes(before, {"cluster-cidr": ["10.44.0.0/16"]}, where="c")
    assert [problem.where for problem in found] == ["c.cluster-cidr", "c.secrets-encryption"]

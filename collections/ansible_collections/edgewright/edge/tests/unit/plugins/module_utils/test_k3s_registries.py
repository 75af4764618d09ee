from __future__ import annotations

import re

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_registries import read_registries


def texts(data, **named):
    with pytest.raises(EdgeError) as caught:
        read_registries(data, **named)
    return [str(problem) for problem in caught.value.problems]


def test_nothing_says_nothing():
    assert read_registries(None) == {}
    assert read_registries({"mirrors": {}, "configs": None}) == {}


def test_everything_is_read():
    data = {
        "mirrors": {
            "quay.io": {"endpoint": ["https://r.lan:5000/v2"], "rewrite": {"^kubevirt/(.*)$": "kv/$1"}},
            "*": None,
        },
        "configs": {
            "r.lan:5000": {
                "auth": {"username": "u", "password": "p"},
                "tls": {"ca_file": "/etc/ssl/site.pem", "insecure_skip_verify": False},
            }
        },
    }
    assert read_registries(data) == {
        "mirrors": {"*": {}, "quay.io": data["mirrors"]["quay.io"]},
        "configs": {
            "r.lan:5000": {"auth": {"username": "u", "password": "p"}, "tls": {"ca_file": "/etc/ssl/site.pem"}}
        },
    }


def test_an_image_built_node_asks_itself_below_the_registry_s_name():
    read = read_registries({"mirrors": {"ghcr.io": {}}}, loopback=["quay.io", "docker.io", "quay.io"])
    assert list(read["mirrors"]) == ["docker.io", "ghcr.io", "quay.io"]
    mirror = read["mirrors"]["docker.io"]
    assert mirror["endpoint"] == ["http://127.0.0.1:5000"]
    ((pattern, replacement),) = mirror["rewrite"].items()
    assert (
        re.sub(pattern, replacement.replace("$1", r"\\1"[1:]), "rancher/mirrored-pause")
        == "docker.io/rancher/mirrored-pause"
    )


@pytest.mark.parametrize(
    ("data", "named", "text"),
    [
        ({"mirror": {}}, {}, "k3s__registries.mirror: unknown key"),
        ({"mirrors": {"https://a": {}}}, {}, "is no registry"),
        ({"mirrors": {"a": {"endpoint": ["r.lan"]}}}, {}, "is no endpoint"),
        ({"mirrors": {"a": {"rewrite": {"(": "x"}}}}, {}, "has a pattern that is none"),
        ({"mirrors": {"a": {"rewrite": {"^(.*)$": "$2"}}}}, {}, "names a group that its pattern does not have"),
        ({"configs": {"a": {"auth": {"username": "u"}}}}, {}, "has one of user name and password"),
        ({"configs": {"a": {"tls": {"cert_file": "/c"}}}}, {}, "has one of certificate and key"),
        ({"configs": {"a": {"tls": {"ca_file": "c"}}}}, {}, "must be an absolute path"),
        ({"mirrors": {"docker.io": {}}}, {"loopback": ["docker.io"]}, "has the node's own registry for a mirror"),
        ({"configs": {"docker.io": {}}}, {"loopback": ["docker.io"]}, "makes k3s ask that registry over the network"),
        ({}, {"embedded": True}, "names no registry whose images nodes could give each other"),
        (7, {}, "must be a mapping"),
    ],
)
def test_wrong_registries_are_refused(data, named, text):
    (found,) = texts(data, **named)
    assert text in found


def test_no_secret_is_shown():
    data = {
        "mirrors": {"a": {"endpoint": ["https://me:hunter2@r.lan"]}},
        "configs": {"a": {"auth": {"username": "u", "password": ["hunter2"]}}, "b": {"auth": {"token": "hunter2\n"}}},
    }
    found = texts(data)
    assert len(found) == 3
    assert "hunter2" not in "".join(found)

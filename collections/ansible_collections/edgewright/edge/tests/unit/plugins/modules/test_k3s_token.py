"""The module on real folders, and against the server of the stand-in for k3s, with its TLS and its token."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.k3s_token import read_token

STAND_IN = Path(__file__).resolve().parents[8] / "molecule" / "k3s" / "stand-in"
# The whole server but its node, which wants a machine's own paths.
SERVER = """
import json, sys, time
import k3s.server as s
class Node:
    def __init__(self, *_, **__): pass
    def prepare(self): pass
    def run(self): time.sleep(600)
s.Node = Node
s.Server(json.loads(sys.argv[1]), "v1.36.5+k3s1").run()
"""
TOKEN = "token-of-a-test-0123456789abcdef"
OTHER = "another-token-fedcba9876543210"
FULL = f"K10{'a' * 64}::server:{TOKEN}"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rancher" / "token"


@pytest.fixture
def token(run_module, path, tmp_path):
    common = {"path": str(path), "data_dir": str(tmp_path / "data")}
    return lambda **arguments: run_module("k3s_token", **{**common, **arguments})


@pytest.fixture
def server_token(tmp_path):
    """Write a server's own token, as a node has it that has started."""
    file = tmp_path / "data" / "server" / "token"

    def write(text):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    return write


@pytest.fixture
def server(tmp_path, path):
    """A running server with the token of the file, as a function that starts it (again)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []

    def stop():
        while processes:
            process = processes.pop()
            process.kill()
            process.communicate()

    def start():
        stop()
        configured = {
            "data-dir": str(tmp_path / "data"),
            "https-listen-port": port,
            "write-kubeconfig": str(tmp_path / "kubeconfig"),
            **({"token-file": str(path)} if path.exists() else {}),
        }
        (tmp_path / "kubeconfig").unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, json.dumps(configured)],
            env={**os.environ, "PYTHONPATH": str(STAND_IN)},
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        while not (tmp_path / "kubeconfig").exists() and process.poll() is None:
            time.sleep(0.05)
        assert process.poll() is None, process.communicate()[1]
        return port

    yield start
    stop()


def own(tmp_path):
    return read_token((tmp_path / "data" / "server" / "token").read_text())


def test_a_given_token_is_written_once_for_root_alone(token, path):
    first = token(token=TOKEN, diff=True)
    assert (first["changed"], first["kind"], first["generated"]) == (True, "short", False)
    assert path.read_text() == f"{TOKEN}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not token(token=TOKEN)["changed"]
    path.chmod(0o640)
    assert token(token=TOKEN)["changed"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert TOKEN not in json.dumps(first)


def test_a_token_is_made_once(token, path):
    foreseen = token(check=True)
    assert (foreseen["changed"], foreseen["generated"]) == (True, True)
    assert not path.parent.exists()
    assert token()["generated"]
    made = path.read_text().strip()
    assert read_token(made).kind == "short"
    assert len(made) == 64
    second = token(diff=True)
    assert (second["changed"], second["generated"]) == (False, False)
    assert path.read_text().strip() == made
    assert made not in json.dumps(second)
    path.unlink()
    token()
    assert path.read_text().strip() != made


def test_the_first_server_needs_the_secret_alone(token, path):
    refused = token(token=FULL, first_server=True, diff=True)
    assert "token: is a full token, and names the authority of a cluster that does not exist yet" in refused["msg"]
    assert TOKEN not in json.dumps(refused)
    assert not path.exists()
    assert token(token=FULL)["kind"] == "full"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("short", "is not a token; expected at least 16"),
        ("with a space in its middle", "is not a token"),
        ("abcdef.0123456789abcdef", "has the form of a bootstrap token"),
        ("K10abc::server:0123456789abcdef", "begins like a full token and is none"),
        (f"K10{'a' * 64}::server:", "begins like a full token and is none"),
    ],
)
def test_what_is_no_token_is_refused_unseen(token, path, given, message):
    for result in (token(token=given), token(token=given, state="rotated")):
        assert given not in json.dumps(result)
        assert result["failed"]
    assert message in token(token=given)["msg"]
    path.parent.mkdir()
    path.write_text(given)
    result = token()
    assert f"{path}: {message}" in result["msg"]
    assert given not in json.dumps(result)


def test_a_started_server_keeps_its_cluster_s_token(token, path, server_token):
    server_token(FULL)
    refused = token(token=OTHER)
    assert "is not the token of the cluster that this server has" in refused["msg"]
    assert "state: rotated" in refused["msg"]
    assert "the cluster has a token already" in token()["msg"]
    assert "is not the token of the cluster" in token(token=FULL.replace("aaa", "bbb"))["msg"]
    assert not path.exists()
    assert token(token=TOKEN, first_server=True)["changed"]
    assert token(token=FULL, first_server=True)["changed"]


def test_a_running_cluster_takes_a_new_token(token, path, server, tmp_path):
    token(token=TOKEN)
    port = server()
    foreseen = token(token=OTHER, state="rotated", port=port, check=True, diff=True)
    assert (own(tmp_path).password, path.read_text()) == (TOKEN, f"{TOKEN}\n")
    done = token(token=OTHER, state="rotated", port=port, diff=True)
    assert (foreseen["changed"], foreseen["rotated"], foreseen["diff"]) == (True, True, done["diff"])
    assert "cluster: a new token" in done["diff"]["after"]
    assert (own(tmp_path).password, path.read_text()) == (OTHER, f"{OTHER}\n")
    assert not token(token=OTHER, state="rotated", port=port)["changed"]
    assert not token(token=OTHER)["changed"]
    for said in (foreseen, done):
        assert TOKEN not in json.dumps(said)
        assert OTHER not in json.dumps(said)
    server()  # k3s starts with the new token


def test_a_server_that_made_its_token_gets_no_file(token, path, server, tmp_path):
    port = server()
    before = own(tmp_path).password
    result = token(state="rotated", port=port)
    assert (result["changed"], result["rotated"], result["generated"]) == (True, True, True)
    assert own(tmp_path).password not in (before, "")
    assert own(tmp_path).password not in json.dumps(result)
    assert not path.exists()


def test_an_interrupted_rotation_is_finished_by_the_next_run(token, path, server_token):
    path.parent.mkdir()
    path.write_text(f"{TOKEN}\n")
    server_token(f"K10{'a' * 64}::server:{OTHER}")
    result = token(token=OTHER, state="rotated", port=1)  # nobody is asked
    assert (result["changed"], result["rotated"]) == (True, False)
    assert path.read_text() == f"{OTHER}\n"


def test_a_token_that_the_server_does_not_know_changes_nothing(token, path, server, server_token):
    token(token=TOKEN)
    port = server()
    server_token(FULL.replace(TOKEN, "stale-token-0123456789"))
    result = token(token=OTHER, state="rotated", port=port)
    assert f"https://127.0.0.1:{port}/v1-k3s/token: refuses a new token: HTTP status 401" in result["msg"]
    assert path.read_text() == f"{TOKEN}\n"
    assert OTHER not in json.dumps(result)


def test_without_a_server_nothing_can_be_rotated(token, path, server_token):
    assert "no server of k3s has started here" in token(token=OTHER, state="rotated")["msg"]
    server_token(FULL)
    assert "is a full token" in token(token=FULL, state="rotated")["msg"]
    assert "has no authority that can be read" in token(token=OTHER, state="rotated")["msg"]
    assert not path.exists()


def test_a_server_that_does_not_answer_is_told(token, server, tmp_path):
    token(token=TOKEN)
    server()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        result = token(token=OTHER, state="rotated", port=probe.getsockname()[1])
    assert "does not answer: " in result["msg"]
    assert own(tmp_path).password == TOKEN

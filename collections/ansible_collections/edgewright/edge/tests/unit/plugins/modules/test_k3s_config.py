"""The module on real folders; what it writes is read by the parser of the stand-in for k3s, a program of its own."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

STAND_IN = Path(__file__).resolve().parents[8] / "molecule" / "k3s" / "stand-in"
READ = "import json, sys; from pathlib import Path; from k3s import settings; settings.CONFIG = Path(sys.argv[1]); "
SECRET = "postgres://k3s:hunter2hunter2@db/k3s"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rancher" / "k3s" / "config.yaml"


@pytest.fixture
def drop_in(path):
    path.with_name("config.yaml.d").mkdir(parents=True)
    return lambda name: path.with_name("config.yaml.d") / name


@pytest.fixture
def write(run_module, path, tmp_path):
    common = {"path": str(path), "role": "server", "data_dir": str(tmp_path / "data")}
    return lambda config, **arguments: run_module("k3s_config", config=config, **{**common, **arguments})


@pytest.fixture
def started(tmp_path):
    (tmp_path / "data" / "server" / "db").mkdir(parents=True)
    (tmp_path / "data" / "server" / "db" / "state.db").touch()


def read_by_k3s(path):
    done = subprocess.run(
        [sys.executable, "-c", f"{READ} print(json.dumps(settings.read('server', [])))", path],
        env={**os.environ, "PYTHONPATH": str(STAND_IN)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_file_is_written_once_for_root_alone_and_k3s_reads_it(write, path):
    config = {"disable": "traefik", "debug": True, "write-kubeconfig-mode": "0640", "node-ip": None}
    first = write(config, diff=True)
    assert first["changed"]
    assert first["added"] == ["debug", "disable", "write-kubeconfig-mode"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    read = read_by_k3s(path)
    assert (read["disable"], read["debug"], read["write-kubeconfig-mode"]) == (["traefik"], True, "0640")
    assert "node-ip" not in yaml.safe_load(path.read_text())
    assert not write(config)["changed"]


def test_check_mode_says_the_same_and_changes_nothing(write, path):
    foreseen = write({"debug": True}, check=True, diff=True)
    assert not path.parent.exists()
    done = write({"debug": True}, diff=True)
    assert (foreseen["diff"], foreseen["added"]) == (done["diff"], done["added"])
    assert foreseen["changed"]
    assert done["diff"]["after"] == "# rw-------\ndebug: true\n"


def test_what_goes_is_named(write):
    write({"debug": True, "tls-san": ["a"], "v": 1})
    result = write({"debug": True, "v": 2, "node-label": ["a=b"]})
    assert (result["added"], result["changed_keys"], result["removed"]) == (["node-label"], ["v"], ["tls-san"])


@pytest.mark.parametrize("spoil", ["mode", "comment", "link", "owner"])
def test_a_file_that_only_looks_right_is_mended(write, path, spoil):
    write({"debug": True})
    if spoil == "mode":
        path.chmod(0o644)
    elif spoil == "comment":
        path.write_text("# mine\ndebug: true\n")
    elif spoil == "owner":
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown(path, 12345, -1)
    else:
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    result = write({"debug": True}, diff=True)
    assert result["changed"]
    assert (result["added"], result["changed_keys"], result["removed"]) == ([], [], [])
    assert result["diff"]["before"] != result["diff"]["after"]
    assert path.is_file()
    assert not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not write({"debug": True})["changed"]


def test_everything_wrong_is_told_at_once_and_nothing_is_written(write, path):
    result = write({"disabel": ["traefik"], "flannel-backend": "wireguard", "debug": "yes"})
    assert [error["where"] for error in result["errors"]] == [
        "config.disabel",
        "config.flannel-backend",
        "config.debug",
    ]
    assert "Did you mean 'disable'?" in result["msg"]
    assert "Did you mean 'wireguard-native'?" in result["msg"]
    assert not path.exists()
    assert "config.disable: is an option of servers" in write({"disable": ["traefik"]}, role="agent")["msg"]


def test_secrets_are_nowhere_in_what_is_said(write, path):
    path.parent.mkdir(parents=True)
    path.write_text("# token: in-a-comment-0123456789\nt: one-letter-0123456789\ntokn: misspelt-0123456789\n")
    said = json.dumps(write({"datastore-endpoint": SECRET}, diff=True))
    assert yaml.safe_load(path.read_text()) == {"datastore-endpoint": SECRET}
    said += json.dumps(write({"datastore-endpoint": f"{SECRET}-2"}, diff=True))
    said += json.dumps(write({"datastore-endpoint": 17171717, "agent-tokn": "typed-wrong-0123456789"}))
    for secret in ("hunter2", "0123456789", "17171717"):
        assert secret not in said
    assert "(another one)" in said


@pytest.mark.usefixtures("started")
def test_a_started_cluster_keeps_what_it_began_with(write, path, drop_in):
    drop_in("50-net.yaml").write_text("cluster-cidr: 10.44.0.0/16,fd44::/56\n")
    path.write_text("flannel-backend: vxlan\nsecrets-encryption: 'true'\n")
    before = path.read_bytes()
    # The default said aloud, and the same list written in another way, are no changes.
    assert write({"secrets-encryption": True, "service-cidr": "10.43.0.0/16"}, check=True)["cluster_changes"] == []
    refused = write({"flannel-backend": "host-gw", "secrets-encryption": False})
    assert [error["where"] for error in refused["errors"]] == [f"{path}.flannel-backend", f"{path}.secrets-encryption"]
    assert "found 'host-gw'; expected 'vxlan'" in refused["msg"]
    assert path.read_bytes() == before
    other = write({"cluster-cidr": ["10.44.0.0/16", "fd44::/56"]}, path=str(drop_in("50-net.yaml")))
    assert (other["changed"], other["cluster_changes"]) == (True, [])
    assert "cluster-cidr" in write({"debug": True}, path=str(drop_in("50-net.yaml")))["msg"]
    assert "node-name" in write({"node-name": "another", "secrets-encryption": True})["msg"]
    allowed = write({"flannel-backend": "host-gw", "secrets-encryption": True}, allow_cluster_change=True)
    assert (allowed["changed"], allowed["cluster_changes"]) == (True, ["flannel-backend"])


def test_a_cluster_that_has_not_begun_takes_every_setting(write):
    write({"flannel-backend": "vxlan"})
    assert write({"flannel-backend": "host-gw", "cluster-cidr": "10.44.0.0/16"})["changed"]


def test_the_data_folder_is_where_the_configuration_has_it(write, path, tmp_path):
    (tmp_path / "elsewhere" / "server" / "db" / "etcd").mkdir(parents=True)
    path.parent.mkdir(parents=True)
    path.write_text(f"data-dir: {tmp_path / 'elsewhere'}\n")
    assert "takes effect only when a cluster begins" in write({"flannel-backend": "none"}, data_dir=None)["msg"]


def test_drop_ins_add_up_as_k3s_adds_them(write, path, drop_in):
    write({"tls-san": ["a"], "debug": True})
    assert write({"tls-san+": ["b"]}, path=str(drop_in("50-more.yaml")))["changed"]
    assert read_by_k3s(path)["tls-san"] == ["a", "b"]
    assert "warnings" not in write({"debug": False}, path=str(drop_in("40-quiet.yaml")))
    drop_in("60-loud.yml").write_text("debug: true\n")
    (warning,) = write({"debug": True, "v": 1}, path=str(drop_in("40-quiet.yaml")))["warnings"]
    assert "debug: a later drop-in sets it too" in str(warning)
    assert "is a drop-in that k3s does not read" in write({}, path=str(drop_in("50-more.conf")))["msg"]


def test_files_that_k3s_could_not_read_are_all_named(write, path, drop_in):
    path.write_text("- token-of-a-test-0123456789\n")
    drop_in("50-broken.yaml").write_text("a: {\n")
    drop_in("60-dated.yaml").write_text("node-label: 2026-99-99\n")
    message = write({"debug": True})["msg"]
    assert f"{path}: is not what k3s can read" in message
    assert "50-broken.yaml: is not what k3s can read" in message
    assert "60-dated.yaml: is not what k3s can read" in message
    assert "0123456789" not in message


def test_a_folder_in_the_place_of_the_file_is_told(write, path):
    path.mkdir(parents=True)
    assert f"{path}: cannot be read: Is a directory" in write({"debug": True})["msg"]

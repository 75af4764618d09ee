"""A cluster's days two: the tests go on from each other, on three machines that were blank."""

from __future__ import annotations

import gzip
import json
import re
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest
from lifecycle_site import SCENARIO, Site, keep, kept, nodes, on, started

if TYPE_CHECKING:
    from pathlib import Path

A, B = "v1.36.5+k3s1", "v1.36.6+k3s1"
OLD_TOKEN, NEW_TOKEN = "old-token-0123456789abcdef", "new-token-fedcba9876543210"
ONE, TWO, THREE = "lifecycle-1", "lifecycle-2", "lifecycle-3"
SHOP = Site("shop", [ONE], [TWO], {"k3s__token": OLD_TOKEN})
PLANT = Site("plant", [ONE, TWO, THREE], variables={"k3s__token": OLD_TOKEN})
NEWER = json.dumps({"edge_kubernetes": {"k3s": B, "kubevirt": None}})
SITE = "molecule/k3s/converge.yml"


def newest(site: Site) -> Path:
    return max(site.copies.glob("*.tar.gz"), key=lambda path: path.name)


def blank(*names: str) -> None:
    """Take everything k3s away, as a new disk would have it."""
    for name in names:
        on(name, "systemctl", "stop", "k3s", "k3s-agent", "edgewright-k3s-clock.timer", check=False)
        on(name, "sh", "-c", "rm -rf /etc/rancher /var/lib/rancher /usr/local/bin/* /etc/systemd/system/k3s*.service")
        on(name, "systemctl", "daemon-reload")


# A server and an agent


def test_a_server_and_its_agent_run() -> None:
    SHOP.play(SITE)
    assert nodes(ONE) == {ONE: A, TWO: A}


def test_a_skipped_minor_version_is_refused_before_anything_changes() -> None:
    on(ONE, "cp", f"/usr/local/bin/k3s-{A}", "/usr/local/bin/k3s-v1.34.9+k3s1")
    on(ONE, "ln", "-sf", "k3s-v1.34.9+k3s1", "/usr/local/bin/k3s")
    on(ONE, "systemctl", "restart", "k3s")
    before = started(ONE)
    told = SHOP.play("playbooks/upgrade.yml", fails=True)
    assert "skips a minor version of Kubernetes" in told
    assert "Upgrade to a release of v1.35 first" in told
    assert started(ONE) == before
    assert not SHOP.copies.exists()
    on(ONE, "ln", "-sf", f"k3s-{A}", "/usr/local/bin/k3s")
    on(ONE, "systemctl", "restart", "k3s")


def test_an_upgrade_goes_from_server_to_agent_and_is_backed_up() -> None:
    told = SHOP.play("playbooks/upgrade.yml", "-e", NEWER)
    assert f"{B} comes to: {ONE}, {TWO}" in told
    assert nodes(ONE) == {ONE: B, TWO: B}
    assert newest(SHOP).name.endswith("-sqlite.tar.gz")
    # CLOCK_MONOTONIC is the same for all containers of a machine.
    assert int(started(ONE)) < int(started(TWO, "k3s-agent"))


def test_an_upgrade_that_is_done_changes_nothing() -> None:
    before = started(ONE)
    told = SHOP.play("playbooks/upgrade.yml", "-e", NEWER)
    assert f"All nodes run {B}" in told
    assert started(ONE) == before
    assert re.findall(r"changed=([1-9]\d*)", told) == []


def test_a_step_back_is_refused() -> None:
    assert "an older version cannot read the datastore of a newer one" in SHOP.play("playbooks/upgrade.yml", fails=True)


def test_backups_are_private_whole_and_not_too_many() -> None:
    keep(ONE, "of-the-backup")
    for _ in range(3):
        SHOP.play("playbooks/backup.yml", "-e", "backup_keep=2")
    for listed in (on(ONE, "ls", "/var/lib/edgewright/backups").split(), [path.name for path in SHOP.copies.iterdir()]):
        assert len(listed) == 2
    assert stat.S_IMODE(newest(SHOP).stat().st_mode) == 0o600
    assert stat.S_IMODE(SHOP.copies.stat().st_mode) == 0o700
    assert on(ONE, "stat", "-c", "%a", f"/var/lib/edgewright/backups/{newest(SHOP).name}") == "600"
    names = subprocess.run(["tar", "-tzf", newest(SHOP)], capture_output=True, text=True, check=True).stdout.split()
    assert {"manifest.json", "datastore/state.db", "server/token", "node/password"} <= set(names)


def refused(site: Site, archive: Path, *arguments: str, confirm: str | None = None) -> str:
    before = {name: started(name) for name in site.servers}
    confirm = site.name if confirm is None else confirm
    told = site.play(
        "playbooks/restore.yml",
        "-e",
        f"backup={archive}",
        "-e",
        f"confirm={confirm}",
        "-e",
        NEWER,
        *arguments,
        fails=True,
    )
    assert {name: started(name) for name in site.servers} == before
    return told


def test_a_damaged_backup_is_refused_before_anything_changes() -> None:
    content = bytearray(gzip.decompress(newest(SHOP).read_bytes()))
    content[content.index(b"SQLite format 3") + 5000] ^= 1
    bad = SCENARIO / "bad.tar.gz"
    bad.write_bytes(gzip.compress(content))
    assert "datastore/state.db: is damaged; found sha256:" in refused(SHOP, bad)


def test_a_backup_without_its_token_is_refused_before_anything_changes() -> None:
    work = SCENARIO / "work"
    work.mkdir()
    subprocess.run(["tar", "-xzf", newest(SHOP), "-C", work], check=True)
    (work / "server/token").unlink()
    bad = SCENARIO / "tokenless.tar.gz"
    members = sorted(str(path.relative_to(work)) for path in work.rglob("*") if path.is_file())
    subprocess.run(["tar", "-czf", bad, "-C", work, *members], check=True)
    assert "server/token: is missing in the backup" in refused(SHOP, bad)


def test_a_backup_for_another_token_is_refused_and_no_secret_told() -> None:
    told = refused(SHOP, newest(SHOP), "-e", f"k3s__token={NEW_TOKEN}", "-vvv")
    assert "was made with another token than the site's" in told
    assert OLD_TOKEN not in told


def test_nothing_is_restored_without_a_confirmation() -> None:
    assert "Nothing was changed: 'confirm' is 'yes'" in refused(SHOP, newest(SHOP), confirm="yes")


def test_sqlite_comes_back_on_a_blank_server_and_its_agent_finds_it() -> None:
    blank(ONE)
    told = SHOP.play("playbooks/restore.yml", "-e", f"backup={newest(SHOP)}", "-e", "confirm=shop", "-e", NEWER, "-vvv")
    assert "of-the-backup" in kept(ONE)
    assert nodes(ONE) == {ONE: B, TWO: B}
    assert OLD_TOKEN not in told
    assert on(ONE, "find", "/var/lib/edgewright/restore", "-type", "f", check=False) == ""
    assert on(ONE, "systemctl", "is-active", "edgewright-k3s-clock.timer") == "active"


def test_certificates_are_made_anew() -> None:
    serial = ["openssl", "x509", "-noout", "-serial", "-in", "/var/lib/rancher/k3s/server/tls/client-admin.crt"]
    before = on(ONE, *serial)
    SHOP.play("playbooks/rotate.yml", "-e", "rotate=certificates", "-e", NEWER)
    assert on(ONE, *serial) != before
    assert nodes(ONE) == {ONE: B, TWO: B}


@pytest.mark.parametrize("rotate", ["", "tokens", "token,all"])
def test_a_rotation_of_nothing_known_is_refused(rotate: str) -> None:
    assert "expected any of token, certificates, encryption" in SHOP.play(
        "playbooks/rotate.yml", "-e", f"rotate={rotate}", fails=True
    )


def test_a_reset_is_not_done_without_a_confirmation() -> None:
    assert "Nothing was changed" in SHOP.play("playbooks/reset.yml", fails=True)
    assert nodes(ONE) == {ONE: B, TWO: B}


def test_a_reset_keeps_volumes_and_backups_only() -> None:
    for name in (ONE, TWO):
        on(name, "mkdir", "-p", "/var/lib/rancher/k3s/storage/pvc-1")
        on(name, "touch", "/var/lib/rancher/k3s/storage/pvc-1/disk.img")
    SHOP.play("playbooks/reset.yml", "-e", "confirm=shop")
    for name in (ONE, TWO):
        assert on(name, "find", "/var/lib/rancher", "/etc/rancher", "-type", "f", check=False) == (
            "/var/lib/rancher/k3s/storage/pvc-1/disk.img"
        )
        assert on(name, "systemctl", "list-unit-files", "--no-legend", "k3s*", check=False) == ""
        assert on(name, "pgrep", "-f", "k3s", check=False) == ""
    assert on(ONE, "ls", "/var/lib/edgewright/backups")
    SHOP.play("playbooks/reset.yml", "-e", "confirm=shop", "-e", "reset_volumes=true", "-e", "reset_backups=true")
    assert on(ONE, "ls", "/var/lib/edgewright/backups", "/var/lib/rancher/k3s/storage", check=False) == ""


# Three servers


def test_three_servers_run() -> None:
    PLANT.play(SITE)
    assert nodes(TWO) == {ONE: A, TWO: A, THREE: A}


def test_a_bad_node_stops_the_upgrade_which_goes_on_later() -> None:
    folder = "/etc/systemd/system/k3s.service.d"
    drop_in = f"{folder}/99-bad.conf"
    on(TWO, "mkdir", "-p", folder)
    on(TWO, "sh", "-c", f"printf '[Service]\\nExecStartPre=/bin/false\\n' >{drop_in}")
    told = PLANT.play("playbooks/upgrade.yml", "-e", NEWER, "-e", "k3s__ready_timeout=120", fails=True)
    assert f"{TWO} could not be upgraded" in told
    assert "run upgrade.yml again" in told
    assert nodes(ONE).get(ONE) == B
    assert nodes(ONE).get(THREE) == A
    on(TWO, "rm", drop_in)
    on(TWO, "systemctl", "daemon-reload")
    on(TWO, "systemctl", "reset-failed", "k3s")
    on(TWO, "systemctl", "restart", "k3s")
    first = started(ONE)
    told = PLANT.play("playbooks/upgrade.yml", "-e", NEWER)
    assert nodes(ONE) == {ONE: B, TWO: B, THREE: B}
    assert started(ONE) == first


def test_keys_of_secrets_are_made_anew() -> None:
    status = ["k3s", "secrets-encrypt", "status", "--output", "json"]
    before = on(ONE, *status)
    PLANT.play("playbooks/rotate.yml", "-e", "rotate=encryption", "-e", NEWER)
    assert on(ONE, *status) != before


def test_a_new_token_lets_nodes_join_and_is_told_to_nobody() -> None:
    told = PLANT.play(
        "playbooks/rotate.yml", "-e", "rotate=token", "-e", NEWER, "-e", f"k3s__token={NEW_TOKEN}", "-vvv"
    )
    assert nodes(ONE) == {ONE: B, TWO: B, THREE: B}
    for name in PLANT.servers:
        assert on(name, "cat", "/etc/rancher/k3s/token") == NEW_TOKEN
        assert on(name, "stat", "-c", "%a", "/etc/rancher/k3s/token") == "600"
        assert on(name, "cat", "/var/lib/rancher/k3s/server/token").endswith(f"::server:{NEW_TOKEN}")
    assert OLD_TOKEN not in told
    assert NEW_TOKEN not in told.replace(f"k3s__token={NEW_TOKEN}", "")
    PLANT.variables["k3s__token"] = NEW_TOKEN


def test_etcd_comes_back_on_blank_servers() -> None:
    keep(ONE, "of-the-snapshot")
    PLANT.play("playbooks/backup.yml")
    assert newest(PLANT).name.endswith("-etcd.tar.gz")
    blank(ONE, TWO, THREE)
    PLANT.play("playbooks/restore.yml", "-e", f"backup={newest(PLANT)}", "-e", "confirm=plant", "-e", NEWER)
    assert "of-the-snapshot" in kept(THREE)
    assert nodes(TWO) == {ONE: B, TWO: B, THREE: B}


def test_etcd_goes_back_on_servers_that_run() -> None:
    keep(ONE, "after-the-snapshot")
    PLANT.play("playbooks/restore.yml", "-e", f"backup={newest(PLANT)}", "-e", "confirm=plant", "-e", NEWER)
    found = kept(TWO)
    assert "of-the-snapshot" in found
    assert "after-the-snapshot" not in found
    assert nodes(ONE) == {ONE: B, TWO: B, THREE: B}


def test_a_node_alone_is_reset_and_leaves_the_cluster() -> None:
    PLANT.play("playbooks/reset.yml", "-e", "confirm=plant", "--limit", THREE)
    assert nodes(ONE) == {ONE: B, TWO: B}


def test_no_token_is_in_any_log() -> None:
    log = (SCENARIO / "playbooks.log").read_text()
    told = [line for line in log.splitlines() if not line.startswith("===== ")]
    for token in (OLD_TOKEN, NEW_TOKEN):
        assert not [line for line in told if token in line and f"k3s__token={token}" not in line]

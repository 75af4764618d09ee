"""What a node does after the role ``k3s`` ran, ran again with other settings, and its power went at a bad moment."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

VERSION = "v1.36.6+k3s1"
DATA = "/var/lib/rancher/k3s"
STATE = f"{DATA}/server/db/state.db"
# Runs one statement on the datastore and prints what it returns.
ASK = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])"
# A write-ahead log of another database: what is left when the file it belongs to was replaced or lost.
STALE_LOG = """
import shutil, sqlite3, sys
other = sqlite3.connect("/tmp/other.db", isolation_level=None)
other.execute("PRAGMA journal_mode=WAL")
other.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
other.execute("CREATE INDEX i ON t (b)")
other.executemany("INSERT INTO t (b) VALUES (?)", [(str(n) * 50,) for n in range(5000)])
other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
other.execute("UPDATE t SET b = 'new' WHERE a % 500 = 0")
shutil.copy("/tmp/other.db-wal", sys.argv[1] + "-wal")
"""


def start(host: Any) -> None:
    """Start k3s and wait until the node is ready."""
    host.check_output("systemctl start k3s")
    ready(host)


def ready(host: Any) -> None:
    """Wait until the node's own check is content."""
    for _ in range(240):
        if host.run("/etc/edgewright/health.d/k3s").rc == 0:
            return
        time.sleep(0.5)
    raise AssertionError(host.check_output("journalctl -u k3s -n 30 --no-pager"))


def pods(host: Any) -> dict[str, str]:
    """Return the phase of each pod by its name."""
    found = json.loads(host.check_output("kubectl get pods -A -o json"))
    return {item["metadata"]["name"]: item["status"]["phase"] for item in found["items"]}


def test_node_is_ready_with_the_version_of_the_site(host: Any) -> None:
    assert host.check_output("/etc/edgewright/health.d/k3s") == f"ready, {VERSION}"
    node = json.loads(host.check_output("kubectl get node node-k3s -o json"))
    assert node["metadata"]["labels"]["edgewright.io/place"] == "back-office"


def test_programs_have_their_version_in_their_names(host: Any) -> None:
    assert host.file("/usr/local/bin/k3s").linked_to == f"/usr/local/bin/k3s-{VERSION}"
    assert host.file("/usr/local/bin/kubectl").linked_to == f"/usr/local/bin/k3s-{VERSION}"
    names = host.check_output("ls /usr/local/bin").split()
    # Gone back to can be the one before; older ones are gone, refused ones never got here.
    assert {name for name in names if name.startswith("k3s-")} == {f"k3s-{VERSION}", "k3s-v1.36.5+k3s1"}


def test_files_with_secrets_are_closed(host: Any) -> None:
    for path in ("/etc/rancher/k3s/config.yaml", "/etc/rancher/k3s/registries.yaml", "/etc/rancher/k3s/k3s.yaml"):
        assert host.file(path).mode == 0o600
        assert host.file(path).user == "root"
    # A token that is no longer given is no longer there; the single node has its own.
    assert not host.file("/etc/rancher/k3s/token").exists
    assert host.file(f"{DATA}/server/token").mode == 0o600


def test_no_secret_is_in_an_argument_or_the_log(host: Any) -> None:
    own = host.check_output(f"sed s/.*::server:// {DATA}/server/token")
    for secret in (own, "registry-pass-3141592653"):
        assert host.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -F -- '%s' | grep -v grep", secret).stdout == ""
        assert host.run("journalctl -u k3s --no-pager | grep -cF -- %s", secret).stdout.strip() == "0"


def test_images_are_imported_and_pinned(host: Any) -> None:
    images = json.loads(host.check_output("crictl images --output=json"))["images"]
    assert len(images) == 4
    assert all(image["pinned"] for image in images)
    assert set(pods(host).values()) == {"Running"}
    assert "dashboard-0" in pods(host)


def test_archives_can_be_read_by_another_program(host: Any) -> None:
    (name,) = host.check_output(f"ls {DATA}/agent/images | grep dashboard").split()
    index = json.loads(host.check_output(f"tar -xOf {DATA}/agent/images/{name} index.json"))
    (entry,) = index["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/library/dashboard:1.0.0"
    digest = entry["digest"].removeprefix("sha256:")
    assert digest[:12] in name
    found = host.check_output(f"tar -xOf {DATA}/agent/images/{name} blobs/sha256/{digest} | sha256sum")
    assert found.split()[0] == digest


def test_k3s_waits_for_the_clock_and_is_checked_before_it_starts(host: Any) -> None:
    assert "time-sync.target" in host.check_output("systemctl show -P After k3s").split()
    assert "multi-user.target" in host.check_output("systemctl show -P WantedBy k3s")


def test_stale_log_of_the_datastore_is_put_aside(host: Any) -> None:
    host.check_output("systemctl stop k3s")
    # As a power cut leaves it: k3s has not copied its own log into the database.
    host.check_output("rm -f /tmp/other.db*")
    host.check_output("python3 -c %s %s %s", ASK, STATE, "PRAGMA wal_checkpoint(TRUNCATE)")
    host.check_output("python3 -c %s %s", STALE_LOG, STATE)
    start(host)
    assert host.check_output("python3 -c %s %s %s", ASK, STATE, "PRAGMA quick_check") == "ok"
    assert "its write-ahead log was broken" in host.check_output("journalctl -u k3s -n 100 --no-pager")
    assert "dashboard-0" in pods(host)
    assert host.check_output(f"ls {DATA}/server/db").count("-wal.broken") == 1


def test_broken_datastore_is_not_started_and_the_node_says_so(host: Any) -> None:
    host.check_output("systemctl stop k3s")
    host.check_output(f"cp -a {DATA}/server/db /tmp/db-kept")
    try:
        host.check_output("python3 -c %s %s %s", ASK, STATE, "PRAGMA wal_checkpoint(TRUNCATE)")
        host.check_output(f"dd if=/dev/urandom of={STATE} bs=4096 seek=1 count=4 conv=notrunc status=none")
        assert host.run("systemctl start k3s").rc != 0
        said = host.check_output("journalctl -u k3s -n 30 --no-pager")
        assert f"{STATE}: is broken; SQLite says: " in said
        assert "restore.yml" in said
        assert host.run("/etc/edgewright/health.d/k3s").rc == 1
    finally:
        host.check_output("systemctl stop k3s")
        host.check_output(f"rm -rf {DATA}/server/db && cp -a /tmp/db-kept {DATA}/server/db && rm -rf /tmp/db-kept")
        start(host)
    assert "dashboard-0" in pods(host)


# What containerd 2.3 writes when its database does not open; it then goes on without serving Kubernetes.
CANNOT_OPEN = (
    'time="2026-11-23T06:31:56Z" level=info msg="starting containerd" revision= version=v2.3.2-k3s2\n'
    'time="2026-11-23T06:31:56Z" level=warning msg="failed to load plugin" error="invalid database" '
    "id=io.containerd.metadata.v1.bolt type=io.containerd.metadata.v1\n"
)


@pytest.mark.parametrize("damage", ["meta pages", "cut short", "empty blob", "does not open"])
def test_broken_containerd_store_is_made_anew_from_the_archives(host: Any, damage: str) -> None:
    host.check_output("systemctl stop k3s")
    store = f"{DATA}/agent/containerd"
    if damage == "meta pages":
        meta = f"{store}/io.containerd.metadata.v1.bolt/meta.db"
        host.check_output(f"dd if=/dev/zero of={meta} bs=4096 count=2 conv=notrunc status=none")
    elif damage == "cut short":
        host.check_output(f"truncate --size=100 {store}/io.containerd.metadata.v1.bolt/meta.db")
    elif damage == "does not open":
        host.check_output("printf %%s %s >>%s", CANNOT_OPEN, f"{store}/containerd.log")
        asked = host.run("/usr/lib/edgewright/repair-containerd --started")
        assert (asked.rc, "invalid database" in asked.stdout) == (1, True)
    else:
        blobs = f"{store}/io.containerd.content.v1.content/blobs/sha256"
        host.check_output(f"mkdir -p {blobs} && : >{blobs}/{'ab' * 32}")
    start(host)
    assert "containerd's store was broken" in host.check_output("journalctl -u k3s -n 60 --no-pager")
    assert len(json.loads(host.check_output("crictl images --output=json"))["images"]) == 4


# As a clock that was years ahead would have had it.
MADE_AHEAD = """
cd %s/server/tls
openssl req -new -key client-admin.key -subj /O=system:masters/CN=system:admin |
    openssl x509 -req -CA server-ca.crt -CAkey server-ca.key -not_before 20400101000000Z -not_after 20410101000000Z \\
    -out client-admin.crt
"""


def test_certificates_of_a_clock_that_was_ahead_are_made_anew(host: Any) -> None:
    host.check_output("systemctl stop k3s")
    host.check_output("sh -c %s", MADE_AHEAD % DATA)
    start(host)
    said = host.check_output("journalctl -u k3s -n 60 --no-pager")
    assert "made while the clock was ahead (valid from 2040-01-01T00:00:00Z): made anew" in said
    assert "dashboard-0" in pods(host)


def test_a_jump_of_the_clock_is_looked_into(host: Any) -> None:
    assert host.service("edgewright-k3s-clock.timer").is_running
    host.check_output("sh -c %s", MADE_AHEAD % DATA)
    before = host.check_output("systemctl show --property=ExecMainStartTimestampMonotonic k3s")
    host.check_output("systemctl start edgewright-k3s-clock.service")
    for _ in range(240):
        if host.check_output("systemctl show --property=ExecMainStartTimestampMonotonic k3s") != before:
            break
        time.sleep(0.5)
    assert host.check_output("systemctl show --property=ExecMainStartTimestampMonotonic k3s") != before
    ready(host)


def test_restart_imports_nothing_again(host: Any) -> None:
    cursor = host.check_output("journalctl -u k3s -n 0 --show-cursor --no-pager | sed -n 's/^-- cursor: //p'")
    host.check_output("systemctl restart k3s")
    ready(host)
    said = host.check_output("journalctl -u k3s --no-pager --after-cursor=%s", cursor)
    assert "Starting k3s" in said
    assert "Imported" not in said


def test_killed_node_comes_back_by_itself(host: Any) -> None:
    host.check_output("systemctl kill --signal=KILL k3s")
    for _ in range(240):
        state = host.check_output("systemctl show -P ActiveState k3s")
        if state == "active" and host.run("/etc/edgewright/health.d/k3s").rc == 0:
            break
        time.sleep(0.5)
    assert host.check_output("systemctl show -P NRestarts k3s") != "0"


def test_no_unit_has_failed(host: Any) -> None:
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""

"""Backup and restore of a datastore: real SQLite databases being written, archives opened with tar(1) and sqlite3."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

AUTHORITY = "c" * 64
TOKEN = f"K10{AUTHORITY}::server:s3cr3t\n"
# Speaks as k3s does (cmd/k3s/main.go, pkg/cli/etcdsnapshot/etcd_snapshot.go): the version on the first line, a snapshot
# named <name>-<node>-<time>.
PROGRAM = """#!{python}
import pathlib, sys
arguments, snapshots = sys.argv[1:], pathlib.Path({home!r}) / "server/db/snapshots"
if arguments == ["--version"]:
    print("k3s version v1.36.5+k3s1 (46177d4c)\\ngo version go1.26.0")
elif arguments[:3] == ["etcd-snapshot", "save", "--name"]:
    snapshots.mkdir(exist_ok=True)
    (snapshots / (arguments[3] + "-till-01-1700000000")).write_bytes(b"bolt pages of etcd")
elif arguments[:2] == ["etcd-snapshot", "delete"]:
    (snapshots / arguments[2]).unlink()
else:
    sys.exit('level=fatal msg="Error: unknown command"')
"""


@pytest.fixture
def home(tmp_path):
    """A server's folder with a token, keys, authorities and a node's password; its database is made by each test."""
    home = tmp_path / "k3s"
    for name, content in {
        "server/token": TOKEN,
        "server/cred/passwd": "s3cr3t,server,server,k3s:server\n",
        "server/cred/encryption-config.json": "{}",
        "server/tls/server-ca.key": "key",
        "server/tls/etcd/server-ca.crt": "authority",
        "node/password": "n0de",
        "server/manifests/dashboard.yaml": "kind: List",
    }.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (home / "server/db").mkdir()
    program = tmp_path / "bin-k3s"
    program.write_text(PROGRAM.format(python=sys.executable, home=str(home)))
    program.chmod(0o755)
    return home


@pytest.fixture
def database(home):
    """A database in write-ahead mode that another thread keeps writing, two rows at a time, as k3s does."""
    path = home / "server/db/state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE kine (id INTEGER PRIMARY KEY, value BLOB)")
        connection.executemany("INSERT INTO kine (value) VALUES (?)", [(os.urandom(4000),)] * 500)
        connection.commit()
    stop = threading.Event()

    def write():
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            while not stop.wait(0.001):
                connection.executemany("INSERT INTO kine (value) VALUES (?)", [(b"one",), (b"two",)])
                connection.commit()

    writer = threading.Thread(target=write)
    writer.start()
    yield path
    stop.set()
    writer.join()


@pytest.fixture
def etcd(home):
    (home / "server/db/etcd/member").mkdir(parents=True)


@pytest.fixture
def back_up(run_module, home, tmp_path):
    common = {
        "cluster": "shop",
        "node": "till-01",
        "directory": str(tmp_path / "backups"),
        "data_dir": str(home),
        "node_password": str(home / "node/password"),
        "k3s": str(tmp_path / "bin-k3s"),
    }
    return lambda **arguments: run_module("k3s_datastore_backup", **{**common, **arguments})


@pytest.fixture
def put_back(run_module, tmp_path):
    """Restores onto a blank node, unless told where."""
    common = {
        "cluster": "shop",
        "node": "till-01",
        "data_dir": str(tmp_path / "blank"),
        "node_password": str(tmp_path / "blank-etc/node/password"),
    }
    return lambda archive, **arguments: run_module(
        "k3s_datastore_restore", **{**common, "archive": str(archive), **arguments}
    )


def rows(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM kine").fetchone()[0]


def members(archive):
    return sorted(subprocess.run(["tar", "-tzf", archive], capture_output=True, text=True, check=True).stdout.split())


def rewritten(archive, target, change):
    """Write an archive again with its members (name: bytes) changed by a function."""
    with tarfile.open(archive) as tar:
        content = {member.name: tar.extractfile(member).read() for member in tar}
    change(content)
    with tarfile.open(target, "w:gz") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return target


@pytest.mark.usefixtures("database")
def test_a_database_being_written_is_copied_at_one_moment(back_up, tmp_path):
    result = back_up()
    assert result["changed"]
    assert (result["datastore"], result["k3s_version"]) == ("sqlite", "v1.36.5+k3s1")
    archive = Path(result["archive"])
    assert archive.stat().st_mode & 0o777 == 0o600
    assert archive.parent.stat().st_mode & 0o777 == 0o700
    assert result["checksum"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    assert rows(tmp_path / "datastore/state.db") % 2 == 0
    assert rows(tmp_path / "datastore/state.db") >= 500


@pytest.mark.usefixtures("database")
def test_archive_has_what_a_start_needs_and_says_the_digest_of_each(back_up, tmp_path):
    archive = back_up()["archive"]
    assert members(archive) == [
        "datastore/state.db",
        "manifest.json",
        "node/password",
        "server/cred/encryption-config.json",
        "server/cred/passwd",
        "server/tls/etcd/server-ca.crt",
        "server/tls/server-ca.key",
        "server/token",
    ]
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["cluster"], manifest["node"], manifest["k3s"]) == ("shop", "till-01", "v1.36.5+k3s1")
    for name, digest in manifest["members"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


@pytest.mark.usefixtures("database")
def test_nothing_secret_is_told(back_up, put_back):
    result = back_up()
    told = json.dumps([result, put_back(result["archive"], token="0f99"), put_back(result["archive"])])
    assert "s3cr3t" not in told
    assert "n0de" not in told


@pytest.mark.usefixtures("etcd")
def test_nothing_but_the_archive_is_left(back_up, home):
    archive = Path(back_up()["archive"])
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    assert list((home / "server/db/snapshots").iterdir()) == []


@pytest.mark.usefixtures("database")
def test_check_mode_tells_and_writes_nothing(back_up, tmp_path):
    result = back_up(check=True)
    assert result["changed"]
    assert result["archive"].endswith("-sqlite.tar.gz")
    assert not (tmp_path / "backups").exists()


@pytest.mark.usefixtures("database")
def test_only_as_many_stay_as_asked_for(back_up, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in range(1, 5):
        (folder / f"shop-2020010{day}T000000Z-sqlite.tar.gz").touch()
    (folder / "other-20200101T000000Z-sqlite.tar.gz").touch()
    result = back_up(keep=3)
    assert [Path(path).name[:13] for path in result["removed"]] == ["shop-20200101", "shop-20200102"]
    names = sorted(path.name[:13] for path in folder.iterdir())
    assert names[:3] == ["other-2020010", "shop-20200103", "shop-20200104"]
    assert len(names) == 4


@pytest.mark.usefixtures("database")
def test_a_backup_without_token_is_not_made(back_up, home, tmp_path):
    (home / "server/token").write_text("\n")
    result = back_up()
    assert result["failed"]
    assert "server/token: is missing: a backup without the token could never be read" in result["msg"]
    assert not (tmp_path / "backups").exists()


def test_a_node_without_datastore_says_so(back_up, home):
    result = back_up()
    assert result["failed"]
    assert f"{home}/server/db: has no datastore of k3s; expected state.db or etcd/" in result["msg"]


def test_a_damaged_database_is_no_backup(back_up, database, tmp_path):
    (database.parent / "broken").write_bytes(b"")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 40))
    result = back_up()
    assert result["failed"]
    assert "state.db" in result["msg"]
    assert list((tmp_path / "backups").iterdir()) == []


@pytest.mark.usefixtures("etcd")
def test_a_program_that_fails_says_why(back_up, tmp_path):
    (tmp_path / "bin-k3s").write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo 'k3s version v1 (x)' || { echo no etcd >&2; exit 1; }\n"
    )
    result = back_up()
    assert "etcd-snapshot save" in result["msg"]
    assert "failed with exit status 1: no etcd" in result["msg"]


@pytest.mark.usefixtures("database")
def test_sqlite_comes_back_on_a_blank_node(back_up, put_back, tmp_path):
    archive = back_up()["archive"]
    result = put_back(archive, token="s3cr3t")
    assert result["changed"]
    assert "snapshot" not in result
    blank = tmp_path / "blank/server"
    assert rows(blank / "db/state.db") >= 500
    assert (blank / "token").read_text() == TOKEN
    assert (blank / "cred/passwd").exists()
    assert (blank / "tls/etcd/server-ca.crt").read_text() == "authority"
    assert (tmp_path / "blank-etc/node/password").read_text() == "n0de"
    for path in (blank / "token", blank / "db/state.db", blank / "tls/server-ca.key"):
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("etcd")
def test_a_snapshot_of_etcd_lies_where_a_reset_finds_it(back_up, put_back, tmp_path):
    result = put_back(back_up()["archive"])
    assert Path(result["snapshot"]).read_bytes() == b"bolt pages of etcd"
    assert (tmp_path / "blank/server/token").read_text() == TOKEN
    assert not (tmp_path / "blank/server/db").exists()


@pytest.mark.usefixtures("etcd")
def test_another_node_keeps_its_own_password(back_up, put_back, tmp_path):
    put_back(back_up()["archive"], node="till-02")
    assert not (tmp_path / "blank-etc").exists()


def test_what_was_there_is_kept_aside(back_up, put_back, database, home):
    archive = back_up()["archive"]
    before = rows(database)
    for _ in range(4):
        put_back(archive, data_dir=str(home), node_password=str(home / "node/password"))
    old = sorted((home / "server").glob("replaced-by-restore-*"))
    assert len(old) == 2
    assert rows(old[0] / "db/state.db") <= before
    assert (home / "server/manifests/dashboard.yaml").exists()
    assert not list((home / "server/db").glob("*-wal"))


def test_what_was_there_stays_though_the_clock_is_behind(back_up, put_back, database, home):
    archive = back_up()["archive"]
    for year in (2098, 2099):
        (home / "server" / f"replaced-by-restore-{year}0101T000000.000000Z").mkdir()
    put_back(archive, data_dir=str(home), node_password=str(home / "node/password"))
    ours, later = sorted((home / "server").glob("replaced-by-restore-*"))
    assert rows(ours / "db/state.db") >= rows(database)
    assert later.name == "replaced-by-restore-20990101T000000.000000Z"


@pytest.mark.usefixtures("database")
def test_check_mode_verifies_and_writes_nothing(back_up, put_back, tmp_path):
    archive = Path(back_up()["archive"])
    result = put_back(archive, check=True)
    assert result["changed"]
    assert result["node"] == "till-01"
    assert not (tmp_path / "blank").exists()
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


def drop_token(content):
    del content["server/token"]
    manifest = json.loads(content["manifest.json"])
    del manifest["members"]["server/token"]
    content["manifest.json"] = json.dumps(manifest).encode()


def flip_byte(content):
    content["server/tls/server-ca.key"] = b"kez"


def add_link(content):
    content["../../escaped"] = b"x"


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop_token, "server/token: is missing: without its token a datastore cannot be read"),
        (flip_byte, "server/tls/server-ca.key: is damaged; found sha256:"),
        (lambda content: content.pop("manifest.json"), "has no manifest.json"),
        (lambda content: content.pop("datastore/state.db"), "datastore/state.db: is missing in the backup"),
        (add_link, "is not a plain file of the backup"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_a_bad_archive_is_refused_before_anything_changes(back_up, put_back, tmp_path, change, words, check):
    blank = tmp_path / "blank/server"
    blank.mkdir(parents=True)
    (blank / "token").write_text("mine")
    bad = rewritten(back_up()["archive"], tmp_path / "bad.tar.gz", change)
    result = put_back(bad, check=check)
    assert result["failed"]
    assert words in result["msg"]
    assert [path.name for path in blank.iterdir()] == ["token"]
    assert (blank / "token").read_text() == "mine"
    assert not (tmp_path / "escaped").exists()


@pytest.mark.usefixtures("etcd")
def test_a_flipped_byte_anywhere_is_found(back_up, put_back, tmp_path):
    archive = Path(back_up()["archive"])
    content = bytearray(gzip.decompress(archive.read_bytes()))
    content[content.index(b"bolt pages")] ^= 1
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(gzip.compress(content))
    assert "datastore/snapshot/" in put_back(bad)["msg"]
    raw = bytearray(archive.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    bad.write_bytes(raw)
    assert put_back(bad)["failed"]
    bad.write_bytes(archive.read_bytes()[:-100])
    assert "cannot be read to its end" in put_back(bad)["msg"]


@pytest.mark.usefixtures("etcd")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cluster": "plant"}, "is of another cluster; found shop; expected plant"),
        ({"token": "0f99"}, "was made with another token than the site's"),
    ],
)
def test_an_archive_of_something_else_is_refused(back_up, put_back, tmp_path, arguments, words):
    assert words in put_back(back_up()["archive"], **arguments)["msg"]
    assert not (tmp_path / "blank/server/token").exists()


def test_an_archive_that_is_not_there_says_so(put_back, tmp_path):
    assert put_back(tmp_path / "none.tar.gz")["msg"] == f"{tmp_path}/none.tar.gz: does not exist."


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("arguments", "words"), [({"keep": 0}, "keep: keeps no backup"), ({"cluster": "../x"}, "RFC 1123")]
)
def test_bad_parameters_are_refused(back_up, arguments, words):
    assert words in back_up(**arguments)["msg"]

"""Backup and restore of disks of machines that are off: real images, made, broken and opened with QEMU's own programs.

Running machines are backed up in Molecule (``molecule/virtual_machines``), where there is a libvirt.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.plugins.modules import vm_backup
from ansible_collections.edgewright.edge.tests.unit import libvirt_binding

MIB = 1024**2


@pytest.fixture
def disks(tmp_path):
    """Two raw disks of a machine, as a node of a cluster has them, with something in each and holes."""
    paths = [tmp_path / "machines/till/disk0/disk.img", tmp_path / "machines/till/disk1/disk.img"]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            file.seek(3 * MIB)
            file.write(bytes([65 + number]) * MIB)
            file.truncate(16 * MIB)
    return paths


@pytest.fixture
def back_up(run_module, disks, tmp_path):
    common = {
        "name": "till",
        "site": "shop",
        "node": "shop-01",
        "directory": str(tmp_path / "backups"),
        "disks": [str(path) for path in disks],
    }
    return lambda **arguments: run_module("vm_backup", **{**common, **arguments})


@pytest.fixture
def put_back(run_module, disks):
    common = {"name": "till", "site": "shop", "disks": [str(path) for path in disks]}
    return lambda backup, **arguments: run_module("vm_restore", **{**common, "backup": str(backup), **arguments})


@pytest.fixture
def running(disks):
    """Open the first disk as a running machine does: another program of QEMU's, with its locks."""
    node = f"driver=file,node-name=disk,filename={disks[0]}"
    export = "type=vhost-user-blk,id=export,node-name=disk,writable=on,addr.type=unix"
    socket = disks[0].parents[2] / "socket"
    command = ["qemu-storage-daemon", f"--blockdev={node}", f"--export={export},addr.path={socket}"]
    if shutil.which(command[0]) is None:
        pytest.skip("qemu-storage-daemon is not installed")
    with subprocess.Popen(command) as process:
        until = time.monotonic() + 60
        while not socket.exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert socket.exists()
        yield
        process.terminate()


def folder_of(tmp_path):
    return sorted(path.name for path in (tmp_path / "backups").iterdir() if not path.name.endswith(".lock"))


def same(one, other, form="qcow2"):
    command = ["qemu-img", "compare", "-f", form, "-F", "raw", one, other]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_a_backup_has_the_disks_and_says_so(back_up, disks, tmp_path):
    told = back_up()
    folder = Path(told["backup"])
    assert (told["consistency"], told["frozen_filesystems"], told["not_frozen"]) == ("offline", 0, "")
    assert sorted(told["files"]) == sorted(str(path) for path in folder.iterdir())
    for number, disk in enumerate(disks):
        assert same(folder / f"disk{number}.qcow2", disk)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, found in manifest["members"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == found
    assert [(disk["format"], disk["size"]) for disk in manifest["disks"]] == [("raw", 16 * MIB)] * 2
    assert (manifest["site"], manifest["machine"], manifest["node"]) == ("shop", "till", "shop-01")
    assert folder_of(tmp_path) == [f"shop-till-{told['created']}"]
    assert told["size"] < 2 * MIB
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o600"}
    assert oct(folder.stat().st_mode & 0o777) == "0o700"


def test_check_mode_tells_and_writes_nothing(back_up, tmp_path):
    told = back_up(check=True)
    assert (told["changed"], told["consistency"]) == (True, "offline")
    assert not (tmp_path / "backups").exists()


@pytest.mark.parametrize("check", [True, False])
def test_a_guest_that_must_be_frozen_and_cannot_be_asked_is_refused_before_anything_is_made(
    run_module, disks, tmp_path, check, monkeypatch
):
    libvirt = libvirt_binding.load()
    monkeypatch.setattr(vm_backup, "libvirt", libvirt)
    connection = libvirt.open("test:///default")
    domain = connection.createXML(
        "<domain type='test'><name>till</name><memory>8192</memory><os><type>hvm</type></os><devices>"
        f"<disk type='file'><source file='{disks[0]}'/><target dev='vda'/></disk></devices></domain>"
    )
    named = {"name": "till", "site": "shop", "node": "shop-01", "uri": "test:///default"}
    told = run_module("vm_backup", **named, directory=str(tmp_path / "backups"), freeze="require", check=check)
    domain.destroy()
    connection.close()
    assert "till: cannot be frozen: no guest agent is connected" in told["msg"]
    assert not (tmp_path / "backups").exists()


def test_uncompressed_copies_are_the_same_disks(back_up, disks):
    folder = Path(back_up(compress=False)["backup"])
    assert same(folder / "disk1.qcow2", disks[1])


@pytest.mark.usefixtures("running")
def test_a_running_machine_is_refused(back_up, tmp_path):
    told = back_up()
    assert told["failed"]
    assert "disk0/disk.img: is in use: its machine runs" in told["msg"]
    assert not (tmp_path / "backups").exists()


def test_a_running_machine_is_not_restored(back_up, put_back, disks, request):
    folder = back_up()["backup"]
    request.getfixturevalue("running")
    told = put_back(folder)
    assert told["failed"]
    assert f"{disks[0]}: is in use" in told["msg"]
    assert not list(disks[0].parents[1].glob("replaced-*"))


def test_too_little_room_is_told_before_anything_is_written(back_up, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(MIB, 0, MIB))
    told = back_up()
    assert "has too little free space" in told["msg"]
    assert not (tmp_path / "backups").exists()


def test_old_backups_go_and_the_newest_stay(back_up, tmp_path):
    made = []
    for _ in range(3):
        made.append(Path(back_up(keep=2)["backup"]).name)
        time.sleep(1.1)
    # Of another machine, whose name begins the same.
    (tmp_path / "backups/shop-till-2-20200101T000000Z").mkdir()
    told = back_up(keep=1)
    assert [Path(path).name for path in told["removed"]] == made[1:]
    assert folder_of(tmp_path) == sorted(["shop-till-2-20200101T000000Z", Path(told["backup"]).name])


def test_which_old_backups_go_is_known_when_no_other_run_is_under_way(back_up, tmp_path, monkeypatch):
    old = Path(back_up()["backup"])
    alone = vm_backup.BackupFolder.alone

    def later(folder):
        # Another run has ended in between, and removed the same backup.
        shutil.rmtree(old)
        return alone(folder)

    monkeypatch.setattr(vm_backup.BackupFolder, "alone", later)
    time.sleep(1.1)
    told = back_up(keep=1)
    assert "msg" not in told
    assert told["removed"] == []
    assert folder_of(tmp_path) == [Path(told["backup"]).name]


def test_a_backup_that_was_left_to_the_user_who_fetched_it_is_taken_back(back_up):
    old = Path(back_up()["backup"])
    for path in (old, *old.iterdir()):
        os.chown(path, 1000, 1000)
    time.sleep(1.1)
    back_up()
    assert {path.stat().st_uid for path in (old, *old.iterdir())} == {os.geteuid()}


def test_remains_of_a_run_that_was_cut_short_are_gone_and_never_count(back_up, tmp_path):
    half = tmp_path / "backups/.shop-till-20260101T000000Z.partial"
    half.mkdir(parents=True)
    (half / "disk0.qcow2").write_bytes(b"half")
    told = back_up(keep=1)
    assert told["removed"] == []
    assert not half.exists()


def test_two_runs_do_not_mix(back_up, tmp_path):
    back_up()
    command = ["flock", "--no-fork", tmp_path / "backups/.shop-till.lock", "sleep", "30"]
    with subprocess.Popen(command) as other:
        time.sleep(1.1)
        told = back_up()
        other.terminate()
    assert "is being backed up already" in told["msg"]


def test_wrong_arguments_are_told_together(back_up):
    told = back_up(name="Till 1", site="../shop")
    assert "name: is not an RFC 1123 label" in told["msg"]
    assert "site: is not an RFC 1123 label" in told["msg"]


def test_it_comes_back_and_what_was_there_is_kept(back_up, put_back, disks):
    folder = back_up()["backup"]
    before = disks[0].read_bytes()
    disks[0].write_bytes(b"B" * 16 * MIB)
    told = put_back(folder)
    assert told["changed"]
    assert disks[0].read_bytes() == before
    assert disks[0].stat().st_blocks * 512 < 2 * MIB
    assert (disks[0].stat().st_uid, oct(disks[0].stat().st_mode & 0o777)) == (107, "0o600")
    assert (Path(told["replaced"]) / "disk0.img").read_bytes() == b"B" * 16 * MIB
    assert sorted(path.name for path in disks[0].parents[1].iterdir()) == [
        "disk0",
        "disk1",
        Path(told["replaced"]).name,
    ]


def test_the_newest_two_of_what_was_there_stay_and_none_if_so_wanted(back_up, put_back, disks):
    folder = back_up()["backup"]
    replaced = [put_back(folder)["replaced"] for _ in range(3)]
    assert [Path(path).exists() for path in replaced] == [False, True, True]
    assert put_back(folder, keep_replaced=False)["replaced"] == ""
    assert len(list(disks[0].parents[1].glob("replaced-*"))) == 2


def test_what_was_there_stays_though_the_clock_is_behind(back_up, put_back, disks):
    folder = back_up()["backup"]
    home = disks[0].parents[1]
    for year in (2097, 2098, 2099):
        (home / f"replaced-by-restore-{year}0101T000000.000000Z").mkdir()
    replaced = Path(put_back(folder)["replaced"])
    assert replaced.is_dir()
    assert sorted(path.name for path in home.glob("replaced-*")) == [
        replaced.name,
        "replaced-by-restore-20990101T000000.000000Z",
    ]


def test_it_comes_back_on_a_blank_node(back_up, put_back, disks):
    folder = back_up()["backup"]
    before = disks[1].read_bytes()
    shutil.rmtree(disks[0].parents[2])
    told = put_back(folder)
    assert told["replaced"] == ""
    assert disks[1].read_bytes() == before
    assert oct(disks[1].parent.stat().st_mode & 0o777) == "0o711"


def test_check_mode_verifies_and_puts_nothing_back(back_up, put_back, disks):
    folder = back_up()["backup"]
    disks[0].write_bytes(b"B" * 512)
    assert put_back(folder, check=True)["changed"]
    assert disks[0].read_bytes() == b"B" * 512
    (Path(folder) / "disk0.qcow2").unlink()
    assert "disk0.qcow2: is missing in the backup" in put_back(folder, check=True)["msg"]


def rewrite(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def lie(folder, name):
    members = json.loads((folder / "manifest.json").read_text())["members"]
    rewrite(folder, members={**members, name: hashlib.sha256((folder / name).read_bytes()).hexdigest()})


def reads_another(folder):
    command = [
        "qemu-img",
        "rebase",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        "/etc/shadow",
        folder / "disk0.qcow2",
    ]
    subprocess.run(command, check=True)
    lie(folder, "disk0.qcow2")


def is_larger(folder):
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", folder / "disk0.qcow2", "32M"], check=True)
    lie(folder, "disk0.qcow2")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: os.truncate(folder / "disk1.qcow2", 4096), "disk1.qcow2: is damaged; found sha256:"),
        (lambda folder: (folder / "disk1.qcow2").unlink(), "disk1.qcow2: is missing in the backup"),
        (lambda folder: (folder / "more").write_text(""), "more: is not in the backup's manifest"),
        (lambda folder: (folder / "evil").symlink_to("/etc/shadow"), "evil: is not a plain file"),
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "manifest.json: is not a manifest"),
        (lambda folder: rewrite(folder, format=2), "manifest.json: format: is not known here; found 2"),
        (lambda folder: rewrite(folder, consistency="good", disks=[]), "manifest.json: disks: are not images"),
        (lambda folder: rewrite(folder, members={"../x": "0" * 64}), "manifest.json: members: are not names"),
        (lambda folder: rewrite(folder, site="plant"), "is of another site; found plant; expected shop"),
        (lambda folder: rewrite(folder, machine="drawer"), "is of another machine; found drawer; expected till"),
        (reads_another, "has a backing file, and is no whole disk by itself"),
        (is_larger, "is not as large as its manifest says; found 33554432; expected 16777216"),
    ],
)
def test_a_backup_that_is_no_good_is_refused_before_anything_changes(back_up, put_back, disks, spoil, told):
    folder = Path(back_up()["backup"])
    before = [path.read_bytes() for path in disks]
    spoil(folder)
    answer = put_back(folder)
    assert answer["failed"]
    assert told in answer["msg"]
    assert [path.read_bytes() for path in disks] == before
    assert sorted(path.name for path in disks[0].parents[1].iterdir()) == ["disk0", "disk1"]


def test_everything_that_does_not_fit_is_told_at_once(back_up, put_back, disks):
    folder = back_up()["backup"]
    told = put_back(folder, name="drawer", disks=[str(disks[0])])
    assert "is of another machine; found till; expected drawer" in told["msg"]
    assert "has another number of disks; found 2; expected 1" in told["msg"]

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.edgewright.edge.tests.unit.ansible_cli import COLLECTIONS
from ansible_collections.edgewright.edge.tests.unit.machine_sources import (
    MIB,
    convert,
    efi_disk,
    ova,
    raw_disk,
    same_disk,
    source,
    stream_optimized,
)

ONE_FILE = (
    '<File ovf:href="till-1.vmdk" ovf:id="file1"/>',
    '<File ovf:href="till-1.vmdk" ovf:id="file1"%s/>',
)


@pytest.fixture
def raws(tmp_path):
    """The disks as the guest knows them."""
    return [efi_disk(tmp_path / "one.raw"), raw_disk(tmp_path / "two.raw", 16 * MIB)]


@pytest.fixture
def package(tmp_path, raws):
    """An OVF of VMware with two disks, in a folder of its own."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "till.ovf").write_bytes(source("vmware.ovf"))
    for number, raw in enumerate(raws, 1):
        stream_optimized(raw, folder / f"till-{number}.vmdk")
    return folder / "till.ovf"


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def files_of(package):
    return {path.name: path.read_bytes() for path in (package, *sorted(package.parent.glob("*.vmdk")))}


@pytest.mark.parametrize("form", ["qcow2", "raw"])
def test_disks_are_what_the_guest_knew_and_the_source_is_untouched(run_module, tmp_path, package, raws, form):
    before = digests(package.parent)
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"), format=form, diff=True)
    assert result["changed"]
    assert digests(package.parent) == before
    suffix = "qcow2" if form == "qcow2" else "img"
    for number, raw in enumerate(raws):
        disk = result["disks"][number]
        assert disk["path"] == str(tmp_path / "disks" / "back-office-old" / f"disk{number}.{suffix}")
        assert same_disk(raw, "raw", Path(disk["path"]), form)
        info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", "-f", form, disk["path"]]))
        assert info["virtual-size"] == disk["size"] == raw.stat().st_size == result["vm"]["disks"][number]["size"]
        assert info["actual-size"] < raw.stat().st_size / 2
        assert stat.S_IMODE(Path(disk["path"]).stat().st_mode) == 0o600
        assert disk["path"] in result["diff"]["after"]
    names = [f"disk{number}.{suffix}{end}" for number in (0, 1) for end in ("", ".import.json")]
    assert everything(tmp_path / "disks") == ["back-office-old", *(f"back-office-old/{name}" for name in names)]
    assert result["vm"] == run_module("vm_source_info", src=str(package), format=form)["vm"]


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("qcow2", ["-c"]),
        ("vmdk", ["-o", "subformat=twoGbMaxExtentFlat"]),
        ("vpc", ["-o", "force_size"]),
        ("vhdx", []),
        ("vdi", []),
        ("raw", []),
    ],
)
def test_a_disk_alone_is_imported_from_every_format(run_module, tmp_path, raws, form, options):
    disk = convert(raws[0], tmp_path / f"old.{form}", form, *options)
    result = run_module("vm_import", src=str(disk), dest=str(tmp_path / "disks"), memory="1GiB")
    assert same_disk(raws[0], "raw", Path(result["disks"][0]["path"]), "qcow2")
    assert result["disks"][0]["size"] == raws[0].stat().st_size
    assert result["vm"]["firmware"] == "uefi"


def instead_of_qemu_img(folder, monkeypatch, case):
    """Put a shell's case before the real program, which goes on with what the case leaves to it."""
    folder.mkdir()
    program = folder / "qemu-img"
    program.write_text(f'#!/bin/sh\ncase "$*" in {case};; esac\nexec {shutil.which("qemu-img")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_where_io_uring_is_not_to_be_had_the_disks_are_the_same(run_module, tmp_path, package, raws, monkeypatch):
    """As with a kernel that forbids it (sysctl kernel.io_uring_disabled), or a QEMU that was built without it."""
    case = f'*aio*io_uring*) : >{tmp_path}/asked; echo "Unable to use io_uring" >&2; exit 1'
    instead_of_qemu_img(tmp_path / "bin", monkeypatch, case)
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    assert (tmp_path / "asked").exists()
    for number, raw in enumerate(raws):
        assert same_disk(raw, "raw", Path(result["disks"][number]["path"]), "qcow2")


def test_a_disk_that_ends_within_a_sector_is_read_to_its_end(run_module, tmp_path):
    """QEMU 7.2 waits forever for the rest of such a sector, if it reads through io_uring."""
    content = bytes(range(1, 252)) * 1001  # no whole number of sectors
    disk = tmp_path / "old.raw"
    disk.write_bytes(content)
    result = run_module("vm_import", src=str(disk), dest=str(tmp_path / "disks"), memory="1GiB", format="raw")
    made = Path(result["disks"][0]["path"]).read_bytes()
    assert (made[: len(content)], made[len(content) :]) == (content, bytes(-len(content) % 512))


def test_an_image_that_says_it_has_thousands_of_snapshots_is_refused_at_once(run_module, tmp_path):
    """QEMU reads all of them whenever it opens the image, and an import opens it often."""
    disk = tmp_path / "old.qcow2"
    subprocess.check_call(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1M"])
    with disk.open("r+b") as file:
        file.seek(60)  # nb_snapshots and snapshots_offset of the header (QEMU's docs/interop/qcow2.txt)
        file.write(struct.pack(">IQ", 5000, 0))
    result = run_module("vm_import", src=str(disk), dest=str(tmp_path / "disks"), memory="1GiB")
    assert [(error["what"], error["found"]) for error in result["errors"]] == [("has too many snapshots in it", "5000")]
    assert everything(tmp_path) == ["old.qcow2"]


def test_a_source_that_is_cut_off_while_it_is_read_ends_the_import(run_module, tmp_path, raws, monkeypatch):
    """Where QEMU would wait forever for what is no longer there."""
    disk = convert(raws[0], tmp_path / "old.qcow2", "qcow2")
    instead_of_qemu_img(tmp_path / "bin", monkeypatch, f"*'convert -p'*) truncate -s -1 {disk}; exec sleep 600")
    result = run_module("vm_import", src=str(disk), dest=str(tmp_path / "disks"), memory="1GiB")
    assert result["failed"]
    assert [error["what"] for error in result["errors"]] == [
        "was changed while it was read: it ends within a sector now"
    ]
    assert everything(tmp_path / "disks") == ["old"]  # the folder


def test_damaged_packages_end_in_an_error_or_in_disks_and_never_outside(run_module, tmp_path, package):
    """Each is damaged in another way, always the same ones: in headers, in the envelope, in a disk, cut off."""
    dice = random.Random(7)  # noqa: S311 (no secret)
    home = tmp_path / "home"
    home.mkdir()
    good = ova(tmp_path / "good.ova", files_of(package), manifest="").read_bytes()
    for number in range(60):
        data = bytearray(good)
        places = [0, good.index(b"KDMV"), good.index(b"KDMV", good.index(b"KDMV") + 1) - 512]
        for _ in range(dice.randint(1, 6)):
            data[dice.choice(places) + dice.randrange(600)] = dice.randrange(256)
        if dice.random() < 0.3:
            del data[dice.randrange(len(data)) :]
        archive = home / "x.ova"
        archive.write_bytes(data)
        before = everything(tmp_path)
        result = run_module("vm_import", src=str(archive), dest=str(home / "disks"))
        assert archive.read_bytes() == bytes(data), number
        if result.get("failed"):
            assert "errors" in result
            assert not [path for path in (home / "disks").rglob("*") if path.suffix == ".partial"]
        else:
            assert all(Path(disk["path"]).is_relative_to(home / "disks") for disk in result["disks"])
        shutil.rmtree(home / "disks", ignore_errors=True)
        assert everything(tmp_path) == before


def test_a_second_run_changes_nothing_and_a_changed_source_is_not_taken_for_the_old_one(
    run_module, tmp_path, package, raws
):
    arguments = {"src": str(package), "dest": str(tmp_path / "disks")}
    foreseen = run_module("vm_import", check=True, diff=True, **arguments)
    assert foreseen["changed"]
    assert not (tmp_path / "disks").exists()
    first = run_module("vm_import", diff=True, **arguments)
    assert (first["diff"], first["vm"], first["report"]) == (foreseen["diff"], foreseen["vm"], foreseen["report"])
    made = Path(first["disks"][0]["path"])
    inode = made.stat().st_ino
    assert run_module("vm_import", **arguments)["changed"] is False
    os.utime(package.parent / "till-1.vmdk")  # another time, the same content
    again = run_module("vm_import", **arguments)
    assert (again["changed"], made.stat().st_ino) == (False, inode)
    raw_disk(raws[0], content=b"other data")
    stream_optimized(raws[0], package.parent / "till-1.vmdk")
    refused = run_module("vm_import", **arguments)
    assert "was not made of this source" in refused["msg"]
    assert made.stat().st_ino == inode
    forced = run_module("vm_import", force=True, **arguments)
    assert forced["changed"]
    assert same_disk(raws[0], "raw", made, "qcow2")


@pytest.mark.parametrize("manifest", ["sha1", "sha256", ""])
def test_an_ova_is_verified_and_imported_without_unpacking(run_module, tmp_path, package, raws, manifest):
    archive = ova(tmp_path / "till.ova", files_of(package), manifest=manifest)
    result = run_module("vm_import", src=str(archive), dest=str(tmp_path / "disks"))
    for number, raw in enumerate(raws):
        assert same_disk(raw, "raw", Path(result["disks"][number]["path"]), "qcow2")
    refused = run_module("vm_import", src=str(archive), dest=str(tmp_path / "other"), need_manifest=True)
    assert bool(refused.get("failed")) == (not manifest)


@pytest.mark.parametrize("name", ["till.ovf", "till-1.vmdk"])
def test_a_byte_that_is_not_the_manifests_leaves_nothing(run_module, tmp_path, package, name):
    files = files_of(package)
    lines = [f"SHA256({file})= {hashlib.sha256(data).hexdigest()}\n" for file, data in files.items()]
    package.with_suffix(".mf").write_text("".join(lines))
    assert not run_module("vm_import", src=str(package), dest=str(tmp_path / "good")).get("failed")
    data = bytearray(files[name])
    at = data.index(b"Virtual disk") if name == "till.ovf" else len(data) - 600
    data[at] ^= 1
    (package.parent / name).write_bytes(data)
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    assert "is not what the manifest says" in result["msg"]
    assert name in result["msg"]
    assert [path for path in (tmp_path / "disks").rglob("*") if path.is_file()] == []


def test_a_file_the_manifest_does_not_know_is_refused(run_module, tmp_path, package):
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    package.with_suffix(".mf").write_text(f"SHA256(till.ovf)= {digest}\n")
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    assert "has no digest of a file of the package; found 'till-1.vmdk'" in result["msg"]
    assert not (tmp_path / "disks").exists()


@pytest.mark.parametrize("packed", [True, False])
def test_a_disk_in_chunks_is_put_together(run_module, tmp_path, package, raws, packed):
    disk = package.parent / "till-1.vmdk"
    data = gzip.compress(disk.read_bytes()) if packed else disk.read_bytes()
    disk.unlink()
    chunk = len(data) // 3 + 1
    for number in range(3):
        (package.parent / f"till-1.vmdk.{number:09d}").write_bytes(data[number * chunk : (number + 1) * chunk])
    more = f' ovf:size="{len(data)}" ovf:chunkSize="{chunk}"' + (' ovf:compression="gzip"' if packed else "")
    package.write_bytes(source("vmware.ovf", (ONE_FILE[0], ONE_FILE[1] % more)))
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    assert same_disk(raws[0], "raw", Path(result["disks"][0]["path"]), "qcow2")
    assert len(result["disks"][0]["source"]) == 3
    assert not list((tmp_path / "disks").rglob("*.partial"))
    assert run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))["changed"] is False
    (package.parent / "till-1.vmdk.000000001").unlink()
    missing = run_module("vm_import", src=str(package), dest=str(tmp_path / "other"))
    assert "till-1.vmdk.000000001: is missing" in missing["msg"]


def gzipped(package, data):
    (package.parent / "till-1.vmdk").write_bytes(data)
    package.write_bytes(source("vmware.ovf", (ONE_FILE[0], ONE_FILE[1] % ' ovf:compression="gzip"')))


def test_a_compressed_stream_that_lies_about_its_size_is_one_error_and_leaves_nothing(run_module, tmp_path, package):
    gzipped(package, gzip.compress(bytes(200 * MIB), compresslevel=1))
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    assert "decompresses to more than its disk can be" in result["msg"]
    assert [path for path in (tmp_path / "disks").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("damage", ["cut", "rot", "not gzip"])
def test_a_damaged_compressed_stream_is_one_error_and_leaves_nothing(run_module, tmp_path, package, damage):
    good = gzip.compress((package.parent / "till-1.vmdk").read_bytes())
    middle = len(good) // 2
    bad = {"cut": good[:-20], "rot": good[:middle] + b"rot" + good[middle:], "not gzip": b"no" + good}[damage]
    gzipped(package, bad)
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    assert "is no whole gzip stream" in result["msg"]
    assert [path for path in (tmp_path / "disks").rglob("*") if path.is_file()] == []


def test_a_vmdk_that_is_larger_than_its_envelope_says_is_refused_before_anything_is_written(
    run_module, tmp_path, package
):
    stream_optimized(raw_disk(tmp_path / "huge.raw", 4096 * MIB), package.parent / "till-1.vmdk")
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    assert "is a larger disk than its description says; found 4GiB; expected 64MiB" in result["msg"]
    assert not (tmp_path / "disks").exists()


def test_a_vmdk_whose_grains_are_rotten_leaves_nothing(run_module, tmp_path, package):
    disk = package.parent / "till-1.vmdk"
    data = bytearray(disk.read_bytes())
    data[0x10100 : len(data) - 4096] = b"\xa5" * (len(data) - 4096 - 0x10100)
    disk.write_bytes(data)
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    assert result["failed"]
    assert "qemu-img" in result["msg"]
    assert not [path for path in (tmp_path / "disks").rglob("*") if path.is_file()]


def test_a_disk_that_is_smaller_than_its_envelope_says_grows_to_it(run_module, tmp_path, package):
    package.write_bytes(source("vmware.ovf", ('capacity="64"', 'capacity="96"')))
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    info = subprocess.check_output(["qemu-img", "info", "--output=json", result["disks"][0]["path"]])
    assert json.loads(info)["virtual-size"] == result["disks"][0]["size"] == 96 * MIB


def test_a_disk_without_a_file_begins_empty(run_module, tmp_path, package):
    package.write_bytes(source("vmware.ovf", (' ovf:fileRef="file2"', "")))
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    assert same_disk(
        raw_disk(tmp_path / "e.raw", 16 * MIB, content=b""), "raw", Path(result["disks"][1]["path"]), "qcow2"
    )


def test_too_little_space_is_said_before_anything_is_written(run_module, tmp_path, package):
    # 60 TiB is what this disk may be once it is unpacked.
    envelope = source(
        "vmware.ovf", (ONE_FILE[0], ONE_FILE[1] % ' ovf:compression="gzip"'), ('capacity="64"', 'capacity="62914560"')
    )
    package.write_bytes(envelope)
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"), check=True)
    assert "has too little free space" in result["msg"]
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    assert "has too little free space" in result["msg"]
    assert not (tmp_path / "disks").exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_import_goes_on_with_the_disk_it_was_at(run_module, tmp_path, package, raws, how):
    """Killed in the second disk: the first stays as it is, the second is begun anew, nothing half done has its name."""
    slow = tmp_path / "bin"
    slow.mkdir()
    program = slow / "qemu-img"
    real = shutil.which("qemu-img")
    # The real program, which waits in front of the second disk's conversion.
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *"convert -p"*till-2*) : >{tmp_path}/there; exec sleep 60;; esac\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    arguments = {"src": str(package), "dest": str(tmp_path / "disks")}
    script = (
        "import sys\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.edgewright.edge.plugins.modules import vm_import\n"
        f"with patch_module_args({arguments!r}):\n    vm_import.main()\n"
    )
    made = tmp_path / "disks" / "back-office-old"
    environment = {**os.environ, "PATH": f"{slow}:{os.environ['PATH']}", "PYTHONPATH": str(COLLECTIONS)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 180
        while not (tmp_path / "there").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        told = (made / "import.progress").read_text()
        process.send_signal(how)
    assert re.fullmatch(r"disk0\.qcow2: \d+ %\n", told)
    inode = (made / "disk0.qcow2").stat().st_ino
    assert not (made / "disk1.qcow2").exists()
    assert (made / ".disk1.qcow2.partial").exists() == (how == signal.SIGKILL)
    result = run_module("vm_import", **arguments)
    assert result["changed"]
    assert (made / "disk0.qcow2").stat().st_ino == inode
    for number, raw in enumerate(raws):
        assert same_disk(raw, "raw", Path(result["disks"][number]["path"]), "qcow2")
    assert not list(made.glob(".*"))
    assert not (made / "import.progress").exists()


def test_a_libvirt_guest_keeps_its_raw_disk_raw_whatever_it_wrote_into_it(run_module, tmp_path):
    """A guest that writes a qcow2 header into its raw disk must not make the importer read another file."""
    secret = raw_disk(tmp_path / "secret.raw", MIB, at=0, content=b"secret")
    evil = tmp_path / "evil.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", evil]
    subprocess.run(command, check=True)
    convert(raw_disk(tmp_path / "a.raw"), tmp_path / "system.qcow2", "qcow2")
    content = evil.read_bytes()
    raw_disk(tmp_path / "data.img", 16 * MIB, at=0, content=content)
    (tmp_path / "erp.xml").write_bytes(source("libvirt.xml"))
    result = run_module("vm_import", src=str(tmp_path / "erp.xml"), dest=str(tmp_path / "disks"))
    assert same_disk(tmp_path / "data.img", "raw", Path(result["disks"][1]["path"]), "qcow2")


def test_a_package_that_reaches_outside_writes_and_reads_nothing(run_module, tmp_path, package):
    (package.parent / "till-1.vmdk").unlink()
    (package.parent / "till-1.vmdk").symlink_to("/etc/passwd")
    result = run_module("vm_import", src=str(package), dest=str(tmp_path / "disks"))
    assert "is a link that leaves the package" in result["msg"]
    files = {"till.ovf": source("vmware.ovf"), "../../escape": b"x"}
    archive = ova(tmp_path / "evil.ova", files)
    before = everything(tmp_path)
    result = run_module("vm_import", src=str(archive), dest=str(tmp_path / "disks"))
    assert "leaves the folder" in result["msg"]
    assert everything(tmp_path) == before


def test_drivers_are_injected_only_where_the_program_is(run_module, tmp_path, package, monkeypatch):
    arguments = {"src": str(package), "dest": str(tmp_path / "disks"), "inject_drivers": True}
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("qemu-img", "sh", "touch", "grep"):
        (programs / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(programs))
    absent = run_module("vm_import", **arguments)
    assert absent["msg"].count("\n") == 0
    assert "virt-v2v-in-place, which is not installed" in absent["msg"]
    assert not (tmp_path / "disks").exists()
    # What stands in for the program looks at the guest's description, as that does, and says no the first time.
    program = programs / "virt-v2v-in-place"
    program.write_text(
        f"#!{programs}/sh\n"
        f'[ -e {tmp_path}/again ] || {{ touch {tmp_path}/again; echo "no operating system" >&2; exit 1; }}\n'
        "grep -q disk1.qcow2.partial $3 && grep -q 'firmware=\"efi\"' $3\n"
    )
    program.chmod(0o755)
    failed = run_module("vm_import", **arguments)
    assert "virt-v2v-in-place fails: no operating system" in failed["msg"]
    assert not [path for path in (tmp_path / "disks").rglob("*") if path.is_file()]
    done = run_module("vm_import", **arguments)
    assert {disk["bus"] for disk in done["vm"]["disks"]} == {"virtio"}
    assert {nic["model"] for nic in done["vm"]["nics"]} == {"virtio"}

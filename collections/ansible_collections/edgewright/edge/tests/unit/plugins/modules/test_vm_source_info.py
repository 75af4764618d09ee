from __future__ import annotations

import random
import subprocess

import pytest
from ansible_collections.edgewright.edge.tests.unit.machine_sources import (
    MIB,
    convert,
    efi_disk,
    ova,
    raw_disk,
    source,
    stream_optimized,
)


def fields(result):
    return {line["field"]: line for line in result["report"]}


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("qcow2", []),
        ("raw", []),
        ("vmdk", []),
        ("vmdk", ["-o", "subformat=streamOptimized"]),
        ("vmdk", ["-o", "subformat=twoGbMaxExtentSparse"]),
        ("vpc", []),
        ("vpc", ["-o", "subformat=fixed"]),
        ("vhdx", []),
        ("vhdx", ["-o", "subformat=fixed"]),
    ],
)
def test_a_disk_alone_shows_what_is_in_it(run_module, tmp_path, form, options):
    disk = convert(efi_disk(tmp_path / "a.raw"), tmp_path / f"Old PC.{form}", form, *options)
    before = disk.stat()
    result = run_module("vm_source_info", src=str(disk), timezone="Europe/Berlin", memory="1GiB")
    assert (result["changed"], result["kind"]) == (False, "disk")
    vm = result["vm"]
    assert (vm["name"], vm["firmware"], vm["run_policy"], vm["memory"]) == ("old-pc", "uefi", "halted", 2**30)
    assert vm["disks"][0]["bus"] == "sata"
    # A VHD's size is one of cylinders, heads and sectors, unless its maker says otherwise.
    assert 64 * MIB <= vm["disks"][0]["size"] < 65 * MIB
    told = fields(result)
    assert told["partition table"]["why"].startswith("gpt")
    assert "linux" in told["operating system"]["why"]
    assert told["memory"]["outcome"] == "changed"
    assert disk.stat() == before or disk.stat().st_mtime_ns == before.st_mtime_ns


def test_firmware_an_ovf_leaves_out_is_seen_in_its_disk(run_module, tmp_path):
    config = '<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>'
    (tmp_path / "till.ovf").write_bytes(source("vmware.ovf", (config, "")))
    stream_optimized(raw_disk(tmp_path / "b.raw", 16 * MIB), tmp_path / "till-2.vmdk")
    stream_optimized(efi_disk(tmp_path / "a.raw"), tmp_path / "till-1.vmdk")
    assert run_module("vm_source_info", src=str(tmp_path / "till.ovf"))["vm"]["firmware"] == "uefi"
    stream_optimized(raw_disk(tmp_path / "c.raw"), tmp_path / "till-1.vmdk")
    assert run_module("vm_source_info", src=str(tmp_path / "till.ovf"))["vm"]["firmware"] == "bios"


def test_an_ova_is_read_without_unpacking_it(run_module, tmp_path):
    disks = {
        "till-1.vmdk": stream_optimized(efi_disk(tmp_path / "a.raw"), tmp_path / "1").read_bytes(),
        "till-2.vmdk": stream_optimized(raw_disk(tmp_path / "b.raw", 16 * MIB), tmp_path / "2").read_bytes(),
    }
    folder = tmp_path / "only"
    folder.mkdir()
    archive = ova(folder / "till.ova", {"till.ovf": source("vmware.ovf"), **disks})
    result = run_module("vm_source_info", src=str(archive), check=True)
    assert (result["kind"], result["vm"]["name"]) == ("ova", "back-office-old")
    assert "warnings" not in result
    assert "boot entry" not in fields(result)
    assert [path.name for path in folder.iterdir()] == ["till.ova"]


def test_a_libvirt_domain_is_read_with_its_disks_beside_it(run_module, tmp_path):
    (tmp_path / "erp.xml").write_bytes(source("libvirt.xml"))
    convert(efi_disk(tmp_path / "a.raw", loader=False), tmp_path / "system.qcow2", "qcow2")
    raw_disk(tmp_path / "data.img", 16 * MIB)
    result = run_module("vm_source_info", src=str(tmp_path / "erp.xml"))
    assert [disk["size"] for disk in result["vm"]["disks"]] == [64 * MIB, 16 * MIB]
    assert "BOOTX64.EFI" in fields(result)["boot entry"]["why"]


def test_disks_elsewhere_are_only_read_where_that_is_allowed(run_module, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    convert(efi_disk(tmp_path / "a.raw"), elsewhere / "system.qcow2", "qcow2")
    raw_disk(elsewhere / "data.img", 16 * MIB)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "erp.xml").write_bytes(source("libvirt.xml", ("/srv/vm/", f"{elsewhere}/")))
    refused = run_module("vm_source_info", src=str(tmp_path / "x" / "erp.xml"))
    assert "size" not in refused["vm"]["disks"][0]
    assert "disk_folders" in str(refused["warnings"])
    allowed = run_module("vm_source_info", src=str(tmp_path / "x" / "erp.xml"), disk_folders=[str(elsewhere)])
    assert allowed["vm"]["disks"][0]["size"] == 64 * MIB


def test_what_the_runtime_cannot_give_is_told_with_its_remedy(run_module, tmp_path):
    (tmp_path / "till.ovf").write_bytes(source("vmware.ovf"))
    result = run_module("vm_source_info", src=str(tmp_path / "till.ovf"), runtime="k3s")
    assert any("nics" in refusal and "podman" in refusal for refusal in result["refusals"])
    assert result["vm"]["disks"][0]["format"] == "raw"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"memory": "much"}, "memory: must be an amount of bytes"),
        ({"cpus": 0}, "cpus: is out of range"),
        ({"folder": "../x"}, "folder: is no folder below"),
        ({"name": "Old PC"}, "Use 'old-pc'"),
        ({"runtime": "k3s", "format": "qcow2"}, "cannot run on KubeVirt"),
        ({"src": "/nonexistent.ova"}, "is no file"),
    ],
)
def test_wrong_parameters_are_told(run_module, tmp_path, parameters, message):
    disk = raw_disk(tmp_path / "a.raw", MIB)
    result = run_module("vm_source_info", **{"src": str(disk), **parameters})
    assert message in result["msg"]


def test_a_snapshot_is_no_disk_by_itself(run_module, tmp_path):
    base = convert(raw_disk(tmp_path / "a.raw"), tmp_path / "base.qcow2", "qcow2")
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", tmp_path / "snapshot.qcow2"]
    subprocess.run(command, check=True)
    result = run_module("vm_source_info", src=str(tmp_path / "snapshot.qcow2"))
    assert "backing file" in result["msg"]
    assert "qemu-img convert" in result["msg"]


@pytest.mark.parametrize("name", ["vmware.ovf", "virtualbox.ovf", "libvirt.xml"])
def test_damaged_descriptions_end_in_an_error_or_a_machine_and_never_in_a_traceback(run_module, tmp_path, name):
    """Each is damaged in another way, always the same ones; os.urandom would make failures that never come back."""
    dice = random.Random(name)  # noqa: S311 (no secret)
    good = source(name)
    pieces = [b"\xff\xfe", b"-1", b"99999999999999999999", b"<x>", b"&x;", b"\0", b"..", b"''", b"1e9", "ů".encode()]
    for number in range(150):
        data = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(data))
            action = dice.randrange(3)
            if action == 0:
                del data[at : at + dice.randint(1, 300)]
            elif action == 1:
                data[at : at + dice.randint(0, 8)] = dice.choice(pieces)
            else:
                data[at:at] = good[at : at + dice.randint(1, 400)]
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(data)
        result = run_module("vm_source_info", src=str(path))
        assert ("errors" in result) if result.get("failed") else result["vm"]["disks"]
        path.unlink()


def bomb():
    entities = "".join(f'<!ENTITY a{number} "{f"&a{number - 1};" * 10}">' for number in range(1, 12))
    return f'<?xml version="1.0"?><!DOCTYPE domain [<!ENTITY a0 "ha">{entities}]><domain><name>&a11;</name></domain>'


@pytest.mark.parametrize(
    "text",
    [
        bomb().encode(),
        bomb().encode("utf-16"),
        bomb().replace("<!DOCTYPE", "<!--x--><!DOCTYPE").encode("utf-8-sig"),
        b"<domain>" * 5000,
        b"<domain><name>x</name>" + b"<a>" * 3000 + b"</a>" * 3000 + b"</domain>",
        b'<?xml version="1.0" encoding="utf-7"?><domain/>',
    ],
    ids=["entities", "utf-16", "comment", "unclosed", "deep", "encoding"],
)
def test_xml_that_is_meant_to_harm_is_one_error(run_module, tmp_path, text):
    path = tmp_path / "bomb.xml"
    path.write_bytes(text)
    result = run_module("vm_source_info", src=str(path))
    assert result["errors"]

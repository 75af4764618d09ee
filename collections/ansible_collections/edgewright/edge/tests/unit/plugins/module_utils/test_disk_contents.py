from __future__ import annotations

import struct
import subprocess

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.disk_contents import disk_contents
from ansible_collections.edgewright.edge.plugins.module_utils.disk_image import extents, image_format, image_info
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.tests.unit.machine_sources import MIB, convert, efi_disk, raw_disk
from hypothesis import given, settings
from hypothesis import strategies as st


def look(path):
    size = path.stat().st_size

    def read(offset, length):
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    return disk_contents(read, size)


def test_an_efi_disk_shows_its_partitions_loader_and_family(tmp_path):
    found = look(efi_disk(tmp_path / "a.raw"))
    assert (found.partition_table, found.esp, found.fallback_loader, found.os_family) == ("gpt", True, True, "linux")
    assert [part.file_system for part in found.partitions] == ["fat", "ext"]
    assert [part.start for part in found.partitions] == [MIB, 34 * MIB]
    assert found.firmware == "uefi"


def test_an_efi_disk_without_the_fallback_loader_says_so(tmp_path):
    found = look(efi_disk(tmp_path / "a.raw", loader=False))
    assert (found.esp, found.fallback_loader, found.firmware) == (True, False, "uefi")


def test_a_windows_disk_of_the_bios_age_is_bios(tmp_path):
    path = raw_disk(tmp_path / "a.raw")
    subprocess.run(
        ["sfdisk", "--quiet", path], input="label: dos\nstart=2048, type=7, bootable\n", text=True, check=True
    )
    with path.open("r+b") as file:
        file.write(b"\x33\xc0\x8e\xd0")  # code, as every boot loader's first sector has
        file.seek(2048 * 512)
        file.write(b"\xeb\x52\x90NTFS    ")
    found = look(path)
    assert (found.partition_table, found.os_family, found.firmware) == ("mbr", "windows", "bios")


def test_logical_partitions_are_found(tmp_path):
    path = raw_disk(tmp_path / "a.raw")
    table = (
        "label: dos\nstart=2048, size=4096, type=83\nstart=8192, size=40960, type=5\nstart=10240, size=4096, type=83\n"
    )
    subprocess.run(["sfdisk", "--quiet", path], input=table, text=True, check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", f"offset={10240 * 512}", path, "2M"], check=True)
    found = look(path)
    assert [part.start // 512 for part in found.partitions] == [2048, 10240]
    assert found.os_family == "linux"


def test_a_file_system_without_a_partition_table_is_seen(tmp_path):
    path = raw_disk(tmp_path / "a.raw")
    subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)
    found = look(path)
    assert (found.partition_table, found.partitions, found.os_family) == ("none", (), "linux")


@settings(max_examples=300)
@given(st.binary(max_size=1200), st.integers(0, 2**40))
def test_no_disk_is_too_strange(data, size):
    """Whatever the first sectors say, the answer is one; what they point to is nowhere."""
    head = data.ljust(510, b"\0")[:510] + b"\x55\xaa" + b"EFI PART" + data
    found = disk_contents(lambda offset, length: head[offset : offset + length], size)
    assert found.firmware in {"bios", "uefi"}


@given(st.binary(min_size=62, max_size=62), st.binary(max_size=2048))
def test_no_fat_is_too_strange(parameters, rest):
    table = struct.pack("<BBBBBBBBII", 0x80, 0, 0, 0, 0xEF, 0, 0, 0, 1, 1000)
    head = bytes(446) + table + bytes(48) + b"\x55\xaa"
    image = head + (b"\xeb\x3c\x90" + parameters[3:]).ljust(510, b"\0") + b"\x55\xaa" + rest
    assert disk_contents(lambda offset, length: image[offset : offset + length], 10**6).esp


@pytest.mark.parametrize("form", ["qcow2", "vmdk", "vhdx", "vpc", "vdi", "raw"])
def test_formats_are_told_by_their_marks(tmp_path, form):
    path = convert(raw_disk(tmp_path / "a.raw"), tmp_path / "a", form)
    data = path.read_bytes()
    assert image_format(data[:65536], data[-512:]) == form


def test_a_vhd_of_fixed_size_is_told_by_its_end(tmp_path):
    data = convert(raw_disk(tmp_path / "a.raw"), tmp_path / "a", "vpc", "-o", "subformat=fixed").read_bytes()
    assert image_format(data[:65536], data[-512:]) == "vpc"


HEAD = b"# Disk DescriptorFile\nversion=1\n"


def test_extents_of_a_descriptor_are_files_beside_it():
    assert extents(HEAD + b'RW 10 SPARSE "a-s001.vmdk"\nRW 5 ZERO\nRW 2 FLAT "b.vmdk" 0\n', where="x") == [
        "a-s001.vmdk",
        "b.vmdk",
    ]


@pytest.mark.parametrize(
    "line",
    [
        'RW 10 FLAT "/etc/shadow" 0',
        'RW 10 FLAT "../x" 0',
        'RW 10 VMFSRDM "nbd:x"',
        'RW 1 FLAT "json:{}" 0',
        "",
        "RW 1 FLAT",
    ],
)
def test_a_descriptor_that_names_other_files_is_refused(line):
    with pytest.raises(EdgeError):
        extents(HEAD + line.encode() + b"\n", where="x")


@pytest.mark.parametrize(
    "info",
    [
        {"backing-filename": "/etc/shadow"},
        {"format-specific": {"data": {"data-file": "/etc/shadow"}}},
        {"encrypted": True},
    ],
)
def test_an_image_that_needs_another_is_refused(info):
    with pytest.raises(EdgeError):
        image_info({"virtual-size": 512, "format": "qcow2", **info}, where="x")

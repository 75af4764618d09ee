"""The demo's image as it lies on a disk, opened with other programs than those that made it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from .disk_image import (
    ESP,
    LINUX,
    ROOT_X86_64,
    VERITY_X86_64,
    attempt,
    boot_entries,
    copy_out,
    extract,
    flip_byte,
    partition,
    partitions,
    run,
    sections,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Build

MIB = 1 << 20


@dataclass(frozen=True)
class Parts:
    """Partitions of the image as files, and its boot entry."""

    esp: Path
    root: Path
    verity: Path
    state: Path
    uki: Path


@pytest.fixture(scope="module")
def parts(demo: Build, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """The image taken apart."""
    folder = tmp_path_factory.mktemp("parts")

    def part(name: str) -> Path:
        return extract(demo.image, partition(demo.image, name), folder / name)

    (entry,) = boot_entries(demo.image)
    uki = copy_out(demo.image, f"EFI/Linux/{entry}", folder / "uki.efi")
    yield Parts(part("esp"), part("root-a"), part("verity-a"), part("state"), uki)
    for file in folder.iterdir():
        file.unlink()


def test_the_partition_table_has_two_slots_of_one_size_and_the_state_last(demo: Build) -> None:
    table = partitions(demo.image)
    assert [part.type for part in table] == [ESP, ROOT_X86_64, VERITY_X86_64, ROOT_X86_64, VERITY_X86_64, LINUX]
    assert [part.name for part in table] == ["esp", "root-a", "verity-a", "_empty", "_empty", "state"]
    esp, root_a, verity_a, root_b, verity_b, state = table
    assert esp.size >= 512 * MIB
    assert (root_a.size, verity_a.size) == (root_b.size, verity_b.size)
    assert state.start == max(part.start for part in table)
    assert len({part.uuid for part in table}) == len(table)
    assert all(part.start % MIB == 0 for part in table)
    check = run("sfdisk", "--verify", demo.image)
    assert "No errors detected" in check, check


def test_the_second_slot_is_empty(demo: Build) -> None:
    empty = [part for part in partitions(demo.image) if part.name == "_empty"]
    for part in empty:
        run("cmp", "--bytes", str(part.size), f"--ignore-initial={part.start}:0", demo.image, "/dev/zero")


def test_the_esp_is_a_clean_fat32_with_loader_and_one_entry_on_trial(demo: Build, parts: Parts) -> None:
    report = run("fsck.vfat", "-n", "-v", parts.esp)
    assert "32 bit entries" in report, report
    # Windows reads no other on most disks; fewer clusters would make it a FAT16 (Microsoft, FAT32 specification 1.03).
    assert re.search(r"\b512 bytes per logical sector", report), report
    assert int(re.findall(r"(\d+) data clusters", report)[0]) >= 65525
    files = run("mdir", "-/", "-b", "-i", parts.esp, "::/").splitlines()
    assert "::/EFI/BOOT/BOOTX64.EFI" in files
    assert "::/loader/loader.conf" in files
    version = demo.manifest["version"]
    assert boot_entries(demo.image) == [f"edgewright_{version}+5.efi"]


def test_the_boot_entry_starts_with_the_root_of_its_own_slot_and_verity_accepts_it(
    demo: Build, parts: Parts, tmp_path: Path
) -> None:
    found = sections(parts.uki, tmp_path, ".cmdline", ".osrel", ".linux")
    hashes = re.findall(r"(?:^| )roothash=([0-9a-f]{64})(?= )", found[".cmdline"].decode())
    assert hashes == [demo.manifest["roothash"]]
    assert f"VERSION_ID={demo.manifest['version']}\n" in found[".osrel"].decode()
    assert b"HdrS" in found[".linux"][:0x210]  # boot protocol header (Documentation/arch/x86/boot.rst)
    digits = partition(demo.image, "root-a").uuid + partition(demo.image, "verity-a").uuid
    assert digits.replace("-", "").lower() == hashes[0]
    run("veritysetup", "verify", parts.root, parts.verity, hashes[0])


def test_verity_refuses_a_root_with_one_flipped_byte(demo: Build, parts: Parts, tmp_path: Path) -> None:
    other = tmp_path / "root"
    run("cp", "--sparse=always", parts.root, other)
    size = int(re.findall(r"data blocks:\s+(\d+)", run("veritysetup", "dump", parts.verity).lower())[0]) * 4096
    for offset in (1024, size // 2, size - 1):
        flip_byte(other, offset)
        done = attempt("veritysetup", "verify", other, parts.verity, demo.manifest["roothash"])
        assert done.returncode != 0, f"byte {offset} was changed, and nobody noticed"
        flip_byte(other, offset)
    run("veritysetup", "verify", other, parts.verity, demo.manifest["roothash"])


def test_the_root_is_a_sound_erofs(parts: Parts) -> None:
    run("fsck.erofs", parts.root)


def test_the_state_is_a_sound_ext4(parts: Parts) -> None:
    run("e2fsck", "-f", "-n", parts.state)
    assert re.search(r"Filesystem state: +clean", run("dumpe2fs", "-h", parts.state))


def test_the_state_brings_the_models_and_the_disks_that_the_lock_pins(
    demo: Build, parts: Parts, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    run("debugfs", "-R", f"dump /lib/edgewright/models/file-type/magika/1/model.onnx {model}", parts.state)
    source = demo.host("till-01")["edge_inference_services"][0]["models"][0]["source"]
    assert f"sha256:{run('sha256sum', model).split()[0]}" == demo.lock.artifact(source).digest
    disk = tmp_path / "till.img"
    run("debugfs", "-R", f"dump /lib/edgewright/virtual-machines/till/disk0.img {disk}", parts.state)
    assert "label: dos" in run("sfdisk", "--dump", disk)


def test_the_checksums_are_those_of_the_files_beside_the_image(demo: Build) -> None:
    names = [line.split()[1] for line in (demo.output / "SHA256SUMS").read_text().splitlines()]
    assert set(names) >= {"demo.raw", "demo.raw.bmap", "demo.spdx.json", "manifest.json"}
    report = run("sh", "-c", 'cd "$1" && exec sha256sum --check --strict SHA256SUMS', "check", demo.output)
    assert report.count(": OK") == len(names)


def test_bmaptool_writes_an_image_in_which_every_partition_is_the_same(demo: Build, tmp_path: Path) -> None:
    copy = tmp_path / "copy.raw"
    run("bmaptool", "copy", "--bmap", demo.output / "demo.raw.bmap", demo.image, copy)
    assert partitions(copy) == partitions(demo.image)
    for name in ("esp", "root-a", "verity-a", "state"):
        part = partition(copy, name)
        run("cmp", f"--bytes={part.size}", f"--ignore-initial={part.start}", demo.image, copy)


def test_the_bill_of_materials_names_packages_images_and_models(demo: Build) -> None:
    bill = json.loads((demo.output / "demo.spdx.json").read_text())
    assert bill["spdxVersion"] == "SPDX-2.3"
    names = {package["name"] for package in bill["packages"]}
    assert {"systemd", "podman", "qemu-system-x86", "onnxruntime"} <= names
    assert {"inference-server", "till"} <= names
    origins = {ref["referenceLocator"] for package in bill["packages"] for ref in package.get("externalRefs", [])}
    assert any(origin.startswith("pkg:pypi/magika@") and origin.endswith(".onnx") for origin in origins)


def test_the_manifest_names_the_image_and_its_partitions(demo: Build) -> None:
    manifest = demo.manifest
    assert manifest["image"]["digest"] == f"sha256:{run('sha256sum', demo.image).split()[0]}"
    assert [(part["start"], part["size"], part["uuid"].lower()) for part in manifest["partitions"]] == [
        (part.start, part.size, part.uuid.lower()) for part in partitions(demo.image)
    ]
    assert [node["name"] for node in manifest["nodes"]] == ["till-01"]

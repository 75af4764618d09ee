from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from edgewright import sbom
from edgewright.lockfile import Artifact, Container, Image, Lock, Package, Tree, Wheel
from edgewright.pins import Blob
from edgewright.stages import evidence
from hypothesis import given, settings
from hypothesis import strategies as st
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = 1_750_000_000
BUSYBOX = "docker.io/library/busybox:1.37.0"


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _deb(name: str, version: str) -> Package:
    path = f"debian/pool/main/{name[0]}/{name}/{name}_{version.replace(':', '%3a')}_amd64.deb"
    return Package(name, version, "amd64", _digest(name), 1234, path)


@pytest.fixture
def lock() -> Lock:
    debs = [_deb("libstdc++6", "14.2.0-19"), _deb("systemd", "257.8-1~deb13u2"), _deb("vim-tiny", "2:9.1.1230-2")]
    debs.append(_deb("qemu-system-x86", "1:10.0.13"))
    wheel = Wheel(
        "ruamel.yaml_clib", "1.0+x", "ruamel_yaml_clib-1.0.whl", _digest("w"), 99, ("https://files.example/w",)
    )
    model = "pypi:magika==1.0.1#magika/models/standard_v3_3/model.onnx"
    return Lock(
        packages={deb.name: deb for deb in debs},
        trees={
            "tools": Tree(("systemd",), ("libstdc++6", "systemd")),
            "node": Tree(("vim-tiny",), ("libstdc++6", "vim-tiny")),
            "container-inference-server": Tree(("libstdc++6",), ("libstdc++6",)),
            "emulator": Tree(("qemu-system-x86",), ("libstdc++6", "qemu-system-x86")),
            "guest-till": Tree(("systemd",), ("systemd",)),
        },
        containers={"inference-server": Container(("ruamel.yaml_clib",), (wheel,))},
        artifacts={
            model: Artifact(model, _digest("m"), 3_000_000, ("https://files.example/magika.whl",), "magika/models/x"),
            "file:disks/old till.img": Artifact("file:disks/old till.img", _digest("d"), 5),
        },
        images={
            BUSYBOX: Image(BUSYBOX, "linux/amd64", _digest("ix"), _digest("mf"), 77, (Blob(_digest("b"), 70),)),
        },
    )


@pytest.fixture
def facts(lock: Lock) -> evidence.Facts:
    return evidence.Facts(
        site="demo",
        version="2025.06.15",
        created=EPOCH,
        lock=lock,
        roothash="ab" * 32,
        stages={"uki": "sha256:1", "disk": "sha256:2"},
        nodes=({"name": "edge-2"}, {"name": "edge-1", "mac": ["52:54:00:00:00:01"]}),
        tools={"systemd-repart": "257"},
        containers={"inference-server": _digest("c")},
        guests={"till": ""},
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if not shutil.which("sfdisk"):
        pytest.skip("needs sfdisk")
    path = tmp_path / "demo.raw"
    with path.open("wb") as stream:
        stream.truncate(20_000_256)
    table = b"label: gpt\nlabel-id: 0F62AD5E-3C6F-4C4C-9C0E-3C3A1E0F7A11\nstart=2048, size=8MiB, type=L, name=root-a\n"
    subprocess.run(["sfdisk", "--quiet", path], input=table, check=True, capture_output=True)
    with path.open("r+b") as stream:
        stream.seek(5_000_000)
        stream.write(b"content")
    return path


def test_spdx_tools_finds_no_fault_in_the_bill_of_materials(image: Path, facts: evidence.Facts) -> None:
    path = evidence.write(image, facts)["demo.spdx.json"]
    document = parse_file(str(path))
    assert [message.validation_message for message in validate_full_spdx_document(document)] == []
    assert document.creation_info.created.timestamp() == EPOCH


def test_everything_that_is_in_the_image_or_made_it_is_in_the_bill_once(lock: Lock, facts: evidence.Facts) -> None:
    data = sbom.document(
        sbom.Contents("demo", "1", "demo.raw", _digest("i"), EPOCH, lock, facts.containers, facts.guests)
    )
    sums = [checksum["checksumValue"] for package in data["packages"] for checksum in package.get("checksums", ())]
    pinned = [
        # What boots the image where it was built is no part of it, and it was not made with it.
        *(package.digest for package in lock.packages.values() if package.name != "qemu-system-x86"),
        *(wheel.digest for made in lock.containers.values() for wheel in made.wheels),
        *(artifact.digest for artifact in lock.artifacts.values()),
        *(image.manifest for image in lock.images.values()),
    ]
    for digest in pinned:
        assert sums.count(digest.removeprefix("sha256:")) == 1
    busybox = f"pkg:oci/busybox@sha256%3A{hashlib.sha256(b'mf').hexdigest()}"
    references = {ref["referenceLocator"] for package in data["packages"] for ref in package.get("externalRefs", ())}
    assert references == {
        "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=trixie",
        "pkg:deb/debian/systemd@257.8-1~deb13u2?arch=amd64&distro=trixie",
        "pkg:deb/debian/vim-tiny@2:9.1.1230-2?arch=amd64&distro=trixie",
        "pkg:pypi/ruamel-yaml-clib@1.0%2Bx?file_name=ruamel_yaml_clib-1.0.whl",
        "pkg:pypi/magika@1.0.1#magika/models/standard_v3_3/model.onnx",
        f"{busybox}?arch=amd64&repository_url=docker.io/library/busybox&tag=1.37.0",
    }


def test_the_bill_says_what_is_inside_what(lock: Lock, facts: evidence.Facts) -> None:
    data = sbom.document(
        sbom.Contents("demo", "1", "demo.raw", _digest("i"), EPOCH, lock, facts.containers, facts.guests)
    )
    names = {package["SPDXID"]: package["name"] for package in data["packages"]}
    told = {
        (names.get(one["spdxElementId"]), one["relationshipType"], names.get(one["relatedSpdxElement"]))
        for one in data["relationships"]
    }
    assert told == {
        (None, "DESCRIBES", "demo.raw"),
        ("demo.raw", "CONTAINS", "inference-server"),
        ("demo.raw", "CONTAINS", "till"),
        ("inference-server", "CONTAINS", "libstdc++6"),
        ("inference-server", "CONTAINS", "ruamel.yaml_clib"),
        ("till", "CONTAINS", "systemd"),
        ("demo.raw", "CONTAINS", "libstdc++6"),
        ("demo.raw", "CONTAINS", "vim-tiny"),
        ("demo.raw", "CONTAINS", "docker.io/library/busybox"),
        ("systemd", "BUILD_TOOL_OF", "demo.raw"),
        ("libstdc++6", "BUILD_TOOL_OF", "demo.raw"),
        ("demo.raw", "CONTAINS", "model.onnx"),
        ("demo.raw", "CONTAINS", "file:disks/old till.img"),
    }


def test_sha256sum_confirms_every_file(image: Path, facts: evidence.Facts) -> None:
    written = evidence.write(image, facts)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=image.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    listed = {line.split("  ")[1] for line in written["SHA256SUMS"].read_text().splitlines()}
    assert listed == {path.name for path in image.parent.iterdir()} - {"SHA256SUMS"}
    with image.open("r+b") as stream:
        stream.seek(5_000_000)
        stream.write(b"C")
    again = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=image.parent, capture_output=True, check=False)
    assert again.returncode != 0


def test_the_manifest_tells_the_partitions_as_sfdisk_sees_them(image: Path, facts: evidence.Facts) -> None:
    data = json.loads(evidence.write(image, facts)["manifest.json"].read_text())
    table = json.loads(subprocess.run(["sfdisk", "--json", image], check=True, capture_output=True).stdout)
    (ours,), (theirs,) = data["partitions"], table["partitiontable"]["partitions"]
    assert (ours["start"], ours["size"]) == (theirs["start"] * 512, theirs["size"] * 512)
    assert (ours["uuid"], ours["name"]) == (theirs["uuid"].lower(), "root-a")
    assert [node["name"] for node in data["nodes"]] == ["edge-1", "edge-2"]
    assert data["roothash"] == "ab" * 32
    assert data["image"]["size"] == image.stat().st_size


def test_the_same_image_has_the_same_evidence_in_another_folder(
    image: Path, facts: evidence.Facts, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / image.name
    subprocess.run(["cp", "--sparse=never", image, copy], check=True)
    first, second = evidence.write(image, facts), evidence.write(copy, facts)
    assert {name: path.read_bytes() for name, path in first.items()} == {
        name: path.read_bytes() for name, path in second.items()
    }


@settings(max_examples=40, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 9_000_000), st.binary(min_size=1, max_size=40)), max_size=4),
    size=st.integers(0, 9_500_000),
)
def test_a_sparse_files_digest_is_that_of_all_its_bytes(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, bytes]], size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "sparse"
    with path.open("wb") as stream:
        stream.truncate(size)
        for offset, content in pieces:
            stream.seek(offset)
            stream.write(content)
    assert evidence.file_digest(path) == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"

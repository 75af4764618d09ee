"""Disks in container images: found in layers as they come, pinned with the site, and unpacked by the builder."""

from __future__ import annotations

import io
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright.container_disk import extract_disk, find_disk

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
DISK = bytes(MIB) + b"a guest's data" + bytes(MIB)
Entry = tuple[str, bytes | str | None]  # a file's content, a link's target, or a folder


def layer(folder: Path, name: str, *entries: Entry, packed: str = "") -> Path:
    """Write a layer: an archive, plain or packed by another program than reads it."""
    path = folder / name
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in entries:
            header = tarfile.TarInfo(member)
            if content is None:
                header.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                header.type, header.linkname = tarfile.SYMTYPE, content
            data = content if isinstance(content, bytes) else b""
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    if packed:
        result = subprocess.run([packed, "-c", path], check=True, capture_output=True)
        path.write_bytes(result.stdout)
    return path


@pytest.mark.parametrize("packed", ["", "gzip", "zstd", "xz"])
@pytest.mark.parametrize("name", ["disk/till.img", "./disk/till.qcow2", "/disk/sub/x"])
def test_a_disk_is_found_however_its_layer_is_packed_and_stays_sparse(tmp_path: Path, packed: str, name: str) -> None:
    layers = [
        layer(tmp_path, "1", ("etc", None), ("etc/passwd", b"root"), ("disk", None)),
        layer(tmp_path, "2", ("disk", None), (name, DISK), packed=packed),
        layer(tmp_path, "3", ("other", b"x")),
    ]
    assert find_disk(layers, "i").size == len(DISK)
    extract_disk(layers, "i", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DISK
    assert (tmp_path / "out").stat().st_blocks * 512 < MIB


@pytest.mark.parametrize(
    "later",
    [
        [("disk/old.img", b"new" * 500)],  # chmod in a Dockerfile copies the whole file
        [("disk/.wh.old.img", b""), ("disk/new.img", b"new" * 500)],
        [("disk/.wh..wh..opq", b""), ("disk/new.img", b"new" * 500)],
        [(".wh.disk", b""), ("disk/new.img", b"new" * 500)],
    ],
)
def test_a_later_layer_replaces_what_an_earlier_one_has(tmp_path: Path, later: list[Entry]) -> None:
    layers = [layer(tmp_path, "1", ("disk/old.img", b"old" * 500)), layer(tmp_path, "2", *later)]
    extract_disk(layers, "i", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"new" * 500


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([("bin/sh", b"x")], "nothing there"),
        ([("disk", None)], "nothing there"),
        ([("disk", b"a file")], "nothing there"),
        ([("disk/a.img", b"x"), ("disk/b.img", b"y")], "/disk/a.img, /disk/b.img"),
        ([("disk/a.img", "/etc/shadow")], "/disk/a.img"),
        ([("disk/a.img", b"x"), ("disk/.wh.a.img", b"")], "nothing there"),
        ([("../disk/a.img", b"x")], "nothing there"),
    ],
)
def test_what_is_no_container_disk_is_refused_and_nothing_is_written(
    tmp_path: Path, entries: list[Entry], found: str
) -> None:
    layers = [layer(tmp_path, "1", *entries)]
    with pytest.raises(EdgeError) as caught:
        extract_disk(layers, "registry.example/x:1", tmp_path / "out")
    (problem,) = caught.value.problems
    assert (problem.where, problem.what) == ("image registry.example/x:1", "is no container disk")
    assert problem.found == found
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("packed", ["", "gzip", "zstd"])
@pytest.mark.parametrize("part", [0.3, 0.98])
def test_a_layer_that_is_cut_off_is_an_error(tmp_path: Path, packed: str, part: float) -> None:
    whole = layer(tmp_path, "1", ("disk/a.img", bytes(range(256)) * 4096), packed=packed)
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(EdgeError, match="a layer cannot be read"):
        extract_disk([whole], "i", tmp_path / "out")

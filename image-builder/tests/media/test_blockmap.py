from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from edgewright import blockmap, significance
from edgewright.blockmap import BLOCK_SIZE, BlockMap
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import need, sh

if TYPE_CHECKING:
    from pathlib import Path


def test_bmaptool_copies_our_image_with_our_map_and_the_copy_is_identical(image: Path, tmp_path: Path) -> None:
    need("bmaptool")
    found = blockmap.make(image, significance.meant(image))
    bmap, copy = tmp_path / "image.bmap", tmp_path / "copy.raw"
    bmap.write_text(found.to_xml())
    sh("bmaptool", "copy", "--bmap", bmap, image, copy)
    sh("cmp", image, copy)
    assert 0 < found.mapped_size < found.image_size / 2, "the map skips nothing"


def test_bmaptool_notices_that_a_byte_of_the_image_changed(image: Path, tmp_path: Path) -> None:
    need("bmaptool")
    bmap, other = tmp_path / "image.bmap", tmp_path / "other.raw"
    bmap.write_text(blockmap.make(image).to_xml())
    sh("cp", "--sparse=always", image, other)
    with other.open("r+b") as stream:
        stream.seek(1024**2)
        stream.write(b"\x55")
    done = subprocess.run(
        ["bmaptool", "copy", "--bmap", bmap, other, tmp_path / "copy"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "checksum mismatch" in done.stderr


def test_a_map_that_bmaptool_made_is_read(image: Path) -> None:
    need("bmaptool")
    found = BlockMap.from_xml(sh("bmaptool", "create", image))
    assert found.image_size == image.stat().st_size
    ours = blockmap.make(image)
    covered = {block for part in found.ranges for block in range(part.first, part.last + 1)}
    assert all(block in covered for part in ours.ranges for block in range(part.first, part.last + 1))


def test_the_map_depends_on_content_and_not_on_the_layout_of_holes(image: Path, tmp_path: Path) -> None:
    solid = tmp_path / "solid.raw"
    sh("cp", "--sparse=never", image, solid)
    assert solid.stat().st_blocks > image.stat().st_blocks, "the copy must not be sparse for this to show anything"
    assert blockmap.make(solid).to_xml() == blockmap.make(image).to_xml()


@settings(max_examples=60, deadline=None)
@given(blocks=st.lists(st.sampled_from([0, 0, 1, 255]), min_size=1, max_size=40), tail=st.integers(0, BLOCK_SIZE - 1))
def test_every_block_that_is_not_zero_is_mapped_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[int], tail: int
) -> None:
    content = b"".join(bytes([value]) * BLOCK_SIZE for value in blocks) + b"\x07" * tail
    path = tmp_path_factory.getbasetemp() / "random.raw"
    path.write_bytes(content)
    found = BlockMap.from_xml(blockmap.make(path).to_xml())
    rebuilt = bytearray(len(content))
    for offset, size in found.extents():
        rebuilt[offset : offset + size] = content[offset : offset + size]
    assert bytes(rebuilt) == content
    assert found.mapped_blocks == sum(1 for value in blocks if value) + (1 if tail else 0)


@pytest.fixture
def xml(tmp_path: Path) -> str:
    path = tmp_path / "small.raw"
    path.write_bytes(b"x" * 3 * BLOCK_SIZE + bytes(2 * BLOCK_SIZE) + b"y")
    return blockmap.make(path).to_xml()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("<bmap", "<pmap", "not a block map"),
        ('version="2.0"', 'version="3.0"', "not a block map that can be read"),
        ("<ImageSize> 20481", "<ImageSize> 20482", "own checksum does not match"),
        ("0-2", "0-3", "own checksum does not match"),
        ("<BlockSize> 4096 </BlockSize>", "", "own checksum does not match"),
        ("sha256 ", "md5 ", "unknown checksum type"),
    ],
)
def test_a_damaged_map_is_refused_with_its_name(xml: str, old: str, new: str, says: str) -> None:
    assert old in xml
    with pytest.raises(EdgeError, match=says) as caught:
        BlockMap.from_xml(xml.replace(old, new), "site.raw.bmap")
    assert caught.value.problems[0].where == "site.raw.bmap"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("<ImageSize> 20481 ", "<ImageSize> many ", "is not a number"),
        ("> 0-2 <", "> 0-9 <", "leave the image"),
        ("> 0-2 <", "> 2-0 <", "go backwards"),
        ("> 0-2 <", "> all <", "not a range of blocks"),
        ("<MappedBlocksCount> 4 ", "<MappedBlocksCount> 5 ", "count of mapped blocks is wrong"),
        ("<BlockSize> 4096 ", "<BlockSize> 4097 ", "impossible block size"),
    ],
)
def test_a_map_that_makes_no_sense_is_refused_even_if_its_checksum_fits(
    xml: str, old: str, new: str, says: str
) -> None:
    import hashlib
    import re

    assert old in xml
    blank = re.sub(r"(?<=<BmapFileChecksum> )[0-9a-f]{64}", "0" * 64, xml.replace(old, new))
    forged = blank.replace("0" * 64, hashlib.sha256(blank.encode()).hexdigest(), 1)
    with pytest.raises(EdgeError, match=says):
        BlockMap.from_xml(forged)

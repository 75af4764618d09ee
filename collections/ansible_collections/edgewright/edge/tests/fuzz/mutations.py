"""Damage, always the same for the same dice: to bytes, to numbers in headers, to text, and to an archive's members."""

from __future__ import annotations

import struct
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.tests.fuzz.samples import Sample, manifest, tar

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_WORDS = (
    b"-1",
    b"99999999999999999999",
    b"1e9",
    b"0x10",
    b"\0",
    b"\xff\xfe",
    b"<x>",
    b"&x;",
    b"]]>",
    b"''",
    b'"',
    b"../canary",
    b"json:{}",
    b"nbd:localhost",
    b"/dev/zero",
    b"%s%n",
    "ů".encode(),
    b"\r\n",
)
_NAMES = (
    "../canary",
    "/tmp/canary",
    "..\\canary",
    "a/../../canary",
    "till.ovf",
    "",
    "x" * 300,
    "a\nb",
    "a\0b",
    "\udcff",
    ".",
    "till-1.vmdk/x",
)
_KINDS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, b"Z", b"x", b"g", b"L")
_HEAD = 70_000


def mutated(sample: Sample, dice: random.Random, others: list[Sample]) -> tuple[Sample, bytes | None]:
    """Return a damaged sample, and for an OVA sometimes the archive itself, damaged as a whole."""
    files = dict(sample.files)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        name = dice.choice(list(files))
        files[name] = _bytes(files[name], dice, others)
    if dice.random() < 0.7:  # or everything ends at the first digest
        files = {name: data for name, data in files.items() if not name.endswith(".mf")}
        if sample.archive and dice.random() < 0.5:
            files["till.mf"] = manifest(files)
    if not sample.archive:
        if len(files) > 1 and dice.random() < 0.1:
            del files[dice.choice(list(files))]
        return replace(sample, files=files), None
    kinds: dict[str, bytes] = {}
    if dice.random() < 0.3:
        name = dice.choice(list(files))
        data = files.pop(name)
        name = dice.choice(_NAMES) if dice.random() < 0.5 else name
        files[name] = data
        if dice.random() < 0.5:
            kinds[name] = dice.choice(_KINDS)
    archive = tar(files, kinds)
    if dice.random() < 0.4:
        archive = _checksummed(_bytes(archive, dice, others), dice)
    return replace(sample, files=files), archive


def _bytes(data: bytes, dice: random.Random, others: list[Sample]) -> bytes:
    """Return data with one to a few changes, most of them where headers and tables are."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        if not changed:
            break
        change = dice.choice(_CHANGES)
        change(changed, _place(changed, dice), dice)
    if dice.random() < 0.03:
        other = dice.choice(list(dice.choice(others).files.values()))
        changed[: dice.randrange(4096)] = other[: dice.randrange(4096)]
    return bytes(changed)


def _place(data: bytearray, dice: random.Random) -> int:
    where = dice.random()
    if where < 0.45:
        return dice.randrange(min(len(data), 1024))
    if where < 0.8:
        return dice.randrange(min(len(data), _HEAD))
    if where < 0.9:
        return max(0, len(data) - 1 - dice.randrange(min(len(data), 2048)))
    return dice.randrange(len(data))


def _flip(data: bytearray, at: int, dice: random.Random) -> None:
    data[at] ^= 1 << dice.randrange(8)


def _byte(data: bytearray, at: int, dice: random.Random) -> None:
    data[at] = dice.randrange(256)


def _number(data: bytearray, at: int, dice: random.Random) -> None:
    width, code = dice.choice(((2, "H"), (4, "I"), (8, "Q")))
    at -= at % width
    value = dice.choice(_EDGES) if dice.random() < 0.7 else dice.getrandbits(64)
    packed = struct.pack(dice.choice("<>") + code, value % 2 ** (8 * width))
    data[at : at + width] = packed[: len(data) - at]


def _word(data: bytearray, at: int, dice: random.Random) -> None:
    word = dice.choice(_WORDS)
    data[at : at + (len(word) if dice.random() < 0.5 else dice.randrange(12))] = word


def _cut(data: bytearray, at: int, dice: random.Random) -> None:
    del data[at : at + dice.choice((1, 7, 300, 4096))]


def _repeat(data: bytearray, at: int, dice: random.Random) -> None:
    data[at:at] = data[at : at + dice.choice((1, 40, 400, 5000))] * dice.choice((1, 1, 20))


def _zero(data: bytearray, at: int, dice: random.Random) -> None:
    length = min(dice.choice((4, 64, 512, 4096)), len(data) - at)
    data[at : at + length] = bytes([dice.choice((0, 255))]) * length


def _swap(data: bytearray, at: int, dice: random.Random) -> None:
    length, other = dice.choice((8, 64, 512)), _place(data, dice)
    data[at : at + length] = data[other : other + length]


def _end(data: bytearray, at: int, dice: random.Random) -> None:
    if dice.random() < 0.5:
        del data[at:]
    else:
        data.extend(bytes(dice.choice((1, 511, 512, 70_000))))


_CHANGES: tuple[Callable[[bytearray, int, random.Random], None], ...] = (
    *(_flip, _byte, _number, _number, _number, _word, _word, _cut, _repeat, _zero, _swap),
    _end,
)


def _checksummed(archive: bytes, dice: random.Random) -> bytes:
    """Make the checksum of the first header right again, mostly: else no reader looks any further."""
    if len(archive) < 512 or dice.random() < 0.2:
        return archive
    header = bytearray(archive[:512])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + archive[512:]

"""Amounts as people write them: bytes with binary or decimal suffixes, and processors in thousandths."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.fields import Parser, UnfitError

_BINARY: Final = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL: Final = {letter: 1000**power for power, letter in enumerate("kMGTPE", start=1)}
_FACTORS: Final = {"": 1, **_BINARY, **_DECIMAL}
_AMOUNT: Final = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>[A-Za-z]*?)B?", re.ASCII)

KIB: Final = 1024
MIB: Final = 1024**2
GIB: Final = 1024**3
TIB: Final = 1024**4


def to_bytes(value: object) -> int:
    """Return the bytes of ``4GiB``, ``512Mi``, ``2G``, ``1.5 GiB`` or a plain number.

    Suffixes are those of Kubernetes quantities (Ki Mi Gi Ti Pi Ei, k M G T P E), each with or without ``B``.

    Raises:
        UnfitError: not an amount, an unknown unit, or not a whole number of bytes.
    """
    expected = "bytes, or a number with KiB, MiB, GiB, TiB (binary) or kB, MB, GB, TB (decimal)"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise UnfitError("must be an amount of bytes", expected=expected)
    match = _AMOUNT.fullmatch(str(value))
    if match is None:
        raise UnfitError("must be an amount of bytes", expected=expected)
    unit = match["unit"]
    if unit not in _FACTORS:
        proper = {known.lower(): known for known in (*_DECIMAL, *_BINARY)}.get(unit.lower().removesuffix("b"))
        raise UnfitError(
            f"has the unknown unit '{str(value).removeprefix(match['number']).strip()}'",
            expected=expected,
            remedy=f"Write '{match['number']}{proper}B'." if proper else "",
        )
    amount = Fraction(match["number"]) * _FACTORS[unit]
    if amount.denominator != 1:
        raise UnfitError("must be a whole number of bytes", expected=expected)
    return int(amount)


def size(low: int, high: int, *, multiple: int = 1) -> Parser[int]:
    """Return a parser of amounts of bytes within bounds, each a multiple of ``multiple`` bytes."""

    def parse(value: object) -> int:
        amount = to_bytes(value)
        expected = f"{bytes_text(low)} to {bytes_text(high)}"
        if not low <= amount <= high:
            raise UnfitError("is out of range", expected=expected)
        if amount % multiple:
            raise UnfitError(f"must be a multiple of {bytes_text(multiple)}", expected=expected)
        return amount

    return parse


def bytes_text(amount: int) -> str:
    """Write bytes with the largest binary unit that keeps them exact: 67108864 is ``64MiB``, 1000 is ``1000``."""
    for unit, factor in reversed(_BINARY.items()):
        if amount and amount % factor == 0:
            return f"{amount // factor}{unit}B"
    return str(amount)


def millicpus(value: object) -> int:
    """Return thousandths of a processor from ``2``, ``1.5``, ``"0.5"`` or Kubernetes' ``500m``.

    Raises:
        UnfitError: not such a number, finer than a thousandth, or not between 0.01 and 512 processors.
    """
    expected = "processors as 2, 1.5 or 500m"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnfitError("must be a number of processors", expected=expected)
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(m?)", str(value), re.ASCII)
    if match is None:
        raise UnfitError("must be a number of processors", expected=expected)
    amount = Fraction(match[1]) * (1 if match[2] else 1000)
    if amount.denominator != 1:
        raise UnfitError("is finer than a thousandth of a processor", expected=expected)
    if not 10 <= amount <= 512_000:
        raise UnfitError("is out of range", expected="0.01 to 512 processors")
    return int(amount)


def cpus_text(amount: int) -> str:
    """Write thousandths of a processor as a decimal number: 1500 is ``1.5``, 2000 is ``2``."""
    whole, rest = divmod(amount, 1000)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)

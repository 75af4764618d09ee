"""Units of amounts in OVF: ``rasd:AllocationUnits`` and ``ovf:capacityAllocationUnits``, however they are spelled."""

from __future__ import annotations

import re
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError

_PRODUCT: Final = re.compile(r"bytes?(?:\s*\*\s*(\d{1,9})(?:\s*\^\s*(\d{1,2}))?)?", re.ASCII | re.IGNORECASE)
_WORD: Final = re.compile(
    r"(?P<prefix>k|m|g|t|kilo|mega|giga|tera|ki|mi|gi|ti|kibi|mebi|gibi|tebi)?(?P<unit>b|byte|bytes)?",
    re.ASCII | re.IGNORECASE,
)
_POWERS: Final = {"k": 1, "m": 2, "g": 3, "t": 4}
_LARGEST: Final = 2**60


def bytes_in_unit(units: str, *, default: int = 1) -> int:
    """Return how many bytes one unit is; ``default`` where ``units`` is empty.

    Programmatic units (DSP0004, annex C: ``byte * 2^20``, ``byte*10^6``, ``byte * 1048576``) mean what they say.
    Words (``MegaBytes``, ``MB``, ``GB``, ``MiB``) are those of OVF 0.9 and of exporters, where all are binary.

    Raises:
        UnfitError: no such unit.
    """
    written = units.strip()
    if not written:
        return default
    if product := _PRODUCT.fullmatch(written):
        factor: int = int(product[1] or 1) ** int(product[2] or 1)
        if 0 < factor <= _LARGEST:
            return factor
    word = _WORD.fullmatch(written)
    if word is not None and word["prefix"]:
        return (1, 1024, 1024**2, 1024**3, 1024**4)[_POWERS[word["prefix"][0].lower()]]
    raise UnfitError(
        "is no unit of bytes", expected="byte * 2^20, byte * 10^9, MegaBytes, MB, GB or the like", remedy="Correct it."
    )

"""Writing a medium: ``edgewright flash`` against ``dd`` on one loop device."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from bench import flash
from bench.figures import NotMeasuredError, Row

if TYPE_CHECKING:
    from bench.workplace import Workplace

_ROUNDS = 2


def medium(place: Workplace) -> list[Row]:
    """Write the image with each method in turn.

    Raises:
        NotMeasuredError: only root can have a loop device.
    """
    if os.geteuid() != 0:
        raise NotMeasuredError("a loop device needs root: run the bench as root, or with sudo, for this figure")
    place.built()
    found = cast("dict[str, Any]", flash.measure(place.image, place.folder, _ROUNDS))
    seconds = found["median_seconds"]
    written = (
        f"The image is {found['image_size'] / 2**20:.0f} MiB, {found['mapped_size'] / 2**20:.0f} MiB of it content."
    )
    return [
        Row("Flash", seconds["flash"], "s", seconds["dd"], "dd", note=written),
        Row("Flash and verify", seconds["flash_verified"], "s", seconds["dd_cmp"], "dd, then cmp", note=written),
    ]

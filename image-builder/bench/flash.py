"""Flash against dd, side by side on one loop device: until the medium is written, and until it is known to be right.

    python image-builder/bench/flash.py build/demo/demo.raw [--folder DIR] [--rounds N]

Needs root for the loop device. Prints JSON: seconds of every round, medians, and the ratios. ``dd`` gets large blocks,
direct writes and ``conv=fsync``; ``dd_cmp`` is what it takes to know that it worked.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright import blockmap, flash, significance
from edgewright.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SPARE = 16 * 1024**2


@contextmanager
def loop_device(size: int, folder: Path) -> Iterator[Path]:
    """Yield a loop device on a fully allocated file, so that no method is charged for finding room.

    Raises:
        subprocess.CalledProcessError: no loop device can be had here.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix="medium-") as backing:
        os.posix_fallocate(backing.fileno(), 0, size)
        command = ["losetup", "--find", "--show", "--direct-io=on", backing.name]
        try:
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError:
            command.remove("--direct-io=on")
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        device = Path(done.stdout.strip())
        try:
            yield device
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)


def measure(image: Path, folder: Path, rounds: int) -> dict[str, object]:
    """Write ``image`` to one loop device with each method in turn, ``rounds`` times; returns seconds and ratios."""
    bmap = image.with_name(f"{image.name}.bmap")
    plan = (
        blockmap.BlockMap.from_xml(bmap.read_text(), str(bmap))
        if bmap.exists()
        else blockmap.make(image, significance.meant(image))
    )
    reporter = Reporter(stream=Path(os.devnull).open("w"))  # noqa: SIM115 - lives as long as the process
    seconds: dict[str, list[float]] = {"dd": [], "dd_cmp": [], "flash": [], "flash_verified": []}
    with loop_device(plan.image_size + _SPARE, folder) as device:
        methods: dict[str, Callable[[], object]] = {
            "dd": lambda: _dd(image, device),
            "dd_cmp": lambda: _dd_cmp(image, device),
            "flash": lambda: flash.write(image, device, plan, reporter, verify=False),
            "flash_verified": lambda: flash.write(image, device, plan, reporter),
        }
        for _ in range(rounds):
            for name, method in methods.items():
                os.sync()
                _forget(image)
                started = time.monotonic()
                method()
                seconds[name].append(round(time.monotonic() - started, 3))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "image_size": plan.image_size,
        "mapped_size": plan.mapped_size,
        "seconds": seconds,
        "median_seconds": medians,
        "dd_over_flash": round(medians["dd"] / medians["flash"], 2),
        "dd_cmp_over_flash_verified": round(medians["dd_cmp"] / medians["flash_verified"], 2),
    }


def _dd(image: Path, device: Path) -> None:
    command = ["dd", f"if={image}", f"of={device}", "bs=4M", "oflag=direct", "conv=fsync", "status=none"]
    subprocess.run(command, check=True)


def _dd_cmp(image: Path, device: Path) -> None:
    _dd(image, device)
    _forget(device)
    subprocess.run(["cmp", f"--bytes={image.stat().st_size}", image, device], check=True)


def _forget(path: Path) -> None:
    """Drop the page cache of a file, so that no method finds it warmed up by the one before."""
    with path.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="edgewright flash against dd on a loop device")
    parser.add_argument("image", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the medium's file lies")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    json.dump(measure(options.image, options.folder, options.rounds), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

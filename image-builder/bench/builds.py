"""Builds against mkosi: cold, with nothing changed, with one variable changed; and the size of what comes out."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.figures import Row
from edgewright.stages.disk import Disk
from edgewright.stages.initrd import Initrd
from edgewright.stages.root_image import RootImage
from edgewright.stages.rootfs import Rootfs
from edgewright.stages.uki import Uki
from edgewright.tools.process import run

if TYPE_CHECKING:
    from pathlib import Path

    from bench.mkosi import Mkosi
    from bench.workplace import Workplace

# The work that mkosi does too.
_SAME_WORK = (Rootfs, Initrd, RootImage, Uki, Disk)
_REPEATS = 3
_ZSTD_LEVEL = 3
_MIB = 2**20


def cold(place: Workplace, mkosi: Mkosi) -> list[Row]:
    """Build with every package in the store and no stage built."""
    place.restore_inventory()
    place.fetch()
    place.forget_stages(place.cache)
    with place.reporter.step("edgewright build, whole site, empty cache"):
        whole = place.build()
    place.give_parts()
    with place.reporter.step("edgewright build, operating system only"):
        system = place.build(place.system_cache)
    place.forget_stages(place.system_cache)
    with place.reporter.step("mkosi's tools tree"):
        tree = mkosi.prepare(rebuild=True)
    mkosi.forget()
    with place.reporter.step("mkosi build"):
        theirs = mkosi.build()
    same = sum(system.steps[stage.title] for stage in _SAME_WORK)
    given = "Both are given a finished tools tree, container store, models and guest disk."
    return [
        Row(
            "Cold build, operating system",
            system.seconds,
            "s",
            theirs,
            "mkosi",
            limit=1.0,
            limited="ratio",
            note=f"{given} Edgewright's time is the whole command, with what mkosi does not do: both phases of the "
            "roles, the host's layer, checksums, block map, bill of materials, and delivery.",
        ),
        Row(
            "Cold build, same work only",
            same,
            "s",
            theirs,
            "mkosi",
            note="The same run: the sum of the stages that mkosi has too (packages, initrd, root, UKI, disk), although "
            "some of them ran side by side.",
        ),
        Row(
            "Cold build, whole site",
            whole.seconds,
            "s",
            tree + theirs,
            "tools tree, then mkosi",
            note="Edgewright also makes the container image, its store and the guest disk; mkosi's side is a tools "
            "tree with mkosi, made like Edgewright's, and then the operating system from ready parts.",
        ),
    ]


def unchanged(place: Workplace, mkosi: Mkosi) -> list[Row]:
    """Build again with nothing changed."""
    place.built()
    with place.reporter.step("edgewright build, nothing changed"):
        times = [place.build().seconds for _ in range(_REPEATS)]
    mkosi.ensure_cached_tree()
    with place.reporter.step("mkosi build, nothing changed"):
        theirs = mkosi.build(incremental=True)
    note = (
        "mkosi does not look for changes: this is --incremental --force; without --force it keeps any image there is."
    )
    return [Row("Rebuild, nothing changed", statistics.median(times), "s", theirs, "mkosi -i", limit=2.0, note=note)]


def changed(place: Workplace, mkosi: Mkosi) -> list[Row]:
    """Build again after one variable of the inventory, or one file of mkosi's extra tree, has changed.

    Raises:
        RuntimeError: the change reached no layer, so nothing was measured.
    """
    place.built()
    change = place.change_variable()
    with place.reporter.step(f"edgewright build, {change}"):
        ours = place.build()
    place.restore_inventory()
    if not any(label.startswith("node-layer") for label in ours.answer["made"]):
        raise RuntimeError(f"{change} made no layer anew: {ours.answer['made']}")
    mkosi.ensure_cached_tree()
    with (mkosi.extra / "etc" / "fstab").open("a", encoding="utf-8") as stream:
        stream.write(f"# {change}\n")
    with place.reporter.step("mkosi build, a file changed"):
        theirs = mkosi.build(incremental=True)
    note = (
        "Edgewright: another amount of memory for the virtual machine, which runs a role again; mkosi: a file changed."
    )
    return [Row("Rebuild, one variable changed", ours.seconds, "s", theirs, "mkosi -i", limit=20.0, note=note)]


def size(place: Workplace, mkosi: Mkosi) -> list[Row]:
    """Compare the images' sizes: as partitions, on disk, compressed."""
    place.built()
    mkosi.ensure_image()
    note = "Both carry the same container store, models and guest disk, and have the same partitions."
    compressed = f"Image, zstd -{_ZSTD_LEVEL}"
    rows = []
    for figure, measure in (
        ("Image, as large as its disk", _raw),
        ("Image, allocated", _allocated),
        (compressed, _zstd),
    ):
        with place.reporter.step(figure):
            ours, theirs = (measure(image) / _MIB for image in (place.image, mkosi.image))
        rows.append(Row(figure, ours, "MiB", theirs, "mkosi", note=note))
    return rows


def _raw(image: Path) -> int:
    return image.stat().st_size


def _allocated(image: Path) -> int:
    return image.stat().st_blocks * 512


def _zstd(image: Path) -> int:
    return int(run(["sh", "-c", 'zstd -q "-$1" -T0 -c <"$2" | wc -c', "zstd", str(_ZSTD_LEVEL), image]))

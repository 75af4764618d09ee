"""``edgewright flash``: an image onto a USB stick or disk, with every chance to notice that it is the wrong one."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright import block_device, blockmap, flash, significance, site_seed
from edgewright.exits import ExitCode
from edgewright.flash_source import is_compressed
from edgewright.reporter import Reporter, amount, duration
from edgewright.tools import esp

if TYPE_CHECKING:
    import argparse

HELP = "Write an image to a USB stick or disk: only the blocks that matter, read back and compared."
NODE_FILE = "edgewright/node"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "image", type=Path, metavar="IMAGE", help="raw disk image, or one compressed with zstd (.raw.zst)"
    )
    parser.add_argument("device", type=Path, metavar="DEVICE", help="the disk to overwrite, such as /dev/sdb")
    parser.add_argument(
        "--bmap", type=Path, metavar="FILE", help="block map (default: IMAGE.bmap, else made on the fly)"
    )
    parser.add_argument(
        "--serial", metavar="SERIAL", help="the disk's serial number; a built-in disk is only taken with it"
    )
    parser.add_argument("--node", metavar="NAME", help="inventory host that a machine booted from this medium shall be")
    parser.add_argument(
        "--seed", type=Path, metavar="FILE", help="secrets for the medium's hosts, made by `edgewright seed`"
    )
    parser.add_argument("--no-verify", action="store_true", help="do not read back what was written")
    parser.add_argument("--to-file", action="store_true", help="DEVICE is a file to write, not a disk")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Check, show the plan, ask, write, verify."""
    node = _node(options)
    secrets = site_seed.SiteSeed.read(options.seed) if options.seed else None
    plan = _block_map(options, reporter)
    if not options.to_file:
        device = block_device.read(options.device)
        if found := block_device.refusals(device, need=plan.image_size, serial=options.serial):
            raise EdgeError(found)
        _show(device, options.image, plan, reporter)
        _confirm(device, yes=options.yes)
    started = time.monotonic()
    writer = flash.write_file if options.to_file else flash.write
    try:
        with reporter.step(f"Write {options.image} to {options.device}"):
            written = writer(options.image, options.device, plan, reporter, verify=not options.no_verify)
    except BaseException:
        if not options.to_file:
            reporter.warning(f"{options.device} is incomplete and will not boot.")
        raise
    took = time.monotonic() - started
    if node:
        _name(options.device, node)
    if secrets:
        with reporter.step(f"Put the seed onto {options.device}"):
            if options.to_file:
                options.device.chmod(0o600)
            site_seed.place(options.device, secrets)
    reporter.info(
        f"{amount(written.size)} of {amount(plan.image_size)} written in {duration(took)}"
        f" ({amount(written.size / max(written.writing, 0.001))}/s)" + ("." if options.no_verify else ", and verified.")
    )
    reporter.result(
        {
            "device": str(options.device),
            "image_size": plan.image_size,
            "written": written.size,
            "seconds": round(took, 3),
            "writing_seconds": round(written.writing, 3),
            "verifying_seconds": round(written.verifying, 3),
            "verified": not options.no_verify,
            "node": node,
            "seed": sorted(secrets.tars) if secrets else [],
        }
    )
    return ExitCode.OK


def _node(options: argparse.Namespace) -> str | None:
    """Return the host name for the medium; with an inventory it must be one of its hosts."""
    if options.node is None:
        return None
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", options.node):
        raise EdgeError(Problem("--node", "not a host name", repr(options.node), "a name from the inventory"))
    if options.inventory is not None:
        from edgewright.site import load_site

        names = [
            host.name for host in load_site(options.inventory, vault_password_file=options.vault_password_file).hosts
        ]
        if options.node not in names:
            raise EdgeError(
                Problem("--node", "no such host in the inventory", repr(options.node), f"one of {', '.join(names)}")
            )
    return str(options.node)


def _block_map(options: argparse.Namespace, reporter: Reporter) -> blockmap.BlockMap:
    image: Path = options.image
    if not image.exists():
        raise EdgeError(
            Problem(str(image), "no such image", "", "", "Build it first: edgewright build -i inventories/<site>.")
        )
    beside = [image.with_name(f"{image.name}.bmap"), image.with_suffix(".bmap")] if is_compressed(image) else []
    candidates = [options.bmap] if options.bmap else [*beside, image.with_name(f"{image.name}.bmap")]
    for path in candidates:
        if path.exists():
            plan = blockmap.BlockMap.from_xml(path.read_text(), str(path))
            break
    else:
        if options.bmap or is_compressed(image):
            remedy = "Copy the .bmap file that was built with the image beside it."
            raise EdgeError(Problem(str(candidates[0]), "no block map", "", "the image's block map", remedy))
        with reporter.step(f"No block map beside {image.name}: make one"):
            return blockmap.make(image, significance.meant(image))
    size = image.stat().st_size
    if not is_compressed(image) and size != plan.image_size:
        what = "the block map belongs to another image"
        raise EdgeError(
            Problem(
                str(image), what, f"{size} bytes", f"{plan.image_size} bytes", "Take the two that were built together."
            )
        )
    return plan


def _show(device: block_device.BlockDevice, image: Path, plan: blockmap.BlockMap, reporter: Reporter) -> None:
    reporter.info(f"Image   {image}, {amount(plan.image_size)}, of which {amount(plan.mapped_size)} are written")
    reporter.info(f"Device  {device.path}: {device.describe()}")
    losses = block_device.losses(device)
    reporter.info("Everything on it will be lost:" if losses else "It has no partitions.")
    for line in losses:
        reporter.info(f"  {line}")


def _confirm(device: block_device.BlockDevice, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise EdgeError(
            Problem("", "nobody is there to confirm that the device may be overwritten", remedy="Add --yes.")
        )
    sys.stderr.write(f"Type {device.name} to overwrite {device.path}: ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    if answer not in (device.name, device.path):
        raise EdgeError(Problem(device.path, "was not confirmed, nothing was written", repr(answer), device.name))


def _name(device: Path, node: str) -> None:
    """Leave the node's name on the medium's FAT partition, and make sure that it can be read."""
    try:
        esp.write(device, NODE_FILE, f"{node}\n".encode())
        if esp.read(device, NODE_FILE).decode().strip() != node:
            raise flash.FlashError(device, f"the file {NODE_FILE} reads back differently")
    except esp.EspError as error:
        raise EdgeError(
            Problem("--node", str(error), "", "", "The image was written, but has no name on it.")
        ) from error

"""``edgewright build``: from the inventory, its lock and the store to the disk image, with no network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.ansible_vault import configured_password_file
from edgewright.built import publish
from edgewright.delivery import deliver
from edgewright.disk_space import refuse_full_disk
from edgewright.exits import ExitCode
from edgewright.fetching import Fetching
from edgewright.leftovers import KEPT_DAYS, remove, unused_stages
from edgewright.lockfile import Lock
from edgewright.paths import Cache, project_root
from edgewright.pipeline import Pipeline, default_version, epoch_of, pipeline, refuse_unfetched, run_stages, with_needs
from edgewright.reporter import Reporter, amount
from edgewright.resolve_request import gaps, request_of
from edgewright.site import Site, load_site
from edgewright.site_check import refuse_bad_site
from edgewright.stages.stage import Context, remove_leftovers
from edgewright.store import Store

if TYPE_CHECKING:
    import argparse

HELP = (
    "Build the site's disk image from its inventory, its lock and the filled store. Touches no network. Stages whose"
    " inputs have not changed are taken from the cache; the same inputs give the same bytes."
)

# os-release(5): IMAGE_VERSION; it also stands in the file name of the boot entry, which sd-boot compares.
_VERSION = re.compile(r"[a-z0-9][a-z0-9._~^-]{0,63}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where the image goes (default: build/<site>)")
    parser.add_argument(
        "--artifacts-only",
        action="store_true",
        help="make no image: only the guest disks and container images, into the store, for nodes reached over SSH",
    )
    parser.add_argument("--rebuild", action="store_true", help="distrust the cache: make every stage anew")
    parser.add_argument(
        "--image-version",
        metavar="VERSION",
        help="IMAGE_VERSION of the image, higher for each update (default: this program's version and the lock's date)",
    )


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Build what is not built yet and put it into the output folder."""
    with reporter.step("Inventory"):
        site = load_site(options.inventory, vault_password_file=options.vault_password_file)
        refuse_bad_site(site)
    plan, context = prepare(site, options, reporter)
    refuse_unfetched(Fetching(plan.disk.lock, plan.disk.store, site.inventory, reporter), site)
    remove_leftovers(context.cache)
    wanted = with_needs(plan.published()) if options.artifacts_only else plan.stages()
    refuse_full_disk(wanted, plan.disk.lock, context.cache)
    if options.artifacts_only:
        return _build_artifacts(plan, context, reporter, rebuild=options.rebuild)
    built = run_stages(plan.stages(), context, reporter, rebuild=options.rebuild)
    _collect(context, reporter)
    output = options.output or project_root() / "build" / site.name
    with reporter.step("Image and evidence"):
        delivered = deliver(plan, context, output)
    if built.cached and not built.made:
        reporter.info("Nothing had changed: every stage came from the cache.")
    reporter.answer(f"{delivered.image}  ({amount(delivered.size)}, {amount(delivered.allocated)} on disk)")
    reporter.result(
        {
            "image": str(delivered.image),
            "version": plan.root.version,
            "size": delivered.size,
            "allocated": delivered.allocated,
            "sha256": delivered.digest,
            "made": built.made,
            "cached": built.cached,
        }
    )
    return ExitCode.OK


def _collect(context: Context, reporter: Reporter) -> None:
    """Give back the space of stages that no build has used for long: every change of an inventory leaves some."""
    freed = 0
    for leftover in unused_stages(context.cache.root, KEPT_DAYS):
        size = leftover.size()
        if remove(leftover, context.cache.tmp):
            freed += size
    if freed:
        reporter.info(f"Stages that no build had used for {KEPT_DAYS} days are gone: {amount(freed)}.")


def _build_artifacts(plan: Pipeline, context: Context, reporter: Reporter, *, rebuild: bool) -> int:
    """Make only what the playbooks take from the store."""
    wanted = with_needs(plan.published())
    built = run_stages(wanted, context, reporter, rebuild=rebuild)
    with reporter.step("Artifacts for nodes reached over SSH"):
        published = publish(plan, context)
    for source, digest in published.items():
        reporter.answer(f"{source}  {digest}")
    reporter.result({"artifacts": published, "made": built.made, "cached": built.cached})
    return ExitCode.OK


def prepare(site: Site, options: argparse.Namespace, reporter: Reporter) -> tuple[Pipeline, Context]:
    """Lay out the stages of a checked site.

    Raises:
        EdgeError: no lock, one that does not fit the inventory, or a bad version.
    """
    lock = Lock.load(site.lock_path)
    if missing := gaps(lock, request_of(site), str(site.lock_path)):
        raise EdgeError(missing)
    version = options.image_version or default_version(lock)
    if not _VERSION.fullmatch(version):
        raise EdgeError(
            Problem(
                "--image-version", "is not a version", found=version, expected="lower-case letters, digits and ._~^-"
            )
        )
    cache = Cache(options.cache)
    # Ansible in the node's root sees no environment.
    password = options.vault_password_file or configured_password_file()
    plan = pipeline(site, lock, Store(cache.store), version=version, vault_password_file=password)
    log = reporter.run_log or cache.logs / "build.log"
    return plan, Context(cache, epoch_of(lock), log)

"""``edgewright fetch``: bring what the lock pins into the store, online."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.lockfile import Lock
from edgewright.paths import Cache

if TYPE_CHECKING:
    import argparse

    from edgewright.reporter import Reporter

HELP = """\
Downloads everything that site.lock.yml pins into the content-addressed store, several files at a time, each verified
against its digest. Container images come through skopeo, with the credentials of 'skopeo login'. Where edge_mirrors
names mirrors, those are asked instead. An interrupted run is continued by the next one. Afterwards 'edgewright build'
needs no network."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--connections", type=int, default=6, metavar="N", help="downloads at a time (default: 6)")
    parser.add_argument(
        "--dry-run", "--offline-check", action="store_true", help="list what is missing, with sizes; needs no network"
    )
    parser.add_argument(
        "--verify", action="store_true", help="read again what the store has, and replace what a disk has damaged"
    )


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Fill the store, or list what is missing in it (then exit 3 if anything is)."""
    from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

    from edgewright.exits import ExitCode
    from edgewright.fetching import Fetching
    from edgewright.resolve_request import gaps, request_of
    from edgewright.site import load_site
    from edgewright.store import Store

    if not 1 <= options.connections <= 32:
        raise EdgeError(Problem("--connections", "out of range", str(options.connections), "1 to 32"))
    with reporter.step("read the inventory"):
        site = load_site(options.inventory, vault_password_file=options.vault_password_file)
        lock = Lock.load(site.lock_path)
        request = request_of(site)
        if missing := gaps(lock, request, str(site.lock_path)):
            raise EdgeError(missing)
    fetching = Fetching(lock, Store(Cache(options.cache).store), site.inventory, reporter, request.mirrors)
    if options.verify:
        with reporter.step("verify the store"):
            damaged = fetching.discard_damaged()
        for name in damaged:
            reporter.warning(f"{name}: the disk changed it; it will be downloaded again")
    needed = fetching.missing()
    listing = [{"name": each.name, "digest": each.digest, "size": each.size} for each in needed]
    total = sum(each.size for each in needed)
    if options.dry_run:
        for each in needed:
            reporter.answer(f"{each.size:>12}  {each.name}")
        reporter.answer(f"{len(needed)} files are missing, {total / 1e6:.1f} MB")
        reporter.result({"missing": listing, "size": total})
        return ExitCode.NEEDS_NETWORK if needed else ExitCode.OK
    with reporter.step(f"fetch {len(needed)} files, {total / 1e6:.1f} MB"):
        fetched = fetching.fetch(connections=options.connections)
    reporter.answer(
        f"the store has everything: {fetched.files} files fetched, {fetched.received / 1e6:.1f} MB received"
    )
    reporter.result({"fetched": listing, "received": fetched.received})
    return ExitCode.OK

"""``edgewright lock``: turn names into digests, online, and write them into ``site.lock.yml``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.lockfile import Lock
from edgewright.paths import Cache

if TYPE_CHECKING:
    import argparse

    from edgewright.reporter import Reporter

HELP = """\
Pins everything that the site is built from: Debian packages with all they depend on, Python packages of containers,
models and disks, k3s's release and operators' manifests, and every container image that any of them or the inventory
names; each by digest, size and source, in site.lock.yml in the inventory's folder. Commit that file.

What is pinned already and still answers the inventory stays as it is; only what is missing is looked up."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument(
        "--upgrade", action="store_true", help="look everything up anew: security updates, new versions"
    )


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Write the lock; say what was kept, added, removed and changed."""
    from edgewright.resolve import Resolver
    from edgewright.resolve_changes import changes
    from edgewright.resolve_request import request_of
    from edgewright.site import load_site
    from edgewright.site_check import refuse_bad_site
    from edgewright.store import Store

    with reporter.step("read the inventory"):
        site = load_site(options.inventory, vault_password_file=options.vault_password_file)
        refuse_bad_site(site)
        request = request_of(site)
    old = Lock.load(site.lock_path) if site.lock_path.exists() else Lock()
    cache = Cache(options.cache)
    resolver = Resolver(Store(cache.store), cache.apt, reporter, upgrade=options.upgrade)
    new = resolver.relock(old, request)
    written = new.dump(site.lock_path)
    differences = changes(old, new)
    for each in differences:
        reporter.answer("\n".join(each.lines()))
    reporter.answer(f"{site.lock_path}: {'written' if written else 'nothing to change'}")
    reporter.result(
        {
            "lock": str(site.lock_path),
            "changed": written,
            "differences": [each.as_dict() for each in differences],
        }
    )
    return 0

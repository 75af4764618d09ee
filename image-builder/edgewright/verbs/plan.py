"""``edgewright plan``: what a build would do. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewright.exits import ExitCode
from edgewright.fetching import Fetching
from edgewright.reporter import Reporter, amount
from edgewright.site import load_site
from edgewright.site_check import refuse_bad_site
from edgewright.tools.sandbox import as_root
from edgewright.verbs.build import prepare

if TYPE_CHECKING:
    import argparse

HELP = (
    "Show the stages of the site's image, which of them are in the cache, their sizes, and what is yet to be fetched."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--image-version", metavar="VERSION", help="as for build")


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Print the stages in order, and the artifacts that the store has not."""
    site = load_site(options.inventory, vault_password_file=options.vault_password_file)
    refuse_bad_site(site)
    plan, context = prepare(site, options, reporter)
    rows: list[dict[str, Any]] = []
    for stage in plan.stages():
        output = stage.output(context.cache)
        built = stage.is_built(context.cache)
        size = int(as_root(["du", "-sB1", output]).split()[0]) if built else None
        rows.append({"stage": stage.label, "title": stage.title, "key": stage.key(), "cached": built, "size": size})
        state = f"cached {amount(size):>10}" if size is not None else "to build" + " " * 9
        reporter.answer(f"{stage.label:32} {state}  {stage.key()[:12]}")
    missing = Fetching(plan.disk.lock, plan.disk.store, site.inventory, reporter).missing()
    total = sum(each.size for each in missing)
    if missing:
        reporter.answer(f"To fetch: {len(missing)} artifacts, {amount(total)} (edgewright fetch)")
    else:
        reporter.answer("To fetch: nothing; the build needs no network.")
    reporter.result(
        {
            "version": plan.root.version,
            "stages": rows,
            "to_fetch": [{"name": each.name, "size": each.size} for each in missing],
            "to_fetch_bytes": total,
        }
    )
    return ExitCode.OK

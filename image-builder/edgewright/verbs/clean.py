"""``edgewright clean``: give disk space back, and nothing that is not the builder's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright import leftovers
from edgewright.exits import ExitCode
from edgewright.paths import project_root
from edgewright.reporter import Reporter, amount

HELP = (
    "Delete what builds left behind. Without options: finished stages and the scratch folders of killed runs; the next"
    " build makes them again from the store, without a network. What a running build uses is left alone."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--stages", action="store_true", help="finished stages of every site (the default)")
    parser.add_argument(
        "--unused-for",
        type=_days,
        metavar="DAYS",
        help=f"only finished stages that no build has used for so many days (build does it with {leftovers.KEPT_DAYS})",
    )
    parser.add_argument(
        "--store", action="store_true", help="downloads of every site; the next build needs a network again"
    )
    parser.add_argument(
        "--output",
        nargs="?",
        const=True,
        metavar="DIR",
        help="the site's image and its evidence (DIR: where build wrote them; default: build/<site>)",
    )
    parser.add_argument("--all", action="store_true", help="all of these")
    parser.add_argument("-n", "--dry-run", action="store_true", help="show what would be deleted, delete nothing")


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1
    if not 0 <= days < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of days, 0 or more, found {text!r}")
    return days


def run(options: argparse.Namespace, reporter: Reporter) -> int:
    """Delete what was chosen; the answer lists it with sizes."""
    refuse_contradictions(options)
    cache = leftovers.checked_cache(options.cache)
    chosen = list(_chosen(options, cache))
    removed, kept, total = [], [], 0
    for leftover in chosen:
        size = leftover.size()
        if not options.dry_run and not leftovers.remove(leftover, (cache or leftover.path.parent) / "tmp"):
            kept.append(leftover.as_dict(size))
            reporter.warning(f"{leftover.path} is in use by a running build; left alone")
            continue
        removed.append(leftover.as_dict(size))
        total += size
        reporter.answer(f"{amount(size):>11}  {leftover.kind:8}{leftover.path}")
    if not options.dry_run:
        _remove_empty_outputs(chosen)
    verb = "would be freed" if options.dry_run else "freed"
    reporter.answer(f"{amount(total):>11}  {verb}" if removed else "Nothing to delete.")
    reporter.result({"dry_run": options.dry_run, "removed": removed, "kept": kept, "bytes": total})
    return ExitCode.OK


def refuse_contradictions(options: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        EdgeError: all of them.
    """
    problems = []
    if (options.output or options.all) and options.inventory is None:
        remedy = "Give the site's inventory with -i, or choose --stages or --store."
        problems.append(Problem("--output" if options.output else "--all", "needs to know whose output", remedy=remedy))
    if options.unused_for is not None and (options.stages or options.all):
        given = "--all" if options.all else "--stages"
        problems.append(Problem("--unused-for", f"contradicts {given}, which deletes every stage", remedy="Give one."))
    if problems:
        raise EdgeError(problems)


def _chosen(options: argparse.Namespace, cache: Path | None) -> list[leftovers.Leftover]:
    chosen: list[leftovers.Leftover] = []
    nothing_said = not (options.stages or options.store or options.output)
    if cache and options.unused_for is not None:
        chosen += leftovers.unused_stages(cache, options.unused_for)
    elif cache and (options.stages or options.all or nothing_said):
        chosen += leftovers.stages(cache)
    if cache and (options.store or options.all):
        chosen += leftovers.store(cache)
    if options.output or options.all:
        from edgewright.site import load_site  # only the output's place depends on the inventory

        site = load_site(options.inventory, vault_password_file=options.vault_password_file)
        folder = Path(options.output) if isinstance(options.output, str) else project_root() / "build" / site.name
        chosen += leftovers.outputs(folder, site.name)
    return chosen


def _remove_empty_outputs(removed: list[leftovers.Leftover]) -> None:
    for folder in {leftover.path.parent for leftover in removed if leftover.kind == "output"}:
        if not any(folder.iterdir()):
            folder.rmdir()

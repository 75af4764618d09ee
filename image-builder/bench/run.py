"""Measure builds, image sizes, boots, flashing, inference, imports and clusters side by side with the alternatives.

    python image-builder/bench/run.py [--json FILE] [--only SECTION ...]
    python image-builder/bench/run.py --markdown [--json FILE]

Prints a table and, with ``--json``, writes the same as JSON. A section that fails is reported and the others go on; the
exit code is 1 then. With ``--only`` the other sections of an existing JSON file stay as they are. ``--markdown``
measures nothing: it puts the table of the JSON file into ``docs/bench.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import boots, builds, cluster, imports, inference, media, plan
from bench.figures import NotMeasuredError, Row, machine_kind, markdown_table, text_table
from bench.mkosi import Mkosi
from bench.workplace import Workplace
from edgewright.paths import Cache, default_cache, project_root
from edgewright.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable

_BEGIN, _END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


# In the order that they use each other's images best.
_SECTIONS: dict[str, Callable[[Workplace, Mkosi], list[Row]]] = {
    "cold": builds.cold,
    "unchanged": builds.unchanged,
    "changed": builds.changed,
    "size": builds.size,
    "boot": boots.boot,
    "flash": lambda place, _: media.medium(place),
    "inference": lambda place, _: inference.inference(place),
    "plan": lambda place, _: plan.plan(place),
    "import": lambda place, _: imports.imports(place),
    "cluster": lambda place, _: cluster.cluster(place),
}


def measure(name: str, section: Callable[[], list[Row]], reporter: Reporter) -> dict[str, Any]:
    """Run one section; what goes wrong in it is part of the result."""
    began = time.monotonic()
    result: dict[str, Any] = {}
    try:
        with reporter.step(name):
            result["rows"] = [row.as_dict() for row in section()]
    except NotMeasuredError as reason:
        result["not_measured"] = str(reason)
    except Exception as error:
        reporter.error(f"{name}: {error}")
        reporter.log(traceback.format_exc())
        result["error"] = f"{type(error).__name__}: {error}"
    result["seconds"] = round(time.monotonic() - began, 1)
    return result


def fill_in(document: Path, report: dict[str, Any]) -> None:
    """Put the table between the marks of a Markdown file.

    Raises:
        ValueError: the file has no marks.
    """
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{document}: no lines {_BEGIN.strip()} and {_END.strip()} to put the table between")
    document.write_text(f"{before}{begin}\n{markdown_table(report)}\n{end}{after}", encoding="utf-8")


def main() -> int:
    """Measure, or fill in the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=_SECTIONS, help="measure this section (can be repeated)")
    parser.add_argument("--json", type=Path, default=project_root() / "build" / "bench.json", metavar="FILE")
    parser.add_argument(
        "--markdown", action="store_true", help="fill in the table of docs/bench.md and measure nothing"
    )
    parser.add_argument("--inventory", type=Path, default=project_root() / "inventories" / "demo", metavar="DIR")
    parser.add_argument("--cache", type=Path, default=default_cache(), metavar="DIR")
    options = parser.parse_args()
    if options.markdown:
        fill_in(project_root() / "docs" / "bench.md", json.loads(options.json.read_text(encoding="utf-8")))
        return 0
    report: dict[str, Any] = {"machine": machine_kind("tcg"), "sections": {}}
    if options.only and options.json.exists():
        before = json.loads(options.json.read_text(encoding="utf-8"))
        report["sections"] = before["sections"]
        report["machine"]["load_before"] = max(report["machine"]["load_before"], before["machine"]["load_before"])
    cache = Cache(options.cache)
    reporter = Reporter(cache.logs, verb="bench")
    reporter.log("bench")
    place = Workplace(cache, options.inventory.resolve(), reporter)
    failed = False
    mkosi = Mkosi(place)
    for name, section in _SECTIONS.items():
        if options.only and name not in options.only:
            continue
        report["sections"][name] = measure(name, partial(section, place, mkosi), reporter)
        failed |= "error" in report["sections"][name]
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(text_table(report))
    print(f"JSON: {options.json}\nLog: {reporter.run_log}")
    reporter.close(failed=failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line: parses, calls a verb, prints what went wrong. No logic of its own."""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright import __version__
from edgewright.exits import ExitCode, NeedsNetworkError
from edgewright.paths import Cache, default_cache
from edgewright.redaction import redact
from edgewright.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

DESCRIPTION = "From an Ansible inventory to an offline disk image, and from there to running machines."


@dataclass(frozen=True)
class Verb:
    """What the command line knows of a verb without importing it (which keeps ``--help`` quick)."""

    summary: str
    examples: tuple[tuple[str, str], ...]
    needs_inventory: bool = True


VERBS: dict[str, Verb] = {
    "check": Verb(
        "find every mistake in an inventory",
        (
            ("edgewright check -i inventories/demo", "all errors at once, each with its file, line and remedy"),
            ("edgewright check -i inventories/demo --json", "the same for a script"),
        ),
    ),
    "plan": Verb(
        "show what a build would do; changes nothing",
        (("edgewright plan -i inventories/demo", "stages, what is cached, sizes, what would be downloaded"),),
    ),
    "lock": Verb(
        "pin every artifact and package in site.lock.yml (online)",
        (("edgewright lock -i inventories/demo", "names become digests; commit the file it writes"),),
    ),
    "fetch": Verb(
        "download what the lock pins into the store (online; resumes)",
        (("edgewright fetch -i inventories/demo", "everything a build needs, verified; run it again to resume"),),
    ),
    "artifacts": Verb(
        "carry what a lock pins across an air gap: export, import, verify",
        (
            (
                "edgewright artifacts export /media/stick/shop -i inventories/shop",
                "everything the lock pins, in a folder",
            ),
            ("edgewright artifacts export shop.tar -i inventories/shop", "… or in one archive"),
            ("edgewright artifacts import /media/stick/shop", "into the store of a machine without a network"),
            ("edgewright artifacts verify -i inventories/shop", "read again all that the site needs"),
        ),
        needs_inventory=False,
    ),
    "build": Verb(
        "make the site's disk image (offline once the store is filled)",
        (
            ("edgewright build -i inventories/demo", "the image and its evidence in build/demo/"),
            ("edgewright build -i inventories/demo --output /srv/images", "… or somewhere else"),
            ("edgewright build -i inventories/demo --rebuild", "distrust every cached stage"),
        ),
    ),
    "seed": Verb(
        "make the secret files that no image has, for the media",
        (
            ("edgewright seed -i inventories/demo", "for all hosts: build/demo.seed.tar, for its owner alone"),
            ("edgewright seed -i inventories/demo --host till-01 -o till.tar", "for one host"),
        ),
    ),
    "boot": Verb(
        "boot a built image in QEMU",
        (
            ("edgewright boot -i inventories/demo --no-network", "the built image, as on a site with no network"),
            ("edgewright boot build/demo/demo.raw", "any image, without an inventory"),
        ),
        needs_inventory=False,
    ),
    "flash": Verb(
        "write an image to a USB stick or disk, and verify it",
        (
            ("edgewright flash build/demo/demo.raw /dev/sdX", "shows what it will do and asks"),
            ("edgewright flash build/demo/demo.raw /dev/sdX --yes", "for scripts"),
        ),
        needs_inventory=False,
    ),
    "clean": Verb(
        "remove cached stages, downloads or a site's output",
        (
            ("edgewright clean --dry-run", "what would go, and how big it is"),
            ("edgewright clean --unused-for 3", "finished stages that no build has used for three days"),
            ("edgewright clean -i inventories/demo --all", "stages, store and the site's output"),
        ),
        needs_inventory=False,
    ),
    "demo": Verb(
        "build the demo site, boot it without a network and ask its model a question",
        (("edgewright demo", "the whole way, on one screen"),),
        needs_inventory=False,
    ),
}


class VerbModule(Protocol):
    """The shape of ``edgewright/verbs/<verb>.py``."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's own options."""

    def run(self, options: argparse.Namespace, reporter: Reporter) -> int:
        """Do the work; return the exit code."""


class TerminatedError(BaseException):
    """SIGTERM arrived; unwinds like an interrupt, so that temporary files are removed."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise EdgeError(Problem(where="", what=message, remedy=f"See `{self.prog} --help`."))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (see ``ExitCode``)."""
    words = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _terminate)
    reporter = Reporter(as_json="--json" in words)
    try:
        verb, rest = _split(words)
        if verb is None:
            return _top(rest)
        module = cast("VerbModule", importlib.import_module(f"edgewright.verbs.{verb}"))
        options = verb_parser(verb, module).parse_args(rest)
        options.verb = verb
        reporter = Reporter(_logs(options.cache), verb=verb, as_json=options.json, verbose=options.verbose)
        reporter.log(f"edgewright {__version__} {' '.join(words)}")
        code = module.run(options, reporter)
        reporter.close(failed=code != ExitCode.OK)
    except SystemExit as stop:  # argparse, after --help
        return int(stop.code or 0)
    except BaseException as error:
        return _failed(error, reporter)
    return code


def verb_parser(verb: str, module: VerbModule) -> argparse.ArgumentParser:
    """Return the parser of one verb: its own options and those all verbs share."""
    about = VERBS[verb]
    parser = _Parser(
        prog=f"edgewright {verb}",
        description=module.HELP,
        epilog="examples:\n" + "\n".join(f"  {command}\n      {what}" for command, what in about.examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    common = parser.add_argument_group("options of every verb")
    common.add_argument(
        "-i",
        "--inventory",
        type=Path,
        metavar="DIR",
        required=about.needs_inventory,
        help="the site's inventory folder, such as inventories/demo",
    )
    common.add_argument("--json", action="store_true", help="print the answer (or the errors) as JSON on stdout")
    common.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        default=default_cache(),
        help="downloads and finished stages (default: $EDGEWRIGHT_CACHE or ~/.cache/edgewright)",
    )
    common.add_argument(
        "--vault-password-file",
        type=Path,
        metavar="FILE",
        help="password of the inventory's Ansible vault (default: $ANSIBLE_VAULT_PASSWORD_FILE)",
    )
    common.add_argument("-v", "--verbose", action="store_true", help="show details that otherwise only go to the log")
    return parser


def _top(words: list[str]) -> int:
    width = max(map(len, VERBS))
    parser = _Parser(
        prog="edgewright",
        description=DESCRIPTION,
        usage="edgewright VERB -i INVENTORY [options]",
        epilog="verbs:\n"
        + "\n".join(f"  {name:{width}}  {verb.summary}" for name, verb in VERBS.items())
        + "\n\n`edgewright VERB --help` shows the verb's options and examples."
        + "\nexit codes: 0 done, 1 work failed, 2 bad input, 3 needs the network, 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"edgewright {__version__}")
    parser.parse_args(words)
    parser.print_help()
    return ExitCode.OK if not words else ExitCode.BAD_INPUT


def _split(words: list[str]) -> tuple[str | None, list[str]]:
    """Find the verb; options that every verb knows may stand before it."""
    takes_value = {"-i", "--inventory", "--cache", "--vault-password-file"}
    index = 0
    while index < len(words) and words[index].startswith("-"):
        index += 2 if words[index] in takes_value else 1
    if index >= len(words):
        return None, words
    verb = words[index]
    if verb in VERBS:
        return verb, words[:index] + words[index + 1 :]
    near = difflib.get_close_matches(verb, VERBS, n=1, cutoff=0.5)
    raise EdgeError(
        Problem(
            where="",
            what="unknown verb",
            found=repr(verb),
            expected=f"one of {', '.join(VERBS)}",
            remedy=f"Did you mean `edgewright {near[0]}`?" if near else "See `edgewright --help`.",
        )
    )


def _logs(cache: Path) -> Path | None:
    try:
        if cache.is_dir() and any(cache.iterdir()) and not (cache / "CACHEDIR.TAG").exists():
            return None  # somebody else's folder, given by mistake: put nothing in it before the verb has looked
        return Cache(cache).logs
    except OSError:
        return None  # a verb that only reads works without a log; one that writes says what is wrong with the folder


def _failed(error: BaseException, reporter: Reporter) -> int:
    """Tell the user how the run ended and return its exit code."""
    from edgewright.tools.process import ToolError

    show_log = False
    code: int
    if isinstance(error, EdgeError):
        code = ExitCode.NEEDS_NETWORK if isinstance(error, NeedsNetworkError) else ExitCode.BAD_INPUT
        problems = error.problems
        for problem in problems:
            reporter.error(str(problem))
        if len(problems) > 1:
            reporter.info(f"{len(problems)} problems.")
    elif isinstance(error, KeyboardInterrupt | TerminatedError):
        terminated = isinstance(error, TerminatedError)
        code = ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED
        what = "terminated" if terminated else "interrupted"
        problems = [Problem(where="", what=what, remedy="Nothing half-made is kept; run the same command to go on.")]
        reporter.info(f"{what.capitalize()}. {problems[0].remedy}")
    elif isinstance(error, BrokenPipeError):
        # the reader (`| head`) has gone; keep the interpreter from failing again when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    else:
        code, show_log = ExitCode.FAILED, True
        if isinstance(error, ToolError):
            problems = [Problem(where="", what=str(error), remedy=error.hint)]
            reporter.error(str(error))
        elif isinstance(error, OSError):
            problems = [_problem_of_os_error(error)]
            reporter.error(str(problems[0]))
        else:
            what = f"unexpected {type(error).__name__}: {error}"
            problems = [
                Problem(where="", what=what, remedy="This is a bug in edgewright: please report it with the log.")
            ]
            reporter.error(str(problems[0]))
        reporter.detail("".join(traceback.format_exception(error)))
    data: dict[str, Any] = {"errors": EdgeError(problems).as_list()}
    if show_log and reporter.has_log:
        data["log"] = str(reporter.run_log)
        reporter.info(f"Details: {reporter.run_log}")
    reporter.replace_result(data)
    reporter.close(failed=True)
    return code


def _problem_of_os_error(error: OSError) -> Problem:
    remedy = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "Free some space, run `edgewright clean`, or choose another disk with --cache and --output."
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "Choose a folder that you may write to (--cache, --output), or change its permissions."
    where = str(error.filename) if error.filename else ""
    return Problem(where=where, what=redact(error.strerror or str(error)), remedy=remedy)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise TerminatedError

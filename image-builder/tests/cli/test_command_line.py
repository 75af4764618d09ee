"""The command line itself: help, options, exit codes, interruption, log files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edgewright import __version__
from edgewright.cli import VERBS
from edgewright.paths import project_root

if TYPE_CHECKING:
    from .conftest import Run, Write


def test_help_names_every_verb(edgewright: Run) -> None:
    done = edgewright("--help")
    assert done.returncode == 0
    assert all(f"\n  {verb} " in done.stdout for verb in VERBS)


def test_help_imports_neither_ansible_nor_yaml(environment: dict[str, str]) -> None:
    probe = (
        "import sys; from edgewright.cli import main; main(['--help']);"
        "print([m for m in ('ansible', 'yaml', 'jinja2', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "[]"


def test_check_does_not_import_the_client_that_asks_servers(environment: dict[str, str]) -> None:
    """It would be some seven percent of its processor time."""
    probe = (
        "import sys; from edgewright.cli import main; code = main(['check', '-i', sys.argv[1]]);"
        "print(code, 'httpx' in sys.modules)"
    )
    command = [sys.executable, "-c", probe, str(project_root() / "inventories" / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "0 False"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_examples(edgewright: Run, verb: str) -> None:
    done = edgewright(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: edgewright {verb}" in done.stdout
    assert f"examples:\n  edgewright {verb}" in done.stdout
    assert "--json" in done.stdout


def test_version(edgewright: Run) -> None:
    assert edgewright("--version").stdout == f"edgewright {__version__}\n"


BAD_USE = [
    (
        ["chek"],
        (
            "error: unknown verb; found 'chek'; expected one of check, plan, lock, fetch, artifacts, build, seed,"
            " boot, flash, clean, demo. Did you mean `edgewright check`?"
        ),
    ),
    (
        ["xyzzy"],
        (
            "error: unknown verb; found 'xyzzy'; expected one of check, plan, lock, fetch, artifacts, build, seed,"
            " boot, flash, clean, demo. See `edgewright --help`."
        ),
    ),
    (["check"], "error: the following arguments are required: -i/--inventory. See `edgewright check --help`."),
    (
        ["clean", "-i", "site", "--al"],
        "error: unrecognized arguments: --al. See `edgewright clean --help`.",
    ),
    (["--nonsense"], "error: unrecognized arguments: --nonsense. See `edgewright --help`."),
]


@pytest.mark.parametrize(("words", "text"), BAD_USE)
def test_wrong_use_says_what_to_do(edgewright: Run, words: list[str], text: str) -> None:
    done = edgewright(*words)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (2, "", text)


def test_wrong_use_with_json_is_json(edgewright: Run) -> None:
    done = edgewright("chek", "--json")
    assert done.returncode == 2
    (error,) = json.loads(done.stdout)["errors"]
    assert set(error) == {"where", "what", "found", "expected", "remedy"}
    assert error["remedy"] == "Did you mean `edgewright check`?"


def test_shared_options_may_stand_before_the_verb(edgewright: Run, inventory: Write) -> None:
    done = edgewright("-i", inventory({}), "--json", "clean", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["removed"] == []


def test_the_newest_twenty_logs_are_kept(edgewright: Run, inventory: Write, tmp_path: Path) -> None:
    folder = inventory({})
    assert edgewright("clean", "-i", folder).returncode == 0
    logs = tmp_path / "cache" / "logs"
    (first,) = logs.iterdir()
    for number in range(25):
        (logs / f"20200101T0000{number:02d}.000000-check-1.log").write_text("old\n")
    assert edgewright("clean", "-i", folder).returncode == 0
    kept = sorted(path.name for path in logs.iterdir())
    assert len(kept) == 20
    assert first.name in kept
    assert first.stat().st_mode & 0o777 == 0o600
    assert "clean -i site" in first.read_text()


def test_unwritable_cache_does_not_stop_a_verb_that_only_reads(edgewright: Run, inventory: Write) -> None:
    done = edgewright("clean", "-i", inventory({}), "--cache", "/proc/nothing")
    assert (done.returncode, done.stdout) == (0, "Nothing to delete.\n")


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated")]
)
def test_interruption_is_told_in_one_line(
    environment: dict[str, str], inventory: Write, tmp_path: Path, number: int, code: int, word: str
) -> None:
    fifo = tmp_path / "password"
    os.mkfifo(fifo)  # nobody writes: reading the vault password blocks, as any long work would
    folder = inventory({})
    process = subprocess.Popen(
        [sys.executable, "-m", "edgewright", "check", "-i", str(folder), "--vault-password-file", str(fifo)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    writer = _open_when_read(fifo, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    os.close(writer)
    assert process.returncode == code
    assert out == ""
    assert err.splitlines()[-1] == f"{word}. Nothing half-made is kept; run the same command to go on."
    assert "Traceback" not in err


def _open_when_read(fifo: Path, process: subprocess.Popen[str]) -> int:
    """Wait until the process has the FIFO open for reading (fifo(7): until then a non-blocking writer gets ENXIO)."""
    while True:
        assert process.poll() is None, process.communicate()
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.02)


VERB = """
import sys, types
from pathlib import Path
from edgewright import cli
from edgewright.tools.process import run
def work(options, reporter):
    with reporter.step("Working"):
        {statement}
verb = types.ModuleType("edgewright.verbs.work")
verb.HELP, verb.add_arguments, verb.run = "Test.", lambda parser: None, work
sys.modules[verb.__name__] = verb
cli.VERBS["work"] = cli.Verb("test", (), needs_inventory=False)
sys.exit(cli.main(["work", *sys.argv[1:]]))
"""

FAILURES = {
    "a failing program": (
        "run(['sh', '-c', 'echo one >&2; echo two words >&2; exit 3'])",
        [
            "error: sh failed with exit status 3",
            "  command: sh -c 'echo one >&2; echo two words >&2; exit 3'",
            "  | one",
            "  | two words",
        ],
    ),
    "a missing program": (
        "run(['no-such-program', '--option'])",
        [
            "error: no-such-program is not installed",
            "  command: no-such-program --option",
            "  Install no-such-program.",
        ],
    ),
    "a full disk": (
        "open('/dev/full', 'w').write('x' * 100_000)",
        [
            (
                "error: No space left on device. Free some space, run `edgewright clean`, or choose another disk with"
                " --cache and --output."
            )
        ],
    ),
    "a forbidden place": (
        "open('/proc/version', 'w')" if os.geteuid() else "Path('/proc/new').mkdir()",
        ["error: /proc/"],
    ),
    "a bug": (
        "1 / 0",
        [
            (
                "error: unexpected ZeroDivisionError: division by zero. This is a bug in edgewright: please report it"
                " with the log."
            )
        ],
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_work_that_fails_says_what_and_where_the_log_is(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    statement, expected = FAILURES[name]
    program = [sys.executable, "-c", VERB.format(statement=statement)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    first, *lines = done.stderr.splitlines()
    assert first.startswith("✗ Working (")
    assert lines[-1].startswith(f"Details: {tmp_path}/cache/logs/")
    assert len(lines) == len(expected) + 1
    assert all(line.startswith(text) for line, text in zip(lines, expected, strict=False))
    log = Path(lines[-1].removeprefix("Details: ")).read_text()
    assert "Traceback" in log
    as_json = subprocess.run([*program, "--json"], capture_output=True, text=True, check=False, env=environment)
    answer = json.loads(as_json.stdout)
    assert (as_json.returncode, len(answer["errors"]), Path(answer["log"]).is_file()) == (1, 1, True)


def test_a_need_for_the_network_has_its_own_exit_code(environment: dict[str, str]) -> None:
    statement = (
        "from edgewright.exits import NeedsNetworkError;"
        "from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problem;"
        "raise NeedsNetworkError(Problem('', 'not fetched', remedy='Run `edgewright fetch`.'))"
    )
    program = [sys.executable, "-c", VERB.format(statement=statement)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, "error: not fetched. Run `edgewright fetch`.")


def test_a_reader_that_goes_away_is_no_error_worth_a_traceback(environment: dict[str, str]) -> None:
    statement = "[reporter.answer('x' * 1000) for _ in range(10_000)]"
    program = [sys.executable, "-c", VERB.format(statement=statement)]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert "Traceback" not in said
        assert "BrokenPipe" not in said

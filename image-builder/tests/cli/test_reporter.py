"""What a person sees, what a script gets, what the log keeps."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from edgewright import redaction
from edgewright.reporter import Reporter, amount, duration

if TYPE_CHECKING:
    from pathlib import Path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def visible(text: str) -> list[str]:
    """What is left on a terminal's screen: a carriage return followed by "erase line" wipes the line."""
    return [line.rpartition("\x1b[K")[2] for line in text.removesuffix("\n").split("\n")]


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_secrets", set())
    monkeypatch.setattr(redaction, "_pattern", None)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


def times_removed(lines: list[str]) -> list[str]:
    return [line.rpartition(" (")[0] if line.endswith(" s)") else line for line in lines]


def test_steps_nest_and_show_their_time() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream=stream)
    with reporter.step("outer"):
        with reporter.step("first"):
            pass
        reporter.info("a note")
        with reporter.step("second"), reporter.step("deep"):
            pass
    reporter.close()
    assert times_removed(stream.getvalue().splitlines()) == [
        "▸ outer",
        "  ✓ first",
        "  a note",
        "  ▸ second",
        "    ✓ deep",
        "  ✓ second",
        "✓ outer",
    ]


def test_a_failing_step_is_marked_and_the_error_goes_on() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream=stream)
    with pytest.raises(ValueError, match="boom"), reporter.step("work"):
        raise ValueError("boom")
    assert stream.getvalue().startswith("✗ work (")


def test_a_terminal_shows_the_running_step_on_one_rewritten_line() -> None:
    stream = Terminal()
    reporter = Reporter(stream=stream)
    with reporter.step("download"):
        reporter.progress("a.deb", 10, 100)
        assert "… download (" in visible(stream.getvalue())[-1]
    reporter.close()
    assert times_removed(visible(stream.getvalue())) == ["✓ download"]


def test_colour_only_on_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    outputs = []
    for stream in (Terminal(), io.StringIO()):
        Reporter(stream=stream).error("x")
        outputs.append(stream.getvalue())
    assert outputs == ["\x1b[31merror: \x1b[0mx\n", "error: x\n"]


def test_a_real_terminal_gets_a_ticking_status_line() -> None:
    """In a pseudo terminal, a step that lasts a second shows its time before it ends."""
    program = (
        "import time\nfrom edgewright.reporter import Reporter\n"
        "r = Reporter()\nwith r.step('slow'):\n    time.sleep(0.9)\nr.close()\n"
    )
    leader, follower = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", program], stderr=follower, env={**os.environ, "TERM": "xterm"})
    os.close(follower)
    said = b""
    try:
        while chunk := os.read(leader, 1000):
            said += chunk
    except OSError:  # EIO: the other side is closed
        pass
    os.close(leader)
    assert process.wait() == 0
    assert said.count(b"\r\x1b[K") > 3
    assert "… slow (0.6 s)" in said.decode() or "… slow (0.8 s)" in said.decode() or "… slow (0.7 s)" in said.decode()
    assert visible(said.decode())[-1].startswith("✓ slow (0.9 s)") or visible(said.decode())[-1].startswith(
        "✓ slow (1."
    )


def test_progress_tells_rate_and_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("edgewright.reporter.time.monotonic", lambda: now[0])
    stream = Terminal()
    reporter = Reporter(stream=stream)
    reporter.progress("image", 0, 100 * 2**20)
    now[0] += 4
    reporter.progress("image", 20 * 2**20, 100 * 2**20)
    with reporter.step("write"):
        shown = visible(stream.getvalue())[-1]
    assert "image 20.0 MiB of 100.0 MiB (20%), 5.0 MiB/s, 16.0 s left" in shown


def test_answers_go_to_stdout_as_text_or_as_json_never_both() -> None:
    outputs = []
    for as_json in (False, True):
        output = io.StringIO()
        reporter = Reporter(as_json=as_json, stream=io.StringIO(), output=output)
        reporter.answer("three nodes")
        reporter.result({"nodes": 3})
        reporter.close()
        reporter.close()
        outputs.append(output.getvalue())
    assert outputs[0] == "three nodes\n"
    assert json.loads(outputs[1]) == {"nodes": 3}


def test_the_log_has_what_the_screen_has_not(tmp_path: Path) -> None:
    stream = io.StringIO()
    reporter = Reporter(tmp_path / "logs", verb="build", stream=stream)
    with reporter.step("work"):
        reporter.detail("line 1\nline 2")
    reporter.close()
    text = reporter.run_log.read_text()
    assert "line 1" not in stream.getvalue()
    assert [line.split(" ", 1)[1] for line in text.splitlines()][:3] == ["begin work", "line 1", "line 2"]
    assert "-build-" in reporter.run_log.name


def test_secrets_are_blanked_everywhere(tmp_path: Path) -> None:
    redaction.hide(['pass"word\nsecond line', "42"])
    stream, output = io.StringIO(), io.StringIO()
    reporter = Reporter(tmp_path, stream=stream, output=output, as_json=True)
    with reporter.step("using second line"):
        reporter.info('it is pass"word')
        reporter.detail("json: " + json.dumps('pass"word'))
        reporter.progress("second line", 1, 2)
    reporter.error(f"bad value {'pass' + chr(34) + 'word'!r}; 42 but not 1422")
    reporter.result({"second line": ['a pass"word', 42, 1422]})
    reporter.close()
    everything = stream.getvalue() + output.getvalue() + reporter.run_log.read_text()
    assert "word" not in everything
    assert "second line" not in everything
    assert "(secret) but not 1422" in stream.getvalue()
    assert json.loads(output.getvalue()) == {"(secret)": ["a (secret)", "(secret)", 1422]}


def test_many_threads_write_whole_lines() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream=stream)

    def work(number: int) -> None:
        for turn in range(20):
            with reporter.step(f"job {number}.{turn}"):
                reporter.progress(f"job {number}", turn, 20)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reporter.close()
    lines = times_removed(stream.getvalue().splitlines())
    assert sorted(lines) == sorted(f"✓ job {number}.{turn}" for number in range(8) for turn in range(20))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "B", "0 B"),
        (1023, "B", "1023 B"),
        (1536, "B", "1.5 KiB"),
        (2**40 * 5000, "B", "5000.0 TiB"),
        (3, "files", "3 files"),
    ],
)
def test_amounts(value: int, unit: str, text: str) -> None:
    assert amount(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.99, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text

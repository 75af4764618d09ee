"""Tells a person what is going on (stderr), gives a script its answer (stdout) and keeps the details (a log file)."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edgewright.redaction import redact, redact_data

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT_LOGS = 20
_TICK = 0.2  # seconds between two refreshes of the status line of a terminal
_QUIET = 10.0  # seconds without a line after which a file or pipe gets a sign of life
_UNITS = ("", "Ki", "Mi", "Gi", "Ti")


@dataclass
class _Step:
    title: str
    depth: int
    started: float
    announced: bool = False


@dataclass
class _Progress:
    label: str
    unit: str
    started: float
    first: float
    done: float
    total: float | None


@dataclass
class _State(threading.local):
    steps: list[_Step] = field(default_factory=list)


class Reporter:
    """One run's voice: steps with times, progress, notes, the verb's answer, and a log file of everything.

    Safe to use from several threads; steps nest per thread. On a terminal the current step and progress share one line
    that is rewritten; in a file or pipe only finished lines appear, and a sign of life every ten seconds.

    Args:
        log_dir: folder of the log files; the newest twenty are kept. ``None``: no log file.
        verb: names the log file.
        as_json: print ``result`` as JSON on stdout, and no text answers.
        verbose: show details, not only log them.
        stream: where people read, ``sys.stderr`` if not given.
        output: where scripts read, ``sys.stdout`` if not given.
    """

    def __init__(
        self,
        log_dir: Path | None = None,
        *,
        verb: str = "run",
        as_json: bool = False,
        verbose: bool = False,
        stream: TextIO | None = None,
        output: TextIO | None = None,
    ) -> None:
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%S.%f}-{verb}-{os.getpid()}.log"
        self.run_log = log_dir / name if log_dir else Path(os.devnull)
        self.as_json = as_json
        self.verbose = verbose
        self._stream = stream or sys.stderr
        self._output = output or sys.stdout
        self._terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._terminal and not os.environ.get("NO_COLOR")
        self._lock = threading.RLock()
        self._local = _State()
        self._active: list[_Step] = []
        self._progress: _Progress | None = None
        self._result: dict[str, Any] | None = None
        self._log: TextIO | None = None
        self._log_wanted = log_dir is not None
        self._status_shown = False
        self._last_line = time.monotonic()
        self._ticker: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Time a piece of work: a tick and the time when it ends, a cross when it raises."""
        title = redact(title)
        step = _Step(title, len(self._local.steps), time.monotonic())
        with self._lock:
            self._announce_parents()
            self._local.steps.append(step)
            self._active.append(step)
            self._write_log(f"begin {title}")
            self._start_ticker()
            self._show_status()
        try:
            yield
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            self._end(step, "-" if interrupted else "✗", "33" if interrupted else "31")
            raise
        self._end(step, "✓", "32")

    def info(self, text: str) -> None:
        """Tell the person something worth a line."""
        with self._lock:
            self._announce_parents()
            self._line("  " * len(self._local.steps) + text)

    def warning(self, text: str) -> None:
        """Tell the person something that does not stop the work but wants attention."""
        with self._lock:
            self._announce_parents()
            self._line("  " * len(self._local.steps) + self._paint("warning: ", "33") + text, f"warning: {text}")

    def error(self, text: str) -> None:
        """Tell the person what went wrong."""
        with self._lock:
            self._line(self._paint("error: ", "31") + text, f"error: {text}")

    def log(self, text: str) -> None:
        """Keep a line in the log file only."""
        with self._lock:
            self._write_log(text)

    def detail(self, text: str) -> None:
        """Keep a detail in the log file (and show it with ``-v``)."""
        with self._lock:
            if self.verbose:
                self._announce_parents()
                self._line("  " * len(self._local.steps) + text)
            else:
                self._write_log(text)

    def progress(self, label: str, done: float, total: float | None, unit: str = "B") -> None:
        """Say how far something is.

        Args:
            label: what is going on; the same label continues, another one starts anew.
            done: how much is done, in ``unit``.
            total: how much there is, or ``None`` if nobody knows.
            unit: ``B`` for bytes (shown with binary prefixes), or a word for things that are counted.
        """
        with self._lock:
            now = time.monotonic()
            current = self._progress
            if current is None or current.label != label or done < current.done:
                current = self._progress = _Progress(redact(label), unit, now, done, done, total)
            current.done, current.total = done, total
            self._start_ticker()
            if total is not None and done >= total:
                self._write_log(self._progress_text(current))
                self._progress = None

    def answer(self, text: str) -> None:
        """Print the verb's answer for people on stdout; with ``--json`` the data of ``result`` is the answer."""
        with self._lock:
            self._clear_status()
            for line in redact(text).splitlines():
                self._write_log(line)
            if not self.as_json:
                print(redact(text), file=self._output, flush=True)

    def result(self, data: dict[str, Any]) -> None:
        """Give the verb's answer as plain data: printed as JSON on stdout when the run ends, with ``--json`` only."""
        with self._lock:
            self._result = {**(self._result or {}), **data}

    def close(self, *, failed: bool = False) -> None:
        """Print the result, end the log and forget older logs. Calling it again does nothing."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            self._clear_status()
            if self.as_json and (self._result is not None or not failed):
                print(json.dumps(redact_data(self._result or {}), indent=2, default=str), file=self._output, flush=True)
            if self._log:
                self._log.close()
                self._log = None
                logs = sorted(self.run_log.parent.glob("*.log"))
                for old in logs[:-KEPT_LOGS]:
                    old.unlink(missing_ok=True)
        if self._ticker:
            self._ticker.join(timeout=1)

    def replace_result(self, data: dict[str, Any]) -> None:
        """Discard what was answered so far and answer this instead (the errors of a run that failed)."""
        with self._lock:
            self._result = data

    @property
    def has_log(self) -> bool:
        """Whether something was written to ``run_log``."""
        return self._log_wanted and self.run_log.exists()

    def _announce_parents(self) -> None:
        for step in self._local.steps:
            if not step.announced:
                step.announced = True
                self._line("  " * step.depth + self._paint("▸ ", "36") + step.title, log=False)

    def _end(self, step: _Step, mark: str, colour: str) -> None:
        with self._lock:
            self._local.steps.remove(step)
            self._active.remove(step)
            self._progress = None
            took = duration(time.monotonic() - step.started)
            self._line(
                f"{'  ' * step.depth}{self._paint(mark, colour)} {step.title} ({took})", f"{mark} {step.title} ({took})"
            )

    def _line(self, text: str, logged: str | None = None, *, log: bool = True) -> None:
        self._clear_status()
        if log:
            self._write_log(logged if logged is not None else text.strip())
        print(redact(text), file=self._stream, flush=True)
        self._last_line = time.monotonic()
        self._show_status()

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text

    def _write_log(self, text: str) -> None:
        if not self._log_wanted or self._closed.is_set():
            return
        if self._log is None:
            try:
                self.run_log.parent.mkdir(parents=True, exist_ok=True)
                self._log = os.fdopen(os.open(self.run_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a")
            except OSError:
                self._log_wanted = False  # a read-only home must not stop a check
                self.run_log = Path(os.devnull)
                return
        stamp = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
        try:
            self._log.write("".join(f"{stamp} {line}\n" for line in redact(text).splitlines() or [""]))
            self._log.flush()
        except OSError:
            self._log_wanted = False  # a full disk is reported by the work itself, not by its log

    def _start_ticker(self) -> None:
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="reporter", daemon=True)
            self._ticker.start()

    def _tick(self) -> None:
        while not self._closed.wait(_TICK):
            with self._lock:
                if self._closed.is_set():
                    return
                if self._terminal:
                    self._show_status()
                elif time.monotonic() - self._last_line >= _QUIET and (text := self._status_text()):
                    self._line(f"… {text}")

    def _status_text(self) -> str:
        now = time.monotonic()
        parts = [f"{self._active[-1].title} ({duration(now - self._active[-1].started)})"] if self._active else []
        if self._progress:
            parts.append(self._progress_text(self._progress))
        return " · ".join(parts)

    def _show_status(self) -> None:
        if not self._terminal or self._closed.is_set() or not (text := self._status_text()):
            return
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[K{('… ' + text)[:width]}")
        self._stream.flush()
        self._status_shown = True

    def _clear_status(self) -> None:
        if self._status_shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._status_shown = False

    @staticmethod
    def _progress_text(progress: _Progress) -> str:
        elapsed = time.monotonic() - progress.started
        rate = (progress.done - progress.first) / elapsed if elapsed > 0 else 0.0
        text = f"{progress.label} {amount(progress.done, progress.unit)}"
        if progress.total:
            text += f" of {amount(progress.total, progress.unit)} ({progress.done / progress.total:.0%})"
        if elapsed >= 1 and rate > 0:
            text += f", {amount(rate, progress.unit)}/s"
            if progress.total and progress.done < progress.total:
                text += f", {duration((progress.total - progress.done) / rate)} left"
        return text


def amount(value: float, unit: str = "B") -> str:
    """Write a quantity: bytes with binary prefixes (``1.5 GiB``), anything else as a number and its unit."""
    if unit != "B":
        return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
    scaled = float(value)
    for prefix in _UNITS:
        if abs(scaled) < 1024 or prefix == _UNITS[-1]:
            break
        scaled /= 1024
    return f"{scaled:.0f} B" if not prefix else f"{scaled:.1f} {prefix}B"


def duration(seconds: float) -> str:
    """Write a time span: ``1.2 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"

"""Whether k3s on a node runs with what is on its disk, and what its log says when it does not start."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RUNNING: Final = frozenset({"active", "activating", "reloading"})
# Join tokens: K10<hash>::<user>:<password>.
_TOKEN: Final = re.compile(r"K10[0-9a-f]{64}::\S+")
_MESSAGE: Final = re.compile(r'level=(?P<level>\w+) msg="(?P<message>(?:[^"\\]|\\.)*)"')
_HINTS: Final = (
    (
        "Node password rejected",
        "The cluster knows another machine of this name: set k3s__replace_node to let this one in.",
    ),
    ("encrypted with different token", "Give the token that the cluster was made with in k3s__token."),
    ("token CA hash does not match", "The token is another cluster's: give this cluster's in k3s__token."),
    ("Unauthorized", "Give the token of the cluster in k3s__token."),
    (
        "critical configuration value mismatch",
        "All servers need the same cluster-wide options: compare their k3s__config.",
    ),
    ("no default routes found", "Give the node a default route, or its fixed address in edge_network."),
)


@dataclass(frozen=True)
class Unit:
    """What systemd says of a unit (systemctl show).

    Attributes:
        active: ActiveState.
        started: ExecMainStartTimestamp in seconds since 1970; 0 if it never started.
        restarts: NRestarts.
        result: Result.
        needs_reload: NeedDaemonReload.
    """

    active: str
    started: float
    restarts: int
    result: str
    needs_reload: bool

    @property
    def runs(self) -> bool:
        """Whether there is a process, or one is on its way."""
        return self.active in _RUNNING


def read_unit(shown: str) -> Unit:
    """Read ``systemctl show --timestamp=unix``'s lines ``Name=value``; what is missing counts as empty."""
    pairs = dict(line.partition("=")[::2] for line in shown.splitlines())
    return Unit(
        active=pairs.get("ActiveState", ""),
        started=float(pairs.get("ExecMainStartTimestamp", "").lstrip("@") or 0),
        restarts=int(pairs.get("NRestarts") or 0),
        result=pairs.get("Result", ""),
        needs_reload=pairs.get("NeedDaemonReload") == "yes",
    )


def differences(noted: Mapping[str, Any] | None, present: Mapping[str, Any]) -> list[str]:
    """Return what k3s runs without: paths of files that changed, came or went since it was started, sorted.

    Args:
        noted: what was noted when it was started (``program`` and ``files``); None where nothing was.
        present: the same of now.
    """
    if noted is None:
        return ["nothing is known of its last start"]
    before, now = dict(noted.get("files", {})), dict(present.get("files", {}))
    changed = [path for path in {*before, *now} if before.get(path) != now.get(path)]
    if noted.get("program") != present.get("program"):
        changed.append(str(present.get("program")))
    return sorted(changed)


def failure(log: Sequence[str], *, lines: int = 3) -> str:
    """Return why k3s does not start: the last errors of its log, each once, without tokens, and what to do if known.

    Args:
        log: what k3s (logrus, text format) and the programs that look at the node before it have written.
        lines: how many errors are told.
    """
    found: list[str] = []
    for line in log:
        text = _TOKEN.sub("K10…", _error(line))
        if text in found:
            found.remove(text)
        if text:
            found.append(text)
    said = "; ".join(found[-lines:]) or "its log says nothing"
    return next((f"{said}. {hint}" for pattern, hint in _HINTS if pattern in said), said)


def _error(line: str) -> str:
    """Return what a line of the log says if it is an error, else an empty string."""
    matched = _MESSAGE.search(line)
    if matched is None:
        # A kernel without modules has everything built in, or k3s itself says what is missing.
        return "" if line.startswith("modprobe:") else line.strip()
    message = matched["message"].replace('\\"', '"')
    told = matched["level"] in ("error", "fatal", "panic") or message.startswith("critical configuration mismatched")
    return message if told else ""

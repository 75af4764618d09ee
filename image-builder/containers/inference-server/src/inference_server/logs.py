"""One line an event, as ``key=value`` pairs, on standard error."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@%+\-\[\]]+")
_logger = logging.getLogger("inference_server")


def configure(level: str) -> None:
    """Send this server's events and uvicorn's messages to standard error, from ``level`` up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _logger.setLevel(level.upper())


def event(name: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Write one event. Values are quoted where they need it, so nothing in them can start a second line."""
    if _logger.isEnabledFor(level):
        pairs = [f"event={name}", *(f"{key}={quote(value)}" for key, value in fields.items())]
        _logger.log(level, "%s", " ".join(pairs))


def quote(value: Any) -> str:
    """Return a value that stands for itself, or as a JSON string."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.name != _logger.name:
            message = f"event={record.name} message={quote(message)}"
        if record.exc_info and record.exc_info[1] is not None:
            message += f" exception={quote(repr(record.exc_info[1]))}"
        return f"level={record.levelname.lower()} {message}"

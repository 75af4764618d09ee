"""What a client is told when a request cannot be answered, and how the server counts it."""

from __future__ import annotations

from typing import Any, Final

import orjson

#: Every value of the ``kind`` label of ``inference_server_errors_total``; a closed set keeps the metric bounded.
KINDS: Final = (
    "body_timeout",
    "body_too_large",
    "bad_transfer",
    "forbidden",
    "inference_timeout",
    "internal",
    "invalid_json",
    "invalid_request",
    "load_failed",
    "method_not_allowed",
    "model_not_ready",
    "model_refused_input",
    "out_of_memory",
    "queue_full",
    "repository_unreadable",
    "stopping",
    "unknown_model",
    "unknown_path",
    "unsupported_encoding",
)
_SHOWN_CHARACTERS = 80


class RequestError(Exception):
    """A request that gets an error answer: an HTTP status, a kind from `KINDS` and one sentence for the client."""

    def __init__(
        self, message: str, *, status: int = 400, kind: str = "invalid_request", retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.retry_after = retry_after


def mismatch(where: str, found: str, expected: str) -> RequestError:
    """Return the 400 that names the field, what stands there and what should stand there."""
    return RequestError(f"{where}: found {found}; expected {expected}")


def show(value: Any) -> str:
    """Return a JSON value as a short text that is safe to put into an error message or a log line."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list) and len(value) > 16:
        return f"an array of {len(value)}"
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        value = value[:_SHOWN_CHARACTERS] + "…"
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        text = repr(value)
    return text if len(text) <= 2 * _SHOWN_CHARACTERS else text[: 2 * _SHOWN_CHARACTERS] + "…"

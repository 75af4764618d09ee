"""When to ask a server again, and how long to wait before."""

from __future__ import annotations

import email.utils
import random
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

# RFC 9110, 15.5.9 and RFC 6585, 4; every 5xx but 501 may pass.
_TRY_AGAIN = {408, 425, 429}


@dataclass(frozen=True)
class Patience:
    """How long to keep trying; times in seconds.

    Attributes:
        attempts: tries in a row that bring not one byte, before a server is given up.
        backoff: wait after the first failure; it doubles each time.
        longest: longest wait, also when a server asks for more.
        connect_timeout: to get a connection.
        read_timeout: between two pieces of an answer.
    """

    attempts: int = 5
    backoff: float = 0.5
    longest: float = 60
    connect_timeout: float = 10
    read_timeout: float = 30


class Permanent(Exception):  # noqa: N818 - a reason, not an error by itself: another mirror may do
    """The server does not have the file, and says so."""


class Transient(Exception):  # noqa: N818 - as above
    """The server or the network failed; it may work later."""


def classify(error: httpx.HTTPError, host: str) -> Permanent | Transient:
    """Say whether asking again can help, in words for the user."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        text = f"{host} answers {status} {error.response.reason_phrase}".rstrip()
        if status in _TRY_AGAIN or (status >= 500 and status != 501):
            return Transient(text)
        if status == 416:  # what we have is longer than what they have
            return Transient(text)
        return Permanent(text)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.TooManyRedirects):
        return Permanent(f"{host}: {error}")
    if isinstance(error, httpx.TimeoutException):
        return Transient(f"{host} does not answer in time")
    return Transient(f"{host}: {error or type(error).__name__}")


def ask_again_after(error: httpx.HTTPError, failed: int, patience: Patience) -> float:
    """Return the seconds to wait after ``failed`` failures: what the server asks for, else ever longer."""
    asked = _retry_after(error.response) if isinstance(error, httpx.HTTPStatusError) else None
    if asked is not None:
        return min(asked, patience.longest)
    # Spread, so that parallel downloads do not all come back at once.
    return float(min(patience.backoff * 2 ** (failed - 1) * random.uniform(0.75, 1.25), patience.longest))  # noqa: S311 - no secret


def _retry_after(response: httpx.Response) -> float | None:
    """Read Retry-After (RFC 9110, 10.2.3): seconds or a date."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(UTC)).total_seconds()) if when.tzinfo else None

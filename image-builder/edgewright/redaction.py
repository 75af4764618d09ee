"""Secrets that must never be shown: what is registered here is blanked in everything the program prints or logs.

A last line of defence, as in CI systems that mask their secrets: whoever forgets to leave a secret out of a message
does not leak it. The inventory's vault values are registered as soon as they are decrypted.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "(secret)"
_SHORT = 4  # a shorter secret is masked as a whole word only: blanking every "1" would make messages useless

_secrets: set[str] = set()
_pattern: re.Pattern[str] | None = None


def hide(secrets: Iterable[str]) -> None:
    """Blank these strings from now on, also in the form that JSON and ``repr`` give them."""
    global _pattern  # noqa: PLW0603 - one process has one set of secrets
    for secret in secrets:
        lines = [secret, *secret.splitlines()]
        for text in (line.strip() for line in lines):
            if text:
                _secrets.update((text, json.dumps(text)[1:-1], repr(text)[1:-1]))
    if _secrets:
        ordered = sorted(_secrets, key=lambda text: (-len(text), text))
        _pattern = re.compile("|".join(_expression(text) for text in ordered))


def redact(text: str) -> str:
    """Return the text with every registered secret replaced by ``(secret)``."""
    return _pattern.sub(MASK, text) if _pattern else text


def redact_data(value: Any) -> Any:
    """Return plain data (mappings, lists, scalars) with every registered secret replaced, in keys too."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact_data(key): redact_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_data(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in _secrets:
        return MASK
    return value


def _expression(text: str) -> str:
    escaped = re.escape(text)
    return escaped if len(text) >= _SHORT else rf"(?<!\w){escaped}(?!\w)"

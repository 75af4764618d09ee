"""Join tokens (pkg/clientaccess/token.go): ``K10<hash of the authority>::<user>:<password>``, or the password alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LONG = re.compile(r"K10(?P<hash>[0-9a-f]{64})::(?P<user>[^:]+):(?P<password>.+)")


class TokenError(Exception):
    """A token that is none, or that another cluster's authority stands behind."""


@dataclass(frozen=True)
class Token:
    """A token taken apart; the short form has no hash."""

    password: str
    user: str = ""
    authority: str = ""

    @classmethod
    def parse(cls, text: str) -> Token:
        """Read a token; raises TokenError."""
        text = text.strip()
        if not text:
            raise TokenError("token must not be empty")
        if not text.startswith("K10"):
            return cls(text)
        found = _LONG.fullmatch(text)
        if not found:
            raise TokenError("invalid token format")
        return cls(found["password"], found["user"], found["hash"])

    def check(self, authority: str) -> None:
        """Raise TokenError when the token was made for another cluster."""
        if self.authority and self.authority != authority:
            raise TokenError(
                f"token CA hash does not match the Cluster CA certificate hash: {self.authority} != {authority}"
            )


def long(authority: str, user: str, password: str) -> str:
    """Return the long form, as files of a server have it."""
    return f"K10{authority}::{user}:{password}"

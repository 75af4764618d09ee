"""Tokens of a k3s cluster: the secret alone, or with the authority's hash before it (k3s ``pkg/clientaccess``)."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from typing import Final, Literal

from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError

MAKE_ONE: Final = "Make one with 'openssl rand -hex 32'."
_FULL: Final = re.compile(r"K10(?P<authority>[0-9a-f]{64})::(?P<user>[^:]+):(?P<password>.+)")
_PASSWORD: Final = re.compile(r"[A-Za-z0-9._:-]{16,}")
# kubeadm's form: k3s takes it for a bootstrap token, which must exist in the cluster.
_BOOTSTRAP: Final = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")


@dataclass(frozen=True)
class Token:
    """One token.

    Attributes:
        password: its secret part.
        authority: SHA-256 of the cluster's authority, in hexadecimal; empty in the short form.
        user: ``server`` or ``node``; empty in the short form.
    """

    password: str = field(repr=False)
    authority: str = ""
    user: str = ""

    @property
    def kind(self) -> Literal["short", "full"]:
        """Its form."""
        return "full" if self.authority else "short"

    def is_like(self, other: Token) -> bool:
        """Tell whether both stand for the same cluster, as far as they say."""
        same = hmac.compare_digest(self.password.encode(), other.password.encode())
        return same and (not self.authority or not other.authority or self.authority == other.authority)


def read_token(text: str) -> Token:
    """Read a token of either form; white space around it is not part of it.

    The secret part has the characters that need no quotes anywhere, and is too long to be guessed.

    Raises:
        UnfitError: it is none; it is never shown.
    """
    token = text.strip()
    if token.startswith("K10"):
        found = _FULL.fullmatch(token)
        if found is None:
            raise UnfitError(
                "begins like a full token and is none", expected="K10<64 hexadecimal digits>::<user>:<secret>"
            )
        return Token(found["password"], found["authority"], found["user"])
    if _BOOTSTRAP.fullmatch(token):
        raise UnfitError(
            "has the form of a bootstrap token, which k3s looks for in the cluster",
            expected="a secret of the cluster's own",
            remedy=MAKE_ONE,
        )
    if _PASSWORD.fullmatch(token) is None:
        raise UnfitError(
            "is not a token", expected="at least 16 of A-Z, a-z, 0-9, '.', '_', ':' and '-'", remedy=MAKE_ONE
        )
    return Token(token)

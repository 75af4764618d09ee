"""SSH public keys of operators, as a line of ``authorized_keys`` without options (sshd(8))."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError, text

_TYPES: Final = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
_LENGTH_BYTES: Final = 4
# The type and at least one number of the key.
_LEAST_PARTS: Final = 2


def ssh_public_key(value: object) -> str:
    """Accept ``<type> <base64> [comment]``.

    Raises:
        UnfitError: another type, or a body that is not a key of that type. A private key is never shown.
    """
    expected = "the content of a .pub file: <type> <base64> [comment]"
    if isinstance(value, str) and "PRIVATE KEY" in value:
        raise UnfitError(
            "is a private key",
            expected=expected,
            remedy="Take it out of the inventory and replace the key.",
            secret=True,
        )
    key = text(value).strip()
    kind, _, rest = key.partition(" ")
    if kind not in _TYPES:
        raise UnfitError("is not an SSH public key", expected=f"{expected}, with type {', '.join(_TYPES)}")
    try:
        parts = _parts(base64.b64decode(rest.split(" ")[0], validate=True))
    except (binascii.Error, struct.error, ValueError):
        raise UnfitError("is cut off or damaged", expected=expected) from None
    if len(parts) < _LEAST_PARTS or parts[0] != kind.encode():
        raise UnfitError("is cut off or damaged", expected=expected)
    return key


def _parts(body: bytes) -> list[bytes]:
    """Split a key's body into its strings, each after its length (RFC 4251, section 5)."""
    parts = []
    while body:
        (length,) = struct.unpack_from(">I", body)
        rest = body[_LENGTH_BYTES:]
        if length > len(rest):
            message = "a part is cut off"
            raise ValueError(message)
        parts.append(rest[:length])
        body = rest[length:]
    return parts

"""Names and addresses that other programs are strict about: labels, MAC addresses, UUIDs."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError, text

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_MAC: Final = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)

NAMESPACE: Final = uuid.UUID("5d1f1f0e-6a0e-5f0c-9d0b-0e2f7d1c4a58")
"""Root of the UUIDs this project derives; never change it: derived machine UUIDs are seen by guests' licences."""


def label(value: object) -> str:
    """Accept an RFC 1123 label: 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends.

    Raises:
        UnfitError: it is not.
    """
    name = text(value)
    if _LABEL.fullmatch(name) is None:
        proper = re.sub(r"[^a-z0-9]+", "-", name.lower())[:63].strip("-")
        raise UnfitError(
            "is not an RFC 1123 label",
            expected="1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends",
            remedy=f"Use '{proper}'." if proper else "",
        )
    return str(name)


def mac(value: object) -> str:
    """Accept the MAC address of one interface; return it in lower case with colons.

    Raises:
        UnfitError: not a MAC address, a group address, or all zeros. An unquoted address without letters arrives as a
            number, because YAML 1.1 reads ``52:54:00:12:34:56`` in base 60.
    """
    expected = 'six pairs of hexadecimal digits, as "52:54:00:12:34:56"'
    if isinstance(value, int) and not isinstance(value, bool):
        raise UnfitError("must be a string", expected=expected, remedy="Put it in quotes: YAML reads it as a number.")
    address = text(value).lower().replace("-", ":")
    if _MAC.fullmatch(address) is None:
        raise UnfitError("is not a MAC address", expected=expected)
    if int(address[:2], 16) & 1:
        raise UnfitError("is a group address", expected="the address of one interface: an even second digit")
    if address == "00:00:00:00:00:00":
        raise UnfitError("is the empty MAC address", expected=expected)
    return address


def uuid_text(value: object) -> str:
    """Accept a UUID; return it in the canonical lower-case form.

    Raises:
        UnfitError: not a UUID, or the nil UUID.
    """
    expected = "a UUID as 123e4567-e89b-12d3-a456-426614174000"
    written = text(value)
    if re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", written) is None:
        raise UnfitError("is not a UUID", expected=expected)
    number = uuid.UUID(written)
    if not number.int:
        raise UnfitError("is the nil UUID", expected=expected)
    return str(number)


def derived_uuid(*parts: str) -> str:
    """Return the UUID (version 5) that these parts always have."""
    return str(uuid.uuid5(NAMESPACE, "/".join(parts)))


def derived_mac(*parts: str) -> str:
    """Return the MAC address that these parts always have, under QEMU's locally used prefix 52:54:00."""
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()
    return ":".join(("52", "54", "00", digest[0:2], digest[2:4], digest[4:6]))

"""How a blank machine recognises which inventory host it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, UnfitError, text
from ansible_collections.edgewright.edge.plugins.module_utils.names import mac, uuid_text

# What firmware says when nobody wrote a serial number into it: the same on thousands of machines.
_EMPTY_SERIALS: Final = re.compile(
    r"to be filled by o\.?e\.?m\.?|default string|system serial number|not specified|not applicable|none|n/?a|unknown|"
    r"invalid|oem|x{3,}|0+|1234567890?|0123456789|-+",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class NodeIdentity:
    """What a machine has that its inventory host claims: MAC addresses, DMI serial numbers, DMI UUIDs (lower case)."""

    macs: tuple[str, ...] = ()
    serials: tuple[str, ...] = ()
    uuids: tuple[str, ...] = ()

    @classmethod
    def from_inventory(cls, data: object, *, where: str) -> NodeIdentity:
        """Read ``edge_node``.

        Raises:
            EdgeError: everything that is wrong in it, with paths below ``where``.
        """
        fields = Fields(data, where=where, known=("mac", "dmi_serial", "dmi_uuid"))
        macs = fields.read_list("mac", mac)
        serials = fields.read_list("dmi_serial", _serial)
        uuids = fields.read_list("dmi_uuid", _uuid)
        for values in (macs, serials, uuids):
            fields.no_duplicates(values, "the value")
        fields.raise_if_any()
        return cls(*(tuple(value for _, value in values) for values in (macs, serials, uuids)))

    def claims(self) -> list[tuple[str, str, str]]:
        """Return (key path, kind, value) of everything claimed; kinds are ``mac``, ``serial`` and ``uuid``."""
        groups = (("mac", "mac", self.macs), ("dmi_serial", "serial", self.serials), ("dmi_uuid", "uuid", self.uuids))
        return [
            (f"{key}[{number}]", kind, value) for key, kind, values in groups for number, value in enumerate(values)
        ]


def _serial(value: object) -> str:
    serial = text(value).strip()
    if _EMPTY_SERIALS.fullmatch(serial):
        raise UnfitError(
            "is what firmware says when it has no serial number",
            expected="a serial number of one machine only",
            remedy="Use its MAC address instead.",
        )
    return serial


def _uuid(value: object) -> str:
    number = uuid_text(value)
    if len(set(number.replace("-", ""))) == 1:
        raise UnfitError("is what firmware says when it has no UUID", expected="a UUID of one machine only")
    return number

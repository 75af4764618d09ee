"""Take a unified kernel image apart: a PE file whose sections are a kernel, an initrd, a command line.

Section names: UAPI group specification 5, "Unified Kernel Image". Layout: Microsoft PE/COFF
specification, sections 3 and 4.
"""

from __future__ import annotations

import struct


class UkiError(Exception):
    """Not a unified kernel image, or one without the section that was asked for."""


def sections(image: bytes) -> dict[str, tuple[int, int]]:
    """Return name → (offset in the file, size in bytes) of every section.

    Raises:
        UkiError: not a PE file, or one that ends too soon.
    """
    try:
        (header,) = struct.unpack_from("<I", image, 0x3C)
        if image[:2] != b"MZ" or image[header : header + 4] != b"PE\0\0":
            raise UkiError("not a PE file")
        count, optional = struct.unpack_from("<H12xH", image, header + 6)
        table = header + 24 + optional
        found = {}
        for entry in range(table, table + 40 * count, 40):
            name, virtual, size, offset = struct.unpack_from("<8sI4xII", image, entry)
            # The raw size is padded to the file's alignment, the virtual size is the content's.
            found[name.rstrip(b"\0").decode("ascii", "replace")] = (offset, min(virtual, size))
            if offset + size > len(image):
                raise UkiError("the file ends inside a section")
    except struct.error as error:
        raise UkiError("the file ends inside its headers") from error
    return found


def section(image: bytes, name: str) -> bytes:
    """Return one section's content.

    Raises:
        UkiError: no such section.
    """
    try:
        offset, size = sections(image)[name]
    except KeyError:
        raise UkiError(f"no section {name}") from None
    return image[offset : offset + size]

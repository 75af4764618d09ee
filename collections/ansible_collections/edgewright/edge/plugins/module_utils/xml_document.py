"""XML from elsewhere, read without what makes XML dangerous: document types, entities, boundless size and depth."""

from __future__ import annotations

import codecs
import xml.etree.ElementTree as ET
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.import_report import local_name

LARGEST: Final = 16 * 1024**2
"""Bytes that a description of a machine may have; a real one has some ten thousand."""
DEEPEST: Final = 100
MOST: Final = 100_000
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def parse(data: bytes, *, where: str) -> ET.Element:
    """Return the root of a document in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        EdgeError: too large or too deep, in another encoding, with a document type, or not well-formed.
    """
    if len(data) > LARGEST:
        raise _refused(where, "is too large for a description of a machine", found=f"{len(data)} bytes")
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        remedy = "Convert it, as with 'iconv -t UTF-8'."
        raise _refused(where, f"is not text in UTF-8 ({error.reason})", remedy=remedy) from None
    # Without a document type there are no entities but XML's own five, and nothing outside is asked for.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise _refused(where, "has a document type, which no description of a machine needs", remedy="Remove it.")
    try:
        root = ET.fromstring(text)  # noqa: S314 (no document type, see above)
    except (ET.ParseError, ValueError) as error:
        raise _refused(where, f"is not well-formed XML ({error})") from None
    waiting, count = [(root, 1)], 0
    while waiting:
        element, depth = waiting.pop()
        count += 1
        if depth > DEEPEST or count > MOST:
            raise _refused(where, "is nested too deeply, or has too many elements", expected=f"{DEEPEST} levels")
        waiting += [(child, depth + 1) for child in element]
    return root


def children(element: ET.Element | None, name: str) -> list[ET.Element]:
    """Return the children with this name, whatever their namespace."""
    return [] if element is None else [child for child in element if local_name(child.tag) == name]


def child(element: ET.Element | None, *names: str) -> ET.Element | None:
    """Return what is found by following first children with these names, whatever their namespaces."""
    for name in names:
        element = next(iter(children(element, name)), None)
    return element


def text(element: ET.Element | None, *names: str) -> str:
    """Return the text of an element, or of the one that following ``names`` finds; nothing where there is none."""
    found = child(element, *names) if names else element
    return "" if found is None else (found.text or "").strip()


def attribute(element: ET.Element | None, name: str) -> str:
    """Return an attribute, whatever its namespace; nothing where there is none."""
    attributes = {} if element is None else element.attrib
    return next((value.strip() for key, value in attributes.items() if local_name(key) == name), "")


def _refused(where: str, what: str, *, found: str = "", expected: str = "", remedy: str = "") -> EdgeError:
    return EdgeError(Problem(where, what, found=found, expected=expected, remedy=remedy))

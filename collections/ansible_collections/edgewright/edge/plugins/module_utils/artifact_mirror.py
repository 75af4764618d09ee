"""Where this controller gets the outside's bytes from: mirrors by the longest matching prefix of a source.

Only the way changes: in the lock a source keeps its canonical name, and its digest is what makes the bytes trustworthy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, UnfitError, boolean, text

_IMAGE_KINDS: Final = ("registry", "oci")
_PREFIX: Final = "the beginning of URLs (https://…/) or of image names (docker.io/)"
_LOCATION: Final = "http(s)://<host>/…, file:<folder>, oci:<folder>, or <registry>/…"


@dataclass(frozen=True)
class Located:
    """Where to ask for one source.

    Attributes:
        kind: ``http``, ``files``, ``registry`` or ``oci``.
        address: a URL; a path (relative ones are meant below the inventory folder); an image name in a registry,
            without transport; or the folder of an OCI layout with ``:<tag>`` or ``@<digest>`` after it.
        insecure: whether the registry is spoken to without TLS, or with a certificate nobody checks.
    """

    kind: str
    address: str
    insecure: bool = False


@dataclass(frozen=True)
class Mirror:
    """One entry of ``edge_mirrors``; prefix and location both end in a slash."""

    prefix: str
    location: str
    kind: str
    insecure: bool = False

    @classmethod
    def from_inventory(cls, data: object, where: str) -> Mirror:
        """Read one entry.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=("prefix", "location", "insecure"))
        prefix = fields.read("prefix", _prefix)
        located = fields.read("location", _location)
        insecure = fields.read("insecure", boolean, default=False)
        fields.raise_if_any()
        kind, location = located
        if ("://" in prefix) == (kind in _IMAGE_KINDS):
            fields.problems.add(
                fields.at("location"),
                "holds no files" if kind in _IMAGE_KINDS else "holds no container images",
                found=repr(location),
                expected="http(s)://… or file:…" if kind in _IMAGE_KINDS else "a registry or oci:…",
            )
        if insecure and kind != "registry":
            fields.problems.add(
                fields.at("insecure"),
                "is only for registries",
                found="true",
                remedy="Leave it out: an http:// location needs no leave, and a folder has no transport.",
            )
        fields.raise_if_any()
        return cls(prefix, location, kind, insecure)

    def __call__(self, source: str) -> Located:
        """Return where the mirror has a source that begins with its prefix."""
        rest = source.removeprefix(self.prefix)
        # In a folder the name of a file is what its URL means, not how it is written.
        return Located(self.kind, self.location + (unquote(rest) if self.kind == "files" else rest), self.insecure)


@dataclass(frozen=True)
class Mirrors:
    """All mirrors of a site."""

    entries: tuple[Mirror, ...] = ()

    @classmethod
    def from_inventory(cls, data: object, *, where: str = "edge_mirrors") -> Mirrors:
        """Read ``edge_mirrors``.

        Raises:
            EdgeError: everything that is wrong in it, with paths below ``where``.
        """
        fields = Fields({where: data}, where="", known=(where,))
        entries = fields.build_list(where, lambda item, at, _: Mirror.from_inventory(item, at))
        fields.no_duplicates(((f"{at}.prefix", mirror.prefix) for at, mirror in entries), "the prefix")
        fields.raise_if_any()
        return cls(tuple(mirror for _, mirror in entries))

    def locate(self, source: str) -> Located | None:
        """Return where to ask for a source (a URL, or an image's full name), or ``None``: its canonical place.

        The longest prefix wins. A source that climbs out of its folder (``..``) is in no mirror.
        """
        fitting = [mirror for mirror in self.entries if source.startswith(mirror.prefix) and source != mirror.prefix]
        if not fitting or ".." in unquote(source).split("/"):
            return None
        return max(fitting, key=lambda mirror: len(mirror.prefix))(source)


def _prefix(value: object) -> str:
    prefix = str(text(value))
    scheme, mark, _ = prefix.partition("://")
    if mark:
        if scheme not in {"http", "https"} or not _is_clean_url(prefix):
            raise UnfitError("is no prefix of sources", expected=_PREFIX)
    elif re.fullmatch(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*/?", prefix, re.ASCII) is None or ":/" in prefix:
        raise UnfitError("is no prefix of sources", expected=_PREFIX)
    if not prefix.endswith("/"):
        raise UnfitError("must end in a slash, or it would match half a name", expected=f"'{prefix}/'")
    return prefix


def _location(value: object) -> tuple[str, str]:
    """Return kind and location, the scheme of folders removed and a slash at the end."""
    location = str(text(value))
    scheme, _, rest = location.partition(":")
    if scheme in {"http", "https"} and rest.startswith("//"):
        if not _is_clean_url(location):
            raise UnfitError(
                "is not the URL of a folder",
                expected="http(s)://<host>/<path>/ without user, password, query or fragment",
                secret="@" in location,
            )
        kind, place = "http", location
    elif scheme in {"file", "oci"}:
        if not rest or rest.startswith("//") or ".." in rest.split("/"):
            raise UnfitError("names no folder", expected=f"{scheme}:/media/stick/… or a path below the inventory")
        kind, place = {"file": "files", "oci": "oci"}[scheme], rest
    elif re.fullmatch(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]+)?(/[a-z0-9._-]+)*/?", location, re.ASCII):
        kind, place = "registry", location
    else:
        raise UnfitError("is no place of a mirror", expected=_LOCATION, secret="@" in location)
    return kind, place if place.endswith("/") else f"{place}/"


def _is_clean_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    return bool(host) and port != 0 and not (parts.query or parts.fragment or "@" in parts.netloc or " " in url)

"""Manifests of container images: which of an index fits a machine, and which bytes an image consists of.

Both families of media types are read: the OCI image specification 1.1 (image-index.md, manifest.md) and Docker's image
manifest version 2, schema 2. Schema 1 names no digest of its configuration and is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

_INDEX_TYPES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}
_MANIFEST_TYPES = {
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

# Debian's name of an architecture to that of the OCI specification; a variant also runs what older ones do
# (containerd's platforms package has the same order).
_ARCHITECTURES = {
    "amd64": ("amd64", ("", "v1")),
    "arm64": ("arm64", ("v8", "")),
    "armhf": ("arm", ("v7", "v6", "v5", "")),
}


@dataclass(frozen=True)
class Platform:
    """The machine an image must run on.

    Attributes:
        architecture: of the OCI specification: ``amd64``, ``arm64``, ``arm``.
        variants: those of it that run there, the best first; empty is an image that names none.
    """

    architecture: str
    variants: tuple[str, ...]

    @classmethod
    def of_debian(cls, architecture: str) -> Platform:
        """Return the platform of a Debian architecture.

        Raises:
            EdgeError: container images are not known for it.
        """
        if architecture not in _ARCHITECTURES:
            known = ", ".join(_ARCHITECTURES)
            raise EdgeError(Problem("architecture", "no container images are known for it", architecture, known))
        return cls(*_ARCHITECTURES[architecture])

    def __str__(self) -> str:
        return f"linux/{self.architecture}"


@dataclass(frozen=True)
class Descriptor:
    """A content descriptor (OCI descriptor.md): ``digest`` is ``sha256:<hex>``, ``size`` in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """One platform's image: its configuration, and its layers from the lowest up."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Configuration and layers, each digest once."""
        return tuple({each.digest: each for each in (self.config, *self.layers)}.values())


def media_type(raw: bytes, where: str) -> str:
    """Return the media type of a manifest or index, also of one that leaves it out (OCI allows that).

    Raises:
        EdgeError: it is no manifest that can be used; ``where`` is the image.
    """
    data = _load(raw, where)
    named = data.get("mediaType")
    if isinstance(named, str) and named in _INDEX_TYPES | _MANIFEST_TYPES:
        return named
    if named is None and data.get("schemaVersion") == 2:
        if isinstance(data.get("manifests"), list):
            return "application/vnd.oci.image.index.v1+json"
        if isinstance(data.get("config"), dict):
            return "application/vnd.oci.image.manifest.v1+json"
    found = f"schema version {data.get('schemaVersion')}" if named is None else str(named)[:100]
    expected = "an OCI image or a Docker image of schema 2"
    raise EdgeError(Problem(where, "this is no container image that can be used", found, expected))


def is_index(raw: bytes, where: str) -> bool:
    """Tell an index of several platforms from one platform's manifest.

    Raises:
        EdgeError: it is neither.
    """
    return media_type(raw, where) in _INDEX_TYPES


def choose(raw: bytes, platform: Platform, where: str) -> Descriptor:
    """Return the manifest of an index that fits a platform best.

    Raises:
        EdgeError: none fits (names those there are), or the index is malformed.
    """
    fitting: dict[int, Descriptor] = {}
    there: list[str] = []
    entries = _load(raw, where).get("manifests")
    for entry in entries if isinstance(entries, list) else ():
        own = entry.get("platform") if isinstance(entry, dict) else None
        if not isinstance(own, dict) or own.get("os") == "unknown":  # signatures and attestations
            continue
        variant = str(own.get("variant") or "")
        name = "/".join(filter(None, (str(own.get("os")), str(own.get("architecture")), variant)))
        there.append(name)
        fits = own.get("os") == "linux" and own.get("architecture") == platform.architecture
        if fits and variant in platform.variants:
            fitting.setdefault(platform.variants.index(variant), _descriptor(entry, where))
    if not fitting:
        found = ", ".join(there) or "no platform at all"
        remedy = "Use an image that is made for this architecture."
        raise EdgeError(
            Problem(where, "the image is not made for this site's architecture", found, str(platform), remedy)
        )
    return fitting[min(fitting)]


def read_manifest(raw: bytes, where: str) -> Manifest:
    """Read one platform's manifest.

    Raises:
        EdgeError: it is an index or malformed.
    """
    kind = media_type(raw, where)
    data = _load(raw, where)
    layers = data.get("layers")
    if kind in _INDEX_TYPES or not isinstance(layers, list):
        raise EdgeError(Problem(where, "this is no manifest of one platform's image", kind))
    return Manifest(kind, _descriptor(data.get("config"), where), tuple(_descriptor(each, where) for each in layers))


def refuse_other_platform(config: bytes, platform: Platform, where: str) -> None:
    """Check the configuration of an image that has no index.

    Raises:
        EdgeError: it is made for another machine.
    """
    data = _load(config, where)
    variant = str(data.get("variant") or "")
    found = "/".join(filter(None, (str(data.get("os")), str(data.get("architecture")), variant)))
    if (
        data.get("os") != "linux"
        or data.get("architecture") != platform.architecture
        or variant not in platform.variants
    ):
        remedy = "Use an image that is made for this architecture."
        raise EdgeError(
            Problem(where, "the image is not made for this site's architecture", found, str(platform), remedy)
        )


def _load(raw: bytes, where: str) -> dict[str, Any]:
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise EdgeError(Problem(where, f"the manifest is no JSON ({error})")) from None
    if not isinstance(data, dict):
        raise EdgeError(Problem(where, "the manifest is no JSON object", type(data).__name__))
    return data


def _descriptor(entry: Any, where: str) -> Descriptor:
    if isinstance(entry, dict):
        kind, digest, size = entry.get("mediaType"), entry.get("digest"), entry.get("size")
        good = isinstance(digest, str) and _DIGEST.fullmatch(digest) and isinstance(size, int) and size >= 0
        if good and isinstance(kind, str):
            return Descriptor(kind, str(digest), int(str(size)))
    expected = "media type, size, and a digest of SHA-256"
    raise EdgeError(Problem(where, "the manifest has a malformed descriptor", repr(entry)[:200], expected))

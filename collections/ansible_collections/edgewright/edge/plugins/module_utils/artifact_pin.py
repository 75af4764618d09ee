"""Where the bytes of a pinned artifact are: from a site's lock to a path in the content-addressed store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.fields import nearest

LOCK_NAME: Final = "site.lock.yml"
_REMEDY: Final = "Run 'edgewright lock', then 'edgewright fetch', where there is a network."
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class Pin:
    """What the lock says of an artifact: its digest (``sha256:<hex>``) and its size in bytes."""

    digest: str
    size: int

    @property
    def store_path(self) -> str:
        """Return its path below the store's root: ``sha256/ab/abcdef…``."""
        algorithm, _, digest = self.digest.partition(":")
        return f"{algorithm}/{digest[:2]}/{digest}"


def built_disk(manifest: str) -> str:
    """Return where the store says what the disk of a container image is, below ``built``: ``disks/<hex>``."""
    return f"disks/{manifest.removeprefix('sha256:')}"


def image_manifest(lock: object, reference: str, *, where: str) -> str:
    """Return the digest of the manifest that a lock pins an image with; ``where`` is the lock's path.

    Raises:
        EdgeError: the image is not pinned, or its pin is damaged.
    """
    digest = _entry(lock, "images", f"image '{reference}'", reference, where).get("manifest")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        raise _damaged(where, f"image '{reference}'", "a manifest's digest sha256:…")
    return digest


def pin_of(lock: object, source: str, *, where: str) -> Pin:
    """Return the pin of a source in a lock (the parsed YAML of ``site.lock.yml``); ``where`` is the lock's path.

    Raises:
        EdgeError: the source is not pinned, or its pin is damaged.
    """
    pin = _entry(lock, "artifacts", f"artifact '{source}'", source, where)
    digest, size = pin.get("digest"), pin.get("size")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None or not isinstance(size, int):
        raise _damaged(where, f"artifact '{source}'", "digest sha256:… and size")
    return Pin(digest, size)


def _entry(lock: object, section: str, what: str, name: str, where: str) -> Mapping[str, object]:
    """Return what a section of the lock says of a name; nothing if it says something else than it can mean."""
    entries = lock.get(section) if isinstance(lock, Mapping) else None
    if not isinstance(entries, Mapping) or name not in entries:
        known = [str(known) for known in entries] if isinstance(entries, Mapping) else []
        remedy = f"{nearest(name, known)} {_REMEDY}".strip()
        raise EdgeError(Problem(where, f"{what} is not pinned", remedy=remedy))
    pin = entries[name]
    return pin if isinstance(pin, Mapping) else {}


def _damaged(where: str, what: str, expected: str) -> EdgeError:
    return EdgeError(Problem(where, f"the pin of {what} is damaged", expected=expected, remedy=_REMEDY))

"""Where the bytes of a pinned artifact are: from a site's lock to a path in the content-addressed store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.fields import nearest

LOCK_NAME: Final = "site.lock.yml"
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
    remedy = "Run 'edgewright lock', then 'edgewright fetch', where there is a network."
    images = lock.get("images") if isinstance(lock, Mapping) else None
    if not isinstance(images, Mapping) or reference not in images:
        near = nearest(reference, map(str, images)) if isinstance(images, Mapping) else ""
        raise EdgeError(Problem(where, f"image '{reference}' is not pinned", remedy=f"{near} {remedy}".strip()))
    pin = images[reference]
    digest = pin.get("manifest") if isinstance(pin, Mapping) else None
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        raise EdgeError(Problem(where, f"the pin of image '{reference}' is damaged", remedy=remedy))
    return digest


def pin_of(lock: object, source: str, *, where: str) -> Pin:
    """Return the pin of a source in a lock (the parsed YAML of ``site.lock.yml``); ``where`` is the lock's path.

    Raises:
        EdgeError: the source is not pinned, or its pin is damaged.
    """
    remedy = "Run 'edgewright lock', then 'edgewright fetch', where there is a network."
    artifacts = lock.get("artifacts") if isinstance(lock, Mapping) else None
    if not isinstance(artifacts, Mapping) or source not in artifacts:
        known = [str(known) for known in artifacts] if isinstance(artifacts, Mapping) else []
        near = nearest(source, known)
        raise EdgeError(Problem(where, f"artifact '{source}' is not pinned", remedy=f"{near} {remedy}".strip()))
    pin = artifacts[source]
    digest, size = (pin.get("digest"), pin.get("size")) if isinstance(pin, Mapping) else (None, None)
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None or not isinstance(size, int):
        raise EdgeError(
            Problem(
                where, f"the pin of artifact '{source}' is damaged", expected="digest sha256:… and size", remedy=remedy
            )
        )
    return Pin(digest, size)

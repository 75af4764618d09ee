"""Container images in folders: OCI image layouts (image-layout.md of the OCI image specification 1.1), read only."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from edgewright.http_retry import Permanent

if TYPE_CHECKING:
    from pathlib import Path

REF_NAME = "org.opencontainers.image.ref.name"
# containerd imports an image under this name (its images package, annotations.go).
IMAGE_NAME = "io.containerd.image.name"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def layout_of(folder: Path, inside: Path) -> Path:
    """Return the layout that holds a repository: ``folder`` itself, or the nearest folder around it that is a layout.

    So a folder may have a layout for each repository, or one for all of them. Nothing outside ``inside`` is looked at.

    Raises:
        Permanent: there is none.
    """
    place = folder
    while not (place / "index.json").is_file():
        if place == inside or inside not in place.parents:
            raise Permanent(f"there is no OCI layout at {folder}")
        place = place.parent
    return place


def find(layout: Path, reference: str, tag: str) -> str:
    """Return the digest (``sha256:<hex>``) of what a layout's index has under an image's full name or its tag.

    Raises:
        Permanent: nothing, or the index cannot be read.
    """
    entries = _entries(layout)
    for names in ((reference,), (tag,)):
        for entry in entries:
            annotations = entry.get("annotations") or {}
            digest = entry.get("digest")
            if {annotations.get(IMAGE_NAME), annotations.get(REF_NAME)} & set(names) and isinstance(digest, str):
                return digest
    raise Permanent(f"{layout} has no image {reference}")


def only(layout: Path) -> str:
    """Return the digest (``sha256:<hex>``) of the only thing that a layout's index has.

    Raises:
        Permanent: it has several or none, or cannot be read.
    """
    digests = {digest for entry in _entries(layout) if isinstance(digest := entry.get("digest"), str)}
    if len(digests) != 1:
        tags = sorted(str((entry.get("annotations") or {}).get(REF_NAME)) for entry in _entries(layout))
        raise Permanent(f"{layout} has not one thing but {len(digests)}; name its tag ({', '.join(tags)})")
    return digests.pop()


def _entries(layout: Path) -> list[dict[str, Any]]:
    try:
        index: Any = json.loads((layout / "index.json").read_bytes())
        return [entry for entry in index["manifests"] if isinstance(entry, dict)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Permanent(f"{layout}/index.json cannot be read ({error})") from None


def blob_path(layout: Path, digest: str) -> Path:
    """Return where a layout has the file with this digest.

    Raises:
        Permanent: it has not.
    """
    match = _DIGEST.fullmatch(digest)
    path = layout / "blobs" / "sha256" / match[1] if match else None
    if path is None or not path.is_file():
        raise Permanent(f"{layout} has no file {digest}")
    return path

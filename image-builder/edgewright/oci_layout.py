"""Container images out of the store for other programs: an OCI image layout, as a folder or as one archive.

image-layout.md of the OCI image specification 1.1. Every image is there under its full name, in both annotations that
programs look at, and with the index that its tag stands for, so that its digest stays what it was at the registry; of
the platforms in that index only the site's own is there, which containerd and skopeo accept. An image of Docker's media
types keeps them for the same reason; containerd takes it from a layout, skopeo and podman pass over it.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.exits import NeedsNetworkError
from edgewright.image_manifest import media_type
from edgewright.oci_folder import IMAGE_NAME, REF_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from edgewright.pins import Image
    from edgewright.store import Store

_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def write_layout(images: Iterable[Image], store: Store, folder: Path) -> int:
    """Write a layout into a new folder; return the bytes of its blobs.

    Raises:
        EdgeError: the folder holds something.
        NeedsNetworkError: the store lacks files of the images.
    """
    small, blobs = _files(tuple(images), store)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EdgeError(Problem(str(folder), "this folder holds something", expected="one that is empty or not there"))
    for name, source in blobs.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    for name, raw in small.items():  # index.json comes last: without it, it is no layout
        (folder / name).write_bytes(raw)
    return sum(source.stat().st_size for source in blobs.values())


def write_layout_archive(images: Iterable[Image], store: Store, file: Path) -> int:
    """Write a layout as a tar archive, the same bytes for the same images; return the bytes of its blobs.

    Raises:
        EdgeError: the file is there already.
        NeedsNetworkError: the store lacks files of the images.
    """
    small, blobs = _files(tuple(images), store)
    if file.exists():
        raise EdgeError(Problem(str(file), "the archive is there already", remedy="Remove it, or give another name."))
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    try:
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, raw in small.items():
                archive.addfile(_member(name, len(raw)), io.BytesIO(raw))
            for name, source in blobs.items():
                with source.open("rb") as stream:
                    archive.addfile(_member(name, source.stat().st_size), stream)
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)
    return sum(source.stat().st_size for source in blobs.values())


def _files(images: Sequence[Image], store: Store) -> tuple[dict[str, bytes], Mapping[str, Path]]:
    """Return the layout's own files, and those of the store by their path in it, sorted."""
    remedy = "Run 'edgewright fetch' where there is a network."
    lacking = [each for each in images if any(not store.has(digest) for digest in each.digests)]
    if lacking:
        what = "files of this image are not in the store"
        raise NeedsNetworkError([Problem(f"image {each.reference}", what, remedy=remedy) for each in lacking])
    entries = [_entry(image, store) for image in sorted(images, key=lambda image: image.reference)]
    index = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": entries}
    small = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps(index, separators=(",", ":")).encode(),
    }
    digests = sorted({digest for image in images for digest in image.digests})
    return small, {f"blobs/sha256/{digest.removeprefix('sha256:')}": store.path(digest) for digest in digests}


def _entry(image: Image, store: Store) -> dict[str, Any]:
    digest = image.digests[0]
    raw = store.path(digest).read_bytes()
    names = {IMAGE_NAME: image.reference, REF_NAME: image.reference}
    kind = media_type(raw, image.reference)
    return {"mediaType": kind, "digest": digest, "size": len(raw), "annotations": names}


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member

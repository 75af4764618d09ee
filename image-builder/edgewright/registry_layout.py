"""The folder that a container registry (Debian's docker-registry) serves, written from images that are at hand.

The layout is that of the registry's filesystem driver (distribution/distribution 2.8, registry/storage/paths.go)::

    docker/registry/v2/blobs/sha256/ab/abcdef…/data
    docker/registry/v2/repositories/<name>/_layers/sha256/<hex>/link
    docker/registry/v2/repositories/<name>/_manifests/revisions/sha256/<hex>/link
    docker/registry/v2/repositories/<name>/_manifests/tags/<tag>/{current,index/sha256/<hex>}/link

A ``link`` holds a digest. The images are not pushed to a running registry, because that refuses an index of which only
one platform's manifest is there, and the index must stay: its digest is what names the image.

A repository here bears the full name, registry included (``docker.io/rancher/mirrored-pause``): several registries can
have a repository of the same path. Whoever pulls rewrites names (k3s: ``rewrite`` in registries.yaml).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_V2 = Path("docker/registry/v2")


@dataclass(frozen=True)
class ServedImage:
    """One image to be served.

    Attributes:
        repository: full name without tag: ``docker.io/library/busybox``.
        tag: the tag it is asked for by.
        manifests: files of its index, if it has one, and of its manifest, by digest (``sha256:<hex>``); the first is
            what the tag stands for.
        blobs: files of its configuration and layers, by digest.
    """

    repository: str
    tag: str
    manifests: Mapping[str, Path]
    blobs: Mapping[str, Path]


def write_registry(folder: Path, images: Iterable[ServedImage]) -> None:
    """Write the storage folder of a registry that serves these images; each blob is there once."""
    for image in images:
        repository = folder / _V2 / "repositories" / image.repository
        for digest, source in {**image.manifests, **image.blobs}.items():
            _copy(source, _below(folder / _V2 / "blobs", digest, shard=True) / "data")
        for digest in image.manifests:
            _link(_below(repository / "_manifests" / "revisions", digest), digest)
        for digest in image.blobs:
            _link(_below(repository / "_layers", digest), digest)
        tagged = next(iter(image.manifests))
        tag = repository / "_manifests" / "tags" / image.tag
        _link(tag / "current", tagged)
        _link(_below(tag / "index", tagged), tagged)


def _below(folder: Path, digest: str, *, shard: bool = False) -> Path:
    algorithm, _, value = digest.partition(":")
    return folder / algorithm / value[:2] / value if shard else folder / algorithm / value


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _link(folder: Path, digest: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "link").write_text(digest, encoding="ascii")

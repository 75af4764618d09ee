"""Container images from registries: from a tag to the digests of one platform's bytes."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.image_name import ImageName

from edgewright.exits import NeedsNetworkError
from edgewright.http_retry import Permanent, Transient
from edgewright.image_manifest import choose, is_index, read_manifest, refuse_other_platform
from edgewright.pins import Blob, Image

if TYPE_CHECKING:
    from edgewright.image_manifest import Platform
    from edgewright.image_places import ImagePlaces
    from edgewright.store import Store


def resolve_image(reference: str, where: str, platform: Platform, places: ImagePlaces, store: Store) -> Image:
    """Find an image's digests; index, manifest and what else has to be read for that go into the store.

    Args:
        reference: full name with tag or digest.
        where: who asked for it, for errors.
        platform: the manifest to choose from an index.
        places: where to ask.
        store: takes what was read.

    Raises:
        EdgeError: there is no such image, not for this platform, or the registry refuses it.
        NeedsNetworkError: the registry does not answer.
    """
    name = ImageName.parse(reference)
    try:
        top = places.manifest(name)
        index = None
        digest, size = store.adopt_stream(io.BytesIO(top))
        raw = top
        if is_index(top, where):
            index = digest
            chosen = choose(top, platform, where)
            digest = chosen.digest
            raw = places.manifest(replace(name, digest=digest))
            size += store.adopt_stream(io.BytesIO(raw))[1]
        manifest = read_manifest(raw, where)
        if index is None:
            config = places.config(replace(name, digest=digest), manifest.config.digest)
            refuse_other_platform(config, platform, where)
            store.adopt_stream(io.BytesIO(config))
    except (Permanent, Transient) as reason:
        raise _error(name, where, reason) from reason
    blobs = tuple(Blob(each.digest, each.size) for each in manifest.blobs)
    return Image(reference, str(platform), index, digest, size + sum(blob.size for blob in blobs), blobs)


def _error(name: ImageName, where: str, reason: Permanent | Transient) -> EdgeError:
    said = str(reason)
    if isinstance(reason, Transient):
        remedy = "Check the network and the proxy, or give a mirror (edge_mirrors), and run the command again."
        return NeedsNetworkError(Problem(where, f"{name.registry} cannot be asked for the image", said, remedy=remedy))
    return EdgeError(Problem(where, "the image cannot be had", said, remedy=remedy_of(reason, name)))


def remedy_of(reason: Permanent, name: ImageName) -> str:
    """Say what to do about a registry that refuses an image or does not have it."""
    said = str(reason).lower()
    if "unauthorized" in said or "authentication" in said or "denied" in said or "password" in said:
        return f"Log in with `skopeo login {name.registry}` (or set REGISTRY_AUTH_FILE), or correct the image's name."
    if "http response to https" in said:
        return "Give the registry in edge_mirrors with 'insecure: true' if it is meant to speak plain HTTP."
    if "skopeo is not installed" in said:
        return ""
    return "Correct the image's name or tag, or the mirror."

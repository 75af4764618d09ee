"""What a k3s site needs from outside: release assets with published checksums, operators' and its own manifests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import (
    IMAGE_LIST,
    cdi_url,
    k3s_binary,
    k3s_checksums,
    k3s_url,
    kubevirt_url,
    parse_checksums,
)

from edgewright.download import http_client
from edgewright.exits import NeedsNetworkError
from edgewright.http_retry import Permanent, classify
from edgewright.pins import Artifact
from edgewright.sources.artifacts import download_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform

    from edgewright.reporter import Reporter
    from edgewright.store import Store
    from edgewright.url_places import UrlPlaces

# Debian's name of an architecture to k3s's.
ARCHITECTURES = {"amd64": "amd64", "arm64": "arm64", "armhf": "arm"}


@dataclass(frozen=True)
class Needed:
    """The files of a platform.

    Attributes:
        artifacts: source to the place in the inventory that asks for it.
        checksums: source to the URL of the list with its published checksum.
        documents: those artifacts that name container images.
    """

    artifacts: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    documents: tuple[str, ...] = ()


def needed_files(platform: Platform, architecture: str, where: Mapping[str, str]) -> Needed:
    """Return what to pin for a platform.

    k3s's archive of its own images is not among it: each of those images is pinned by itself.

    Args:
        platform: the versions.
        architecture: Debian's name, ``amd64``.
        where: places in the inventory by key of ``edge_kubernetes``: ``k3s``, ``kubevirt``, ``cdi``, and
            ``manifests[<number>]``.
    """
    own = ARCHITECTURES[architecture]
    binary = k3s_url(platform.k3s, k3s_binary(own))
    images = k3s_url(platform.k3s, IMAGE_LIST)
    artifacts = {binary: where["k3s"], images: where["k3s"]}
    documents = [images]
    if platform.kubevirt:
        artifacts[kubevirt_url(platform.kubevirt)] = where["kubevirt"]
        documents.append(kubevirt_url(platform.kubevirt))
    if platform.cdi:
        artifacts[cdi_url(platform.cdi)] = where["cdi"]
        documents.append(cdi_url(platform.cdi))
    for index, source in enumerate(platform.manifests):
        artifacts[source] = where[f"manifests[{index}]"]
        documents.append(source)
    return Needed(artifacts, {binary: k3s_url(platform.k3s, k3s_checksums(own))}, tuple(documents))


def resolve_published(
    source: str, checksums: str, architecture: str, where: str, places: UrlPlaces, store: Store, reporter: Reporter
) -> Artifact:
    """Pin a release asset by the checksum that its project publishes, without downloading it.

    Raises:
        EdgeError: no such release, or its list of checksums does not have the asset.
        NeedsNetworkError: the server does not answer.
    """
    digest, _ = download_unknown(checksums, where, places, store, reporter)
    listed = parse_checksums(
        store.path(digest).read_text(errors="replace"), ARCHITECTURES[architecture], where=checksums
    )
    asset = source.rpartition("/")[2]
    if asset not in listed:
        raise EdgeError(Problem(where, "the release publishes no checksum of it", asset, f"a line of {checksums}"))
    return Artifact(source, listed[asset], _size(source, where, places), (source,))


def _size(source: str, where: str, places: UrlPlaces) -> int:
    if path := places.path(source):
        return path.stat().st_size
    url = places.url(source)
    try:
        with http_client() as client:
            response = client.head(url)
            response.raise_for_status()
            return int(response.headers["Content-Length"])
    except httpx.HTTPError as error:
        reason = classify(error, httpx.URL(url).host)
        if isinstance(reason, Permanent):
            remedy = "Correct the version, or the mirror."
            raise EdgeError(Problem(where, f"{url} cannot be had", str(reason), remedy=remedy)) from error
        remedy = "Check the network and the proxy, and run the command again."
        raise NeedsNetworkError(Problem(where, f"{url}: the network failed", str(reason), remedy=remedy)) from error
    except (KeyError, ValueError) as error:
        what = f"the server does not tell the size of {url}"
        raise NeedsNetworkError(Problem(where, what, remedy="Use another mirror.")) from error

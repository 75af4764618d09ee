"""Release assets of k3s, pinned by the checksums that its project publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import parse_checksums

from edgewright.download import http_client
from edgewright.exits import NeedsNetworkError
from edgewright.http_retry import Permanent, classify
from edgewright.pins import Artifact
from edgewright.sources.artifacts import download_unknown
from edgewright.sources.kubernetes_files import ARCHITECTURES

if TYPE_CHECKING:
    from edgewright.reporter import Reporter
    from edgewright.store import Store
    from edgewright.url_places import UrlPlaces


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

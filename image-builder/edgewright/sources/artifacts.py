"""Single files from outside: a member of a wheel, a file on a web server, a file beside the inventory."""

from __future__ import annotations

import contextlib
import difflib
import re
import time
import zipfile
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import ModelPackSource, parse_source
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError

from edgewright.download import Wanted, download, http_client
from edgewright.exits import NeedsNetworkError
from edgewright.http_retry import Patience, Transient, ask_again_after, classify
from edgewright.model_pack import take_from_pack
from edgewright.pins import Artifact
from edgewright.sources.local_file import local_file
from edgewright.sources.wheels import choose, size_of
from edgewright.store import Store, digest_of_file
from edgewright.url_places import UrlPlaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgewright.reporter import Reporter

FORMS = "pypi:NAME==VERSION#MEMBER, https://…, file:PATH or modelpack:FOLDER (below the inventory's folder) or build:…"
_PYPI = re.compile(r"pypi:([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)#([^/].*)")


def take_local(artifact: Artifact, inventory: Path, store: Store) -> None:
    """Bring an artifact of the inventory's folder into the store.

    Raises:
        EdgeError: it is not there, or not what was pinned.
    """
    source = artifact.source
    if source.startswith("modelpack:"):
        take_from_pack(
            _pack(source, source), source, inventory, store,
            lambda stream: store.add_stream(stream, artifact.digest, source),
        )  # fmt: skip
    else:
        store.add_file(local_file(source, source, inventory), artifact.digest)


def _pack(source: str, where: str) -> ModelPackSource:
    with contextlib.suppress(UnfitError):
        if isinstance(parsed := parse_source(source), ModelPackSource):
            return parsed
    raise EdgeError(Problem(where, "this is not a source of an artifact", repr(source), FORMS, "Correct the source."))


def resolve_artifact(
    source: str, where: str, inventory: Path, store: Store, reporter: Reporter, places: UrlPlaces | None = None
) -> Artifact:
    """Find an artifact's digest, size and URLs; what has to be read for that goes into the store.

    Raises:
        EdgeError: the source is not of a known form, or there is no such file; ``where`` is who asked for it.
        NeedsNetworkError: a server does not answer.
    """
    if match := _PYPI.fullmatch(source):
        return _from_wheel(source, where, match[1], match[2], match[3], store, reporter)
    if re.match(r"https?://[^/\s]+/\S", source):
        digest, size = download_unknown(source, where, places or UrlPlaces(), store, reporter)
        return Artifact(source, digest, size, (source,))
    if source.startswith("file:"):
        digest, size = digest_of_file(local_file(source, where, inventory))
        return Artifact(source, digest, size)
    if source.startswith("modelpack:"):
        digest, size = take_from_pack(_pack(source, where), where, inventory, store, store.adopt_stream)
        return Artifact(source, digest, size)
    raise EdgeError(Problem(where, "this is not a source of an artifact", repr(source), FORMS, "Correct the source."))


def extract_member(archive: Path, member: str, where: str, take: Callable[[IO[bytes]], object]) -> None:
    """Give the open member of a wheel to ``take``.

    Raises:
        EdgeError: the wheel has no such member; names the nearest ones.
    """
    with zipfile.ZipFile(archive) as wheel:
        names = [name for name in wheel.namelist() if not name.endswith("/")]
        if member not in names:
            same = [name for name in names if name.rpartition("/")[2] == member.rpartition("/")[2]]
            near = same or difflib.get_close_matches(member, names, n=3, cutoff=0.3)
            expected = f"for instance {', '.join(sorted(near)[:5])}" if near else ""
            raise EdgeError(
                Problem(where, "the wheel has no such member", member, expected, "Correct the part after '#'.")
            )
        with wheel.open(member) as stream:
            take(stream)


def _from_wheel(
    source: str, where: str, name: str, version: str, member: str, store: Store, reporter: Reporter
) -> Artifact:
    (wheel,) = choose(where, [f"{name}=={version}"], (), "--no-deps").values()
    with http_client() as client:
        size = size_of(wheel.url, client)
    download([Wanted(source, wheel.digest, size, (wheel.url,))], store, reporter)
    pins: list[tuple[str, int]] = []
    extract_member(store.path(wheel.digest), member, where, lambda stream: pins.append(store.adopt_stream(stream)))
    return Artifact(source, *pins[0], (wheel.url,), member, wheel.digest, size)


class _Body:
    """A response's body as something to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, _size: int = -1, /) -> bytes:
        """Return the next piece, as large as the server sent it."""
        return next((chunk for chunk in self._chunks if chunk), b"")


def download_unknown(source: str, where: str, places: UrlPlaces, store: Store, reporter: Reporter) -> tuple[str, int]:
    """Bring a file whose digest nobody knows yet into the store; return digest and size.

    Raises:
        EdgeError: there is no such file; ``where`` is who asked for it.
        NeedsNetworkError: the server does not answer.
    """
    if path := places.path(source):
        with path.open("rb") as stream:
            return store.adopt_stream(stream)
    url = places.url(source)
    patience = Patience()
    host = urlsplit(url).netloc
    failed = 0
    with http_client(1, patience) as client:
        while True:
            try:
                with client.stream("GET", url) as response:
                    response.raise_for_status()
                    total = int(response.headers.get("Content-Length", 0)) or None
                    return store.adopt_stream(_Body(_counted(response, url, total, reporter)))
            except httpx.HTTPError as error:
                reason = classify(error, host)
                failed += 1
                if not isinstance(reason, Transient):
                    raise EdgeError(Problem(where, f"{url} cannot be had", str(reason))) from error
                if failed >= patience.attempts:
                    remedy = "Check the network and the proxy, and run the command again."
                    problem = Problem(where, f"{url}: the network failed", str(reason), remedy=remedy)
                    raise NeedsNetworkError(problem) from error
                time.sleep(ask_again_after(error, failed, patience))


def _counted(response: httpx.Response, url: str, total: int | None, reporter: Reporter) -> Iterator[bytes]:
    done = 0
    for chunk in response.iter_raw(1 << 18):
        done += len(chunk)
        reporter.progress(url, done, total)
        yield chunk

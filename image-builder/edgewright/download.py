"""Downloads into the store: several at a time, resumed where they were cut off, verified, from mirrors in order.

What is asked for is known by digest and size, so nothing that a server says has to be believed. A ``.part`` file is
continued with a Range request (RFC 9110, 14.2), also in a later run and from another mirror; if the whole then has the
wrong digest, it is downloaded once more from its first byte before anyone is blamed. The threads are daemons: what
they leave when the process ends is a ``.part`` file, which is all that the next run needs.
"""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

import httpx
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright import __version__
from edgewright.exits import NeedsNetworkError
from edgewright.http_retry import Patience, Permanent, Transient, ask_again_after, classify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgewright.reporter import Reporter
    from edgewright.store import Store

_CHUNK = 1 << 18
_SPARE = 64 << 20  # bytes that a disk is not filled up to


@dataclass(frozen=True)
class Wanted:
    """One file to download: what errors call it, its digest, its size in bytes, and where to try, in order."""

    name: str
    digest: str
    size: int
    urls: tuple[str, ...]


@dataclass
class Fetched:
    """What a run of downloads did; ``received`` counts bytes that crossed the network."""

    files: int = 0
    received: int = 0


class _Stopped(Exception):  # noqa: N818 - not an error: the run is over
    """Somebody else ended the run."""


@dataclass
class _Failures:
    wrong: list[Problem] = field(default_factory=list)
    network: list[Problem] = field(default_factory=list)
    other: list[BaseException] = field(default_factory=list)

    def raise_if_any(self) -> None:
        if self.other:
            raise self.other[0]
        if self.wrong:
            raise EdgeError(sorted([*self.wrong, *self.network]))
        if self.network:
            raise NeedsNetworkError(sorted(self.network))


def http_client(connections: int = 1, patience: Patience | None = None) -> httpx.Client:
    """Return a client with the system's certificates and proxies (``http_proxy``, ``SSL_CERT_FILE`` …)."""
    patience = patience or Patience()
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not paths.cafile and not paths.capath:  # a Python that was not built for this system
        import certifi

        context.load_verify_locations(certifi.where())
    return httpx.Client(
        verify=context,
        follow_redirects=True,
        limits=httpx.Limits(max_connections=connections),
        timeout=httpx.Timeout(patience.read_timeout, connect=patience.connect_timeout, pool=None),
        # Range counts the bytes of the transfer: they must be those of the file.
        headers={"Accept-Encoding": "identity", "User-Agent": f"edgewright/{__version__}"},
    )


def check_space(store: Store, needed: int) -> None:
    """Raise ``EdgeError`` if the store's disk has no room for ``needed`` bytes (and some to spare)."""
    store.root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(store.root).free
    if needed + _SPARE > free:
        raise EdgeError(
            Problem(
                str(store.root),
                "there is not enough free disk space for the downloads",
                f"{free / 1e6:.0f} MB free",
                f"{(needed + _SPARE) / 1e6:.0f} MB ({needed / 1e6:.0f} MB to download and some to spare)",
                "Free some, or choose another disk with --cache.",
            )
        )


def download(
    wanted: Iterable[Wanted],
    store: Store,
    reporter: Reporter,
    *,
    connections: int = 6,
    patience: Patience | None = None,
) -> Fetched:
    """Bring everything wanted into the store; what is there already costs nothing.

    Raises:
        EdgeError: not enough disk space; or bytes with another digest than pinned (all such files; none is kept).
        NeedsNetworkError: the network failed, or no mirror has a file any more (all such files).
        OSError: the store cannot be written.
    """
    todo = {each.digest: each for each in wanted if not store.has(each.digest)}
    if not todo:
        return Fetched()
    check_space(store, sum(max(0, each.size - _part_size(store, each)) for each in todo.values()))
    patience = patience or Patience()
    with http_client(connections, patience) as session:
        run = _Run(list(todo.values()), store, session, patience)
        run.go(connections, reporter)
    run.failures.raise_if_any()
    return run.fetched


def _part_size(store: Store, wanted: Wanted) -> int:
    part = store.partial_path(wanted.digest)
    return part.stat().st_size if part.is_file() else 0


class _Run:
    def __init__(self, todo: list[Wanted], store: Store, session: httpx.Client, patience: Patience) -> None:
        self.store = store
        self.session = session
        self.patience = patience
        self.failures = _Failures()
        self.fetched = Fetched()
        self.total = sum(each.size for each in todo)
        self.done = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._silent: set[str] = set()
        # Large files first: a big one begun last would end alone.
        self._queue: queue.SimpleQueue[Wanted] = queue.SimpleQueue()
        for each in sorted(todo, key=lambda wanted: -wanted.size):
            self._queue.put(each)

    def go(self, connections: int, reporter: Reporter) -> None:
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(connections)]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(0.1 / connections)
                reporter.progress("download", min(self.done, self.total), self.total)
        except BaseException:
            self._stop.set()
            deadline = time.monotonic() + 1
            for thread in threads:
                thread.join(max(0, deadline - time.monotonic()))
            raise

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                wanted = self._queue.get_nowait()
            except queue.Empty:
                return
            try:
                self._fetch(wanted)
            except _Stopped:
                return
            except NeedsNetworkError as error:
                with self._lock:
                    self.failures.network += error.problems
            except EdgeError as error:
                with self._lock:
                    self.failures.wrong += error.problems
            except BaseException as error:
                self._stop.set()
                with self._lock:
                    self.failures.other.append(error)

    def _fetch(self, wanted: Wanted) -> None:
        try:
            self._into_store(wanted)
        except OSError as error:  # also of the close, which tries to write what is buffered once more
            name = str(self.store.partial_path(wanted.digest))
            raise OSError(error.errno, error.strerror or str(error), name) from error

    def _into_store(self, wanted: Wanted) -> None:
        with self.store.partial(wanted.digest) as part:
            if self.store.has(wanted.digest):  # another process was quicker
                self.store.discard_partial(wanted.digest)
                self._count(wanted.size)
                return
            try:
                self._from_mirrors(wanted, part)
            finally:
                if _part_size(self.store, wanted) == 0:
                    self.store.discard_partial(wanted.digest)

    def _from_mirrors(self, wanted: Wanted, part: BinaryIO) -> None:
        reasons: list[Permanent | Transient] = []
        wrong: EdgeError | None = None
        for index, url in enumerate(wanted.urls):
            attempts = self.patience.attempts if index == 0 else min(2, self.patience.attempts)
            try:
                self._from_mirror(wanted, url, part, attempts)
            except (Permanent, Transient) as reason:
                reasons.append(reason)
            except EdgeError as error:
                wrong = wrong or error
                part.seek(0)
                part.truncate()
            else:
                return
        if wrong is not None:
            self.store.discard_partial(wanted.digest)
            raise wrong
        raise self._unreachable(wanted, reasons)

    def _unreachable(self, wanted: Wanted, reasons: list[Permanent | Transient]) -> NeedsNetworkError:
        said = "; ".join(dict.fromkeys(str(reason) for reason in reasons)) or "no URL is known"
        gone = bool(reasons) and isinstance(reasons[0], Permanent)
        if wanted.urls and urlsplit(wanted.urls[0]).netloc in self._silent:
            self._stop.set()  # the network is down: the others would only wait for the same
        if gone:
            what, remedy = (
                "no mirror has it any more",
                "Run 'edgewright lock --upgrade' to pin what the mirrors have now.",
            )
        else:
            what = "the network failed while this was downloaded"
            remedy = "Check the network and the proxy, then run 'edgewright fetch' again: it goes on where it stopped."
        return NeedsNetworkError(Problem(wanted.name, what, said, remedy=remedy))

    def _from_mirror(self, wanted: Wanted, url: str, part: BinaryIO, attempts: int) -> None:
        host = urlsplit(url).netloc
        failed = 0
        restarted = False
        while True:
            if host in self._silent:
                raise Transient(f"{host} does not answer")
            size_before = part.seek(0, os.SEEK_END)
            try:
                found = self._transfer(wanted, url, part)
            except httpx.HTTPError as error:
                reason = classify(error, host)
                if isinstance(reason, Permanent):
                    raise reason from error
                if isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 416:
                    part.truncate(0)  # what we have is longer than what they have: begin anew
                failed = 1 if part.seek(0, os.SEEK_END) > size_before else failed + 1
                if failed >= attempts:
                    if isinstance(error, httpx.TransportError):
                        self._silent.add(host)
                    raise reason from error
                self._pause(ask_again_after(error, failed, self.patience))
                continue
            if found == wanted.digest:
                self.store.commit_partial(wanted.digest, part, found)
                self.fetched.files += 1
                return
            if size_before and not restarted:
                restarted = True
                part.seek(0)
                part.truncate()
                continue
            remedy = f"{url} gives other bytes than when the site was locked: do not trust them, or lock it again."
            raise EdgeError(
                Problem(wanted.name, "the bytes are not those pinned in the lock", found, wanted.digest, remedy)
            )

    def _transfer(self, wanted: Wanted, url: str, part: BinaryIO) -> str:
        """Bring ``part`` to its full size; return the digest of what it then holds, or the size if that is wrong."""
        have = part.seek(0, os.SEEK_END)
        if have > wanted.size:
            have = 0
        hasher = hashlib.sha256()
        if have < wanted.size:
            headers = {"Range": f"bytes={have}-"} if have else {}
            with self.session.stream("GET", url, headers=headers) as response:
                have = self._accept(response, have)
                part.truncate(have)
                self._feed(hasher, part)
                self._count(have)
                try:
                    for chunk in self._chunks(response):
                        part.write(chunk)
                        hasher.update(chunk)
                        have += len(chunk)
                        self._count(len(chunk), received=True)
                        if have > wanted.size:
                            break
                except BaseException:
                    part.flush()
                    self._count(-have)
                    raise
            part.flush()
        else:
            part.truncate(have)
            self._feed(hasher, part)
            self._count(have)
        if have != wanted.size:
            self._count(-have)
            if have < wanted.size:
                raise httpx.RemoteProtocolError(f"the answer ended after {have} of {wanted.size} bytes")
            return f"more than {wanted.size} bytes"
        return f"sha256:{hasher.hexdigest()}"

    def _chunks(self, response: httpx.Response) -> Iterator[bytes]:
        for chunk in response.iter_raw():  # with a chunk size it would swallow what came before a cut
            if self._stop.is_set():
                raise _Stopped
            yield chunk

    def _accept(self, response: httpx.Response, have: int) -> int:
        """Return at which byte of the file the answer begins."""
        if response.status_code == 206:
            unit, _, span = response.headers.get("Content-Range", "").partition(" ")
            if unit == "bytes" and span.startswith(f"{have}-"):
                return have
            raise httpx.RemoteProtocolError(f"asked for bytes from {have}, got {span or 'no range'}")
        response.raise_for_status()
        return 0

    @staticmethod
    def _feed(hasher: hashlib._Hash, part: BinaryIO) -> None:
        part.seek(0)
        while chunk := part.read(_CHUNK):
            hasher.update(chunk)

    def _count(self, size: int, *, received: bool = False) -> None:
        with self._lock:
            self.done += size
            if received:
                self.fetched.received += size

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

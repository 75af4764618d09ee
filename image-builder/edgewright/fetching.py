"""What of a lock the store lacks, and how it gets there."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_mirror import Mirrors
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems

from edgewright.download import Fetched, Wanted, download
from edgewright.exits import NeedsNetworkError
from edgewright.image_fetching import fetch_images, missing_images
from edgewright.image_places import ImagePlaces
from edgewright.repository import control
from edgewright.sources.artifacts import extract_member, take_local
from edgewright.tools.skopeo import Registries
from edgewright.url_places import UrlPlaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgewright.http_retry import Patience
    from edgewright.lockfile import Lock
    from edgewright.pins import Artifact
    from edgewright.reporter import Reporter
    from edgewright.store import Store

_IMAGES = 3  # container images that are fetched at a time


class Fetching:
    """Brings what a lock pins into a store.

    A member of a wheel is stored under its own digest; once it is there, the wheel is no longer needed for it.
    ``inventory`` is the folder that ``file:`` sources are relative to; ``mirrors`` are where the bytes are really had.
    """

    def __init__(
        self, lock: Lock, store: Store, inventory: Path, reporter: Reporter, mirrors: Mirrors | None = None
    ) -> None:
        self._lock = lock
        self._store = store
        self._inventory = inventory
        self._reporter = reporter
        self._mirrors = mirrors or Mirrors()
        self._places = UrlPlaces(self._mirrors, inventory)

    def missing(self) -> list[Wanted]:
        """Return what would be fetched, by name, each digest once; a container image is one entry."""
        images = missing_images(self._lock.images.values(), self._store)
        return sorted([*self._missing_files(), *images], key=lambda each: each.name)

    def _missing_files(self) -> list[Wanted]:
        lock = self._lock
        wanted = [
            Wanted(f"package {each.name} {each.version}", each.digest, each.size, tuple(lock.package_urls(each)))
            for each in lock.packages.values()
        ]
        for container in lock.containers.values():
            wanted += [Wanted(f"wheel {each.filename}", each.digest, each.size, each.urls) for each in container.wheels]
        for artifact in lock.artifacts.values():
            if not artifact.urls or self._store.has(artifact.digest):
                continue
            digest = artifact.archive_digest or artifact.digest
            size = artifact.archive_size if artifact.member else artifact.size
            wanted.append(Wanted(artifact.source, digest, size, artifact.urls))
        unique = {each.digest: each for each in wanted if not self._store.has(each.digest)}
        return list(unique.values())

    def digests(self) -> dict[str, str]:
        """Return the digest of everything a build reads from the store, with the name that errors use."""
        lock = self._lock
        names = {each.digest: f"package {each.name} {each.version}" for each in lock.packages.values()}
        names |= {each.digest: f"wheel {each.filename}" for own in lock.containers.values() for each in own.wheels}
        for image in lock.images.values():
            names |= dict.fromkeys(image.digests, f"image {image.reference}")
        return names | {each.digest: each.source for each in lock.artifacts.values()}

    def discard_damaged(self) -> list[str]:
        """Read again all that is there; drop what changed and return the names of that."""
        damaged = []
        present = [(digest, name) for digest, name in sorted(self.digests().items()) if self._store.has(digest)]
        for index, (digest, name) in enumerate(present):
            self._reporter.progress("verify", index, len(present), "files")
            try:
                self._store.verify(digest)
            except EdgeError:
                self._store.discard(digest)
                damaged.append(name)
        return damaged

    def fetch(self, *, connections: int = 6, patience: Patience | None = None) -> Fetched:
        """Download, verify and unpack everything that is missing.

        Raises:
            EdgeError: bytes that are not those pinned, a missing local file, too little disk space.
            NeedsNetworkError: the network failed, or no mirror has a file any more.
        """
        self._store.clean_leftovers()
        self._take_local_files()
        self._take_from_folders()
        wanted = [replace(each, urls=tuple(map(self._places.url, each.urls))) for each in self._missing_files()]
        files = partial(download, wanted, self._store, self._reporter, connections=connections, patience=patience)
        fetched = self._all_failures(files, partial(self._fetch_images, connections, patience))
        for artifact in self._lock.artifacts.values():
            if artifact.member and not self._store.has(artifact.digest):
                self._unpack(artifact)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            list(pool.map(lambda package: control(package, self._store), self._lock.packages.values()))
        return fetched

    def _fetch_images(self, connections: int, patience: Patience | None) -> Fetched:
        log = self._reporter.run_log if self._reporter.has_log else None
        places = ImagePlaces(self._mirrors, self._inventory, Registries(patience, log))
        # skopeo itself fetches several layers of an image at a time
        at_once = max(1, min(_IMAGES, connections // 2))
        return fetch_images(self._lock.images.values(), places, self._store, self._reporter, at_once=at_once)

    @staticmethod
    def _all_failures(*works: Callable[[], Fetched]) -> Fetched:
        """Do one after the other even if one fails, so that all that is missing is told at once."""
        total = Fetched()
        wrong: list[Problem] = []
        network: list[Problem] = []
        for work in works:
            try:
                fetched = work()
            except NeedsNetworkError as error:
                network += error.problems
            except EdgeError as error:
                wrong += error.problems
            else:
                total = Fetched(total.files + fetched.files, total.received + fetched.received)
        if wrong:
            raise EdgeError(wrong + network)
        if network:
            raise NeedsNetworkError(network)
        return total

    def _take_from_folders(self) -> None:
        """Take what a mirror in a folder has.

        Raises:
            EdgeError: it lacks files, or has others than those pinned; all of them.
        """
        problems = Problems()
        for wanted in self._missing_files():
            for url in wanted.urls:
                with problems.collecting():
                    if path := self._places.path(url):
                        self._store.add_file(path, wanted.digest)
                        break
        problems.raise_if_any()

    def _take_local_files(self) -> None:
        for artifact in self._lock.artifacts.values():
            if not artifact.urls and not self._store.has(artifact.digest):
                take_local(artifact, self._inventory, self._store)

    def _unpack(self, artifact: Artifact) -> None:
        archive = self._store.path(artifact.archive_digest)
        name = f"{artifact.source} ({artifact.member})"
        extract_member(
            archive, artifact.member, name, lambda stream: self._store.add_stream(stream, artifact.digest, name)
        )

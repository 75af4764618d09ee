"""From what a site asks for to what it is built from: the new lock, as little different from the old one as can be."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.exits import NeedsNetworkError
from edgewright.fetching import Fetching
from edgewright.image_discovery import images_of
from edgewright.image_manifest import Platform
from edgewright.image_places import ImagePlaces
from edgewright.lockfile import Lock
from edgewright.repository import repository_of
from edgewright.sources.artifacts import resolve_artifact
from edgewright.sources.debian import KEYRING, Apt
from edgewright.sources.images import resolve_image
from edgewright.sources.kubernetes import resolve_published
from edgewright.sources.local_file import is_local
from edgewright.sources.wheels import resolve_wheels
from edgewright.tools.process import end_all
from edgewright.tools.skopeo import Registries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edgewright.http_retry import Patience
    from edgewright.pins import Artifact, Container, Image
    from edgewright.reporter import Reporter
    from edgewright.resolve_request import Request
    from edgewright.store import Store

_AT_ONCE = 6  # images that are looked up at a time


class Resolver:
    """Makes a new lock out of an old one and a request.

    Without ``upgrade`` every pin that still answers the request stays, byte for byte, even if the mirror has something
    newer; a part whose request did not change is not looked up at all. With it, everything is looked up anew.

    Args:
        store: takes what has to be read to be pinned (wheels with models in them).
        apt_root: folder for apt's own state.
        reporter: told of the steps.
        upgrade: do not hold on to old pins.
        keyring: keys that may sign the Debian archives.
        patience: how long registries are asked.
    """

    def __init__(
        self,
        store: Store,
        apt_root: Path,
        reporter: Reporter,
        *,
        upgrade: bool = False,
        keyring: Path = KEYRING,
        patience: Patience | None = None,
    ) -> None:
        self._store = store
        self._apt_root = apt_root
        self._reporter = reporter
        self._upgrade = upgrade
        self._keyring = keyring
        self._patience = patience
        self._wrong: list[Problem] = []
        self._unreachable: list[Problem] = []

    def relock(self, old: Lock, request: Request) -> Lock:
        """Return the new lock.

        Raises:
            EdgeError: everything that cannot be pinned, of all kinds.
            NeedsNetworkError: only the network is in the way.
        """
        new = old
        with self._collecting(), self._reporter.step("Debian packages"):
            new = self._packages(new, request)
        containers: dict[str, Container] = {}
        for name in sorted(request.containers):
            with self._collecting():
                containers[name] = self._wheels(old, name, request.containers[name])
        artifacts: dict[str, Artifact] = {}
        for source in sorted(request.artifacts):
            with self._collecting():
                artifacts[source] = self._artifact(old, source, request)
        images = self._images(old, request, artifacts)
        if self._wrong:
            raise EdgeError(self._wrong + self._unreachable)
        if self._unreachable:
            raise NeedsNetworkError(self._unreachable)
        return replace(new, containers=containers, artifacts=artifacts, images=images)

    @contextmanager
    def _collecting(self) -> Iterator[None]:
        try:
            yield
        except NeedsNetworkError as error:
            self._unreachable += error.problems
        except EdgeError as error:
            self._wrong += error.problems

    def _packages(self, old: Lock, request: Request) -> Lock:
        answered = {name: set(tree.requested) for name, tree in old.trees.items()}
        if not self._upgrade and all(answered.get(name) == set(asked) for name, asked in request.trees.items()):
            trees = {name: old.trees[name] for name in request.trees}
            used = {package for tree in trees.values() for package in tree.packages}
            return replace(old, trees=trees, packages={name: old.packages[name] for name in used})
        with Apt(self._apt_root, old.distribution, self._keyring, self._log) as apt:
            held = [] if self._upgrade else list(old.packages.values())
            apt.prefer(held, self._repository(old) if held else None)
            apt.update()
            found = apt.resolve(request.trees)
        snapshots: tuple[str, ...] = (found.snapshot,)
        if found.packages == old.packages:
            snapshots = old.distribution.snapshots
        elif found.gone:  # only the older state still has them
            snapshots = tuple(dict.fromkeys((found.snapshot, *old.distribution.snapshots)))
        distribution = replace(old.distribution, snapshots=snapshots)
        return replace(old, distribution=distribution, trees=found.trees, packages=found.packages)

    @property
    def _log(self) -> Path | None:
        return self._reporter.run_log if self._reporter.has_log else None

    def _repository(self, old: Lock) -> Path | None:
        """Offer apt what was fetched before: the mirror may have dropped those versions."""
        stored = [package for package in old.packages.values() if self._store.has(package.digest)]
        folder = self._apt_root / "kept-packages"
        shutil.rmtree(folder, ignore_errors=True)
        return repository_of(stored, self._store, folder) if stored else None

    def _wheels(self, old: Lock, name: str, lines: list[str]) -> Container:
        locked = old.containers.get(name)
        if locked and not self._upgrade and set(locked.requested) == set(lines):
            return locked
        kept = locked.wheels if locked and not self._upgrade else ()
        with self._reporter.step(f"Python packages of container {name}"):
            return resolve_wheels(f"container {name}", lines, kept)

    def _artifact(self, old: Lock, source: str, request: Request) -> Artifact:
        locked = old.artifacts.get(source)
        if locked and not self._upgrade and not is_local(source):
            return locked
        where, places = request.artifacts[source], request.places
        with self._reporter.step(source):
            if source in request.checksums:
                sums, architecture = request.checksums[source], old.distribution.architecture
                return resolve_published(source, sums, architecture, where, places, self._store, self._reporter)
            return resolve_artifact(source, where, request.inventory, self._store, self._reporter, places)

    def _images(self, old: Lock, request: Request, artifacts: Mapping[str, Artifact]) -> dict[str, Image]:
        """Pin what the inventory names and what the pinned documents name."""
        wanted = dict(request.all_images)
        for source in request.documents:
            if source in artifacts:
                with self._collecting():
                    found = self._named_in(artifacts[source], request)
                    wanted = {**found, **wanted}
        if not wanted:
            return {}
        platform = Platform.of_debian(old.distribution.architecture)
        kept = {
            reference: image
            for reference, image in old.images.items()
            if reference in wanted and image.platform == str(platform) and not self._upgrade
        }
        registries = Registries(self._patience, self._log)
        places = ImagePlaces(request.mirrors, request.inventory, registries)
        resolved = dict(kept)
        guard = threading.Lock()

        def resolve(reference: str) -> None:
            with self._collecting():
                where = f"{wanted[reference]}: {reference}"
                image = resolve_image(reference, where, platform, places, self._store)
                with guard:
                    resolved[reference] = image
                    self._reporter.progress("look up", len(resolved) - len(kept), len(missing), "images")

        missing = sorted(set(wanted) - set(kept))
        if missing:
            step = self._reporter.step(f"container images: {len(missing)}")
            with self._collecting(), step, ThreadPoolExecutor(_AT_ONCE) as pool:
                try:
                    list(pool.map(resolve, missing))
                except BaseException:
                    registries.stop()
                    pool.shutdown(wait=False, cancel_futures=True)
                    end_all()
                    raise
                if len(resolved) < len(wanted):
                    raise EdgeError([])  # the step failed; why, is collected already
        return resolved

    def _named_in(self, artifact: Artifact, request: Request) -> dict[str, str]:
        if not self._store.has(artifact.digest):  # pinned by an earlier run, perhaps on another machine
            lock = Lock(artifacts={artifact.source: artifact})
            Fetching(lock, self._store, request.inventory, self._reporter, request.mirrors).fetch()
        content = self._store.path(artifact.digest).read_bytes()
        return images_of(content, artifact.source, request.artifacts[artifact.source])

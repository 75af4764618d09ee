"""Container images that a lock pins and the store lacks: several at a time, each byte once, resumed by files."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.image_name import ImageName

from edgewright.download import Fetched, Wanted, check_space
from edgewright.exits import NeedsNetworkError
from edgewright.http_retry import Permanent, Transient
from edgewright.image_manifest import read_manifest
from edgewright.sources.images import remedy_of
from edgewright.tools.process import end_all
from edgewright.tools.skopeo import Damaged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgewright.image_places import ImagePlaces
    from edgewright.pins import Image
    from edgewright.reporter import Reporter
    from edgewright.store import Store

_TICK = 0.2  # seconds between two looks at how much has come


def missing_images(images: Iterable[Image], store: Store) -> list[Wanted]:
    """Return what each image lacks in the store, as one entry an image; a layer that several share counts once."""
    found = []
    counted: set[str] = set()
    for image in images:
        lacking = [blob for blob in image.blobs if not store.has(blob.digest) and blob.digest not in counted]
        counted.update(blob.digest for blob in lacking)
        if all(store.has(digest) for digest in image.digests):
            continue
        found.append(Wanted(f"image {image.reference}", image.manifest, sum(blob.size for blob in lacking), ()))
    return found


def fetch_images(
    images: Iterable[Image], places: ImagePlaces, store: Store, reporter: Reporter, *, at_once: int = 3
) -> Fetched:
    """Bring whatever of the images the store lacks into it.

    Raises:
        EdgeError: not enough disk space; or bytes with another digest than pinned (all such images).
        NeedsNetworkError: registries or the network failed, or have it no more (all such images).
    """
    todo = [image for image in images if any(not store.has(digest) for digest in image.digests)]
    size = sum(each.size for each in missing_images(todo, store))
    if not todo:
        return Fetched()
    check_space(store, size)
    run = _Run(todo, places, store)
    run.go(at_once, size, reporter)
    if run.other:
        raise run.other[0]
    if run.wrong:
        raise EdgeError(sorted([*run.wrong, *run.network]))
    if run.network:
        raise NeedsNetworkError(sorted(run.network))
    return run.fetched


class _Run:
    """Two images that both lack a layer are not fetched at the same time, so that it comes once."""

    def __init__(self, todo: list[Image], places: ImagePlaces, store: Store) -> None:
        self.places = places
        self.store = store
        self.fetched = Fetched()
        self.wrong: list[Problem] = []
        self.network: list[Problem] = []
        self.other: list[BaseException] = []
        # Large images first: a big one begun last would end alone.
        self._waiting = sorted(todo, key=lambda image: -image.size)
        self._lacking = {blob.digest: blob.size for each in todo for blob in each.blobs if not store.has(blob.digest)}
        self._coming: set[str] = set()
        self._changed = threading.Condition()
        self._stopped = False

    def go(self, at_once: int, size: int, reporter: Reporter) -> None:
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                threads[0].join(_TICK / 2)
                time.sleep(_TICK / 2)
                reporter.progress("download", min(self._arrived(), size), size)
        except BaseException:
            self._stopped = True
            self.places.registries.stop()
            end_all()
            raise

    def _arrived(self) -> int:
        whole = sum(size for digest, size in self._lacking.items() if self.store.has(digest))
        return whole + self.store.collected()

    def _work(self) -> None:
        while (image := self._next()) is not None:
            try:
                self._bring(image)
            except Damaged as reason:
                remedy = "Do not trust the registry or mirror: it gives other bytes than when the site was locked."
                what = "the bytes are not those pinned in the lock"
                self.wrong.append(Problem(f"image {image.reference}", what, str(reason), remedy=remedy))
            except (Permanent, Transient) as reason:
                self.network.append(_problem(image, reason))
            except EdgeError as error:
                self.wrong += error.problems
            except BaseException as error:
                self.other.append(error)
                self._stopped = True
            finally:
                with self._changed:
                    self._coming.difference_update(image.digests)
                    self._changed.notify_all()

    def _next(self) -> Image | None:
        with self._changed:
            while self._waiting and not self._stopped:
                for index, image in enumerate(self._waiting):
                    lacking = {digest for digest in image.digests if not self.store.has(digest)}
                    if not lacking & self._coming:
                        self._coming |= lacking
                        return self._waiting.pop(index)
                self._changed.wait()
        return None

    def _bring(self, image: Image) -> None:
        name = ImageName.parse(image.reference)
        for digest in filter(None, (image.index, image.manifest)):
            if not self.store.has(digest):
                raw = self.places.manifest(replace(name, digest=digest))
                self.store.add_stream(io.BytesIO(raw), digest, image.reference)
        manifest = read_manifest(self.store.path(image.manifest).read_bytes(), image.reference)
        name = replace(name, digest=image.manifest)
        missing = sum(blob.size for blob in image.blobs if not self.store.has(blob.digest))
        with self.store.workspace(image.manifest) as folder:
            if not self.store.has(manifest.config.digest):
                raw = self.places.config(name, manifest.config.digest)
                self.store.add_stream(io.BytesIO(raw), manifest.config.digest, image.reference)
            layers = list(dict.fromkeys((each.digest, each.size) for each in manifest.layers))
            if any(not self.store.has(digest) for digest, _ in layers):
                self.places.bring(name, layers, self.store, folder)
        with self._changed:
            self.fetched.files += 1
            self.fetched.received += missing


def _problem(image: Image, reason: Permanent | Transient) -> Problem:
    name = ImageName.parse(image.reference)
    if isinstance(reason, Transient):
        what = f"{name.registry} failed while this was fetched"
        remedy = (
            "Check the network and the proxy, then run 'edgewright fetch' again: it goes on where it stopped. Without a"
            " network: 'edgewright artifacts import' what another machine exported."
        )
    elif "unknown" in str(reason) or "404" in str(reason) or "not found" in str(reason):
        what, remedy = f"{name.registry} has it no more", "Run 'edgewright lock --upgrade' to pin what it has now."
    else:
        what, remedy = f"{name.registry} does not give it", remedy_of(reason, name)
    return Problem(f"image {image.reference}", what, str(reason), remedy=remedy)

"""Where the bytes of a container image come from: its registry, a mirror of that, or a folder on a stick."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_mirror import Located, Mirrors
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright import oci_folder
from edgewright.store import digest_of_stream
from edgewright.tools.skopeo import Damaged, Registries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ansible_collections.edgewright.edge.plugins.module_utils.image_name import ImageName

    from edgewright.store import Store


class ImagePlaces:
    """Reads images from wherever the site's mirrors say.

    Methods raise ``Permanent`` (with ``Damaged``, for other bytes than asked for) and ``Transient``, as ``Registries``.
    Relative folders of mirrors are meant below ``inventory``.
    """

    def __init__(self, mirrors: Mirrors, inventory: Path, registries: Registries) -> None:
        self._mirrors = mirrors
        self._inventory = inventory
        self.registries = registries

    def manifest(self, name: ImageName) -> bytes:
        """Return the index or manifest behind a name; by its digest if the name has one."""
        located = self._locate(name)
        if located.kind == "oci":
            layout = self._layout(name, located)
            digest = name.digest or oci_folder.find(layout, name.tagged, name.tag)
            raw = oci_folder.blob_path(layout, digest).read_bytes()
        else:
            raw = self.registries.manifest(located.address, insecure=located.insecure)
            digest = name.digest
        found, _ = digest_of_stream(io.BytesIO(raw))
        if digest and found != digest:
            raise Damaged(f"the manifest of {name} has the digest {found}")
        return raw

    def config(self, name: ImageName, digest: str) -> bytes:
        """Return the configuration of a platform's image; ``name`` has its manifest's digest, ``digest`` is its own."""
        located = self._locate(name)
        if located.kind == "oci":
            raw = oci_folder.blob_path(self._layout(name, located), digest).read_bytes()
        else:
            raw = self.registries.config(located.address, insecure=located.insecure)
        found, _ = digest_of_stream(io.BytesIO(raw))
        if found != digest:
            raise Damaged(f"the configuration of {name} has the digest {found}, not {digest}")
        return raw

    def bring(self, name: ImageName, layers: Sequence[tuple[str, int]], store: Store, folder: Path) -> None:
        """Bring the layers of a platform's image (digest and size) that the store lacks into it.

        ``name`` has its manifest's digest; ``folder`` is the image's ``Store.workspace``, where whatever of them an
        earlier run brought is taken up.
        """
        located = self._locate(name)
        if located.kind == "oci":
            layout = self._layout(name, located)
            for digest, _ in layers:
                self._copy(oci_folder.blob_path(layout, digest), digest, store, name)
            return
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / "oci", ignore_errors=True)
        _take(blobs, layers, store)
        missing = [(digest, size) for digest, size in layers if not store.has(digest)]
        if not missing:
            return
        for digest, _ in layers:  # skopeo does not ask for what lies there
            if store.has(digest):
                _lend(store.path(digest), blobs / digest.removeprefix("sha256:"))
        try:
            size = sum(size for _, size in missing)
            self.registries.copy(located.address, folder, size=size, insecure=located.insecure)
        finally:
            _take(blobs, layers, store)
        if lost := [digest for digest, _ in layers if not store.has(digest)]:
            raise Damaged(f"skopeo did not bring {', '.join(lost)} of {name}")

    @staticmethod
    def _copy(path: Path, digest: str, store: Store, name: ImageName) -> None:
        try:
            store.add_file(path, digest)
        except EdgeError as error:
            raise Damaged(f"{path} of {name} has the digest {error.problems[0].found}") from error

    def _locate(self, name: ImageName) -> Located:
        if name.digest:
            name = replace(name, tag="")  # skopeo takes one of them only
        located = self._mirrors.locate(str(name)) or Located("registry", str(name))
        if located.kind not in {"registry", "oci"}:
            expected = "a registry or oci:…"
            raise EdgeError(Problem("edge_mirrors", f"{located.address} holds no container images", expected=expected))
        return located

    def _layout(self, name: ImageName, located: Located) -> Path:
        written = located.address.removesuffix(f"@{name.digest}" if name.digest else f":{name.tag}")
        folder = self._inventory / written
        top = next(
            self._inventory / mirror.location
            for mirror in sorted(self._mirrors.entries, key=lambda mirror: -len(mirror.prefix))
            if mirror.kind == "oci" and written.startswith(mirror.location)
        )
        return oci_folder.layout_of(folder, top)


def _take(blobs: Path, layers: Sequence[tuple[str, int]], store: Store) -> None:
    for digest, _ in layers:
        path = blobs / digest.removeprefix("sha256:")
        if not path.exists():
            continue
        if store.has(digest):
            path.unlink()
        else:
            store.take(path, digest)


def _lend(stored: Path, place: Path) -> None:
    """Show skopeo a file of the store: it only looks whether the name is there."""
    if place.exists():
        return
    try:
        os.link(stored, place)
    except OSError:  # a file system without hard links
        shutil.copyfile(stored, place)

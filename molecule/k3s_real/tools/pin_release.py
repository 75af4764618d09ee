#!/usr/bin/env python3
"""Give the scenario's site a lock and a store with the newest release at hand, and print its version.

Usage: ``pin_release.py INVENTORY_FOLDER CACHE_FOLDER [kubevirt] [SOURCE=FILE | IMAGE]…``. As ``edgewright lock`` and
``fetch`` would have it: the program by its published address and checksum, each image of the release's archive by its
digest, files as the inventory names them; and an image made on the spot for each name of one that is given. If there is
a release before it, its program is pinned too. The versions are printed: of k3s, of the one before it, or of KubeVirt.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import k3s_url, kubevirt_url
from edgewright.lockfile import LOCK_NAME, Artifact, Image, Lock
from edgewright.pins import Blob
from edgewright.store import Store
from release_at_hand import IMAGES, KUBEVIRT_IMAGES, KUBEVIRT_MANIFEST, kubevirt_releases, releases

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "k3s" / "tools"))
from release import image, stored

PLATFORM = {"architecture": "amd64", "os": "linux"}
INDEX = "application/vnd.oci.image.index.v1+json"


def published(release: Path, name: str) -> Path:
    """Return a file of the release whose bytes are those of its list of checksums."""
    lines = (release / "sha256sum-amd64.txt").read_text().splitlines()
    sums = {asset: digest for digest, asset in (line.split() for line in lines)}
    path = release / name
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sums[name]:
        raise SystemExit(f"{path}: is damaged; found {found}; expected {sums[name]}")
    return path


def images(archive: Path, store: Store) -> dict[str, Image]:
    """Pin the images of a release's archive, an OCI layout."""
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["tar", "--zstd", "-xf", archive, "-C", work], check=True)
        layout = Path(work)
        entries = json.loads((layout / "index.json").read_text())["manifests"]
        names = [entry["annotations"]["io.containerd.image.name"] for entry in entries]
        return {name: pinned(layout, store, name, entry) for name, entry in zip(names, entries, strict=True)}


def pinned(layout: Path, store: Store, name: str, entry: dict[str, object]) -> Image:
    """Take one image of a layout into the store."""

    def take(digest: str) -> tuple[bytes, int]:
        content = (layout / "blobs" / digest.replace(":", "/")).read_bytes()
        assert store.adopt_stream(io.BytesIO(content))[0] == digest
        return content, len(content)

    index, digest = None, str(entry["digest"])
    raw, size = take(digest)
    if entry["mediaType"] == INDEX:
        index = digest
        (digest,) = [
            each["digest"] for each in json.loads(raw)["manifests"] if PLATFORM.items() <= each["platform"].items()
        ]
        raw, more = take(digest)
        size += more
    manifest = json.loads(raw)
    blobs = tuple(Blob(each["digest"], take(each["digest"])[1]) for each in (manifest["config"], *manifest["layers"]))
    return Image(name, "linux/amd64", index, digest, size + sum(blob.size for blob in blobs), blobs)


def main() -> None:
    """Store and pin."""
    inventory, cache = Path(sys.argv[1]), Path(sys.argv[2])
    found, given = releases()[:2], sys.argv[3:]
    assert found, "tools/release_at_hand.py says why"
    versions = [release.name for release in found]
    store = Store(cache / "store")
    files = dict(argument.split("=", 1) for argument in given if "=" in argument)
    for release in found:
        files[k3s_url(release.name, "k3s")] = str(published(release, "k3s"))
    pins = images(published(found[0], IMAGES), store)
    if "kubevirt" in given:
        given.remove("kubevirt")
        kubevirt = kubevirt_releases()[0]
        files[kubevirt_url(kubevirt.name)] = str(published(kubevirt, KUBEVIRT_MANIFEST))
        pins |= images(published(kubevirt, KUBEVIRT_IMAGES), store)
        versions = [found[0].name, kubevirt.name]
    artifacts = {}
    for source, path in files.items():
        digest, size = stored(store, Path(path).read_bytes())
        artifacts[source] = Artifact(source=source, digest=digest, size=size)
    pins |= {name: image(store, name) for name in given if "=" not in name}
    Lock(artifacts=artifacts, images=pins).dump(inventory / LOCK_NAME)
    print(*versions, end="")


if __name__ == "__main__":
    main()

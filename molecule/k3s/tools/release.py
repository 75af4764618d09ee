#!/usr/bin/env python3
"""Give a scenario a site's lock and store: the stand-in as two versions of k3s, images, a manifest of the site's own.

Usage: ``release.py INVENTORY_FOLDER CACHE_FOLDER``. What ``edgewright lock`` and ``fetch`` would have done online is
done here with bytes made on the spot: the images are real OCI images with one small layer.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import k3s_url
from edgewright.lockfile import LOCK_NAME, Artifact, Image, Lock
from edgewright.pins import Blob
from edgewright.store import Store

VERSIONS = ("v1.36.5+k3s1", "v1.36.6+k3s1")
IMAGES = (
    "docker.io/rancher/mirrored-coredns-coredns:1.14.4",
    "docker.io/rancher/local-path-provisioner:v0.0.36",
    "docker.io/rancher/mirrored-metrics-server:v0.8.1",
    "docker.io/library/dashboard:1.0.0",
)
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: dashboard, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: dashboard}}
  template:
    metadata: {labels: {app: dashboard}}
    spec: {containers: [{name: dashboard, image: "docker.io/library/dashboard:1.0.0"}]}
"""
STAND_IN = Path(__file__).resolve().parents[1] / "stand-in" / "make_k3s.py"


def stored(store: Store, content: bytes) -> tuple[str, int]:
    """Put bytes into the store; returns digest and size."""
    return store.adopt_stream(io.BytesIO(content))


def image(store: Store, reference: str) -> Image:
    """Make an image with one layer that has the image's name in a file, behind an index of one platform."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        member = tarfile.TarInfo("name")
        member.size = len(reference)
        archive.addfile(member, io.BytesIO(reference.encode()))
    packed = gzip.compress(layer.getvalue(), mtime=0)
    diff_id = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    ).encode()
    blobs = [stored(store, config), stored(store, packed)]
    kinds = ("config.v1+json", "layer.v1.tar+gzip")
    described = [
        {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": size}
        for kind, (digest, size) in zip(kinds, blobs, strict=True)
    ]
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": kind, "config": described[0], "layers": described[1:]}
    ).encode()
    digest, size = stored(store, manifest)
    platform = {"architecture": "amd64", "os": "linux"}
    entry = {"mediaType": kind, "digest": digest, "size": size, "platform": platform}
    kind = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}).encode()
    index_digest, index_size = stored(store, index)
    total = index_size + size + sum(size for _, size in blobs)
    pins = tuple(Blob(digest, size) for digest, size in blobs)
    return Image(reference, "linux/amd64", index_digest, digest, total, pins)


def main() -> None:
    """Make, store and pin."""
    inventory, cache = Path(sys.argv[1]), Path(sys.argv[2])
    store = Store(cache / "store")
    with tempfile.TemporaryDirectory() as work:
        program = Path(work) / "k3s"
        subprocess.run([sys.executable, STAND_IN, program], check=True)
        content = program.read_bytes()
    pins = {k3s_url(version, "k3s"): stored(store, content) for version in VERSIONS}
    pins["file:manifests/dashboard.yml"] = stored(store, MANIFEST.encode())
    # Damaged and foreign ones have their own versions' names.
    foreign = content[:18] + b"\xb7" + content[19:]
    pins[k3s_url("v1.36.4+k3s1", "k3s")] = stored(store, foreign)
    broken = content + b"broken"
    digest, size = stored(store, broken)
    path = store.path(digest)
    path.chmod(0o600)
    path.write_bytes(b"\x7fELG" + broken[4:])
    pins[k3s_url("v1.36.3+k3s1", "k3s")] = (digest, size)
    artifacts = {source: Artifact(source=source, digest=digest, size=size) for source, (digest, size) in pins.items()}
    images = {reference: image(store, reference) for reference in IMAGES}
    Lock(artifacts=artifacts, images=images).dump(inventory / LOCK_NAME)


if __name__ == "__main__":
    main()

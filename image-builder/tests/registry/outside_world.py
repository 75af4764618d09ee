"""All that a k3s site's lock comes from: the releases' pages and the registries, behind one front on the loopback."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgewright.fetching import Fetching
from edgewright.http_retry import Patience
from edgewright.lockfile import Lock
from edgewright.reporter import Reporter
from edgewright.resolve import Resolver
from edgewright.resolve_request import Request, request_of
from edgewright.site import load_site
from edgewright.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Front, Maker

K3S = "https://github.com/k3s-io/k3s/releases/download/v1.36.5%2Bk3s1/"
BINARY = b"\x7fELF k3s" * 30_000
OPERATOR = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: virt-operator, namespace: kubevirt}
spec:
  template:
    spec:
      containers:
        - name: virt-operator
          image: quay.io/kubevirt/virt-operator:v1.9.0
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: example}
spec: {operators: [=, "!="]}
"""
MANIFEST = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: report}
spec:
  schedule: "0 4 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          initContainers: [{name: first, image: "library/prepare:2"}]
          containers: [{name: report, image: "registry.example/shop/report:1"}]
"""


class World:
    """Everything outside: a release page, KubeVirt's, and registries, all of it behind one front."""

    def __init__(self, folder: Path, front: Front, make_image: Maker) -> None:
        self.folder = folder / "site"
        self.front = front
        self.store = Store(folder / "store")
        self.made: dict[str, Any] = {}
        (self.folder / "group_vars").mkdir(parents=True)
        (self.folder / "manifests").mkdir()
        (self.folder / "hosts.yml").write_text("all:\n  children:\n    k3s_server:\n      hosts:\n        box:\n")
        (self.folder / "manifests" / "report.yml").write_text(MANIFEST)
        base = "/k3s/v1.36.5+k3s1"
        checksum = hashlib.sha256(BINARY).hexdigest()
        front.files |= {
            f"{base}/k3s": BINARY,
            f"{base}/k3s-images.txt": b"docker.io/rancher/mirrored-pause:3.6\ndocker.io/rancher/klipper-lb:v0.4.17\n",
            f"{base}/sha256sum-amd64.txt": f"{checksum}  k3s\n{'a' * 64}  k3s-airgap-images-amd64.tar\n".encode(),
            "/kubevirt/v1.9.0/kubevirt-operator.yaml": OPERATOR.encode(),
        }
        for name in (
            "hub/rancher/mirrored-pause:3.6", "hub/rancher/klipper-lb:v0.4.17", "hub/library/prepare:2",
            "hub/library/busybox:1.37.0", "example/shop/report:1",
        ):  # fmt: skip
            repository, _, tag = name.rpartition(":")
            self.made[name] = make_image(repository, tag, layers=("base", name))
        self.write()

    def write(self, **kubernetes: Any) -> None:
        chosen = {
            "k3s": "v1.36.5+k3s1", "kubevirt": None, "manifests": ["file:manifests/report.yml"],
            "images": ["busybox:1.37.0"],
        } | kubernetes  # fmt: skip
        own, github = self.front.address, "https://github.com"
        mirrors = [
            {"prefix": f"{github}/k3s-io/k3s/releases/download/", "location": f"{self.front.url}/k3s/"},
            {"prefix": f"{github}/kubevirt/kubevirt/releases/download/", "location": f"{self.front.url}/kubevirt/"},
            {"prefix": "docker.io/", "location": f"{own}/hub/"},
            {"prefix": "quay.io/", "location": f"{own}/quay/"},
            {"prefix": "registry.example/", "location": f"{own}/example/"},
        ]  # fmt: skip
        self.variables: dict[str, Any] = {
            "edge_site": "shop", "edge_runtime": "k3s", "edge_kubernetes": chosen, "edge_mirrors": mirrors,
        }  # fmt: skip
        self.save()

    def save(self) -> None:
        lines = [f"{key}: {json.dumps(value)}" for key, value in self.variables.items()]
        (self.folder / "group_vars" / "all.yml").write_text("\n".join(lines) + "\n")

    def request(self) -> Request:
        """What the site asks for, without Debian packages: those have tests of their own."""
        return replace(request_of(load_site(self.folder)), trees={}, containers={})

    def lock(self, old: Lock | None = None, *, upgrade: bool = False) -> Lock:
        patience = Patience(attempts=2, backoff=0.01, longest=1)
        resolver = Resolver(self.store, self.folder / "apt", _quiet(), upgrade=upgrade, patience=patience)
        return resolver.relock(old or Lock(), self.request())

    def fetching(self, lock: Lock, store: Store | None = None) -> Fetching:
        return Fetching(lock, store or self.store, self.folder, _quiet(), self.request().mirrors)


def _quiet() -> Reporter:
    return Reporter(stream=io.StringIO(), output=io.StringIO())

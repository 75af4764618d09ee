"""A Kubernetes API over HTTP on loopback: keeps objects, merges patches, evicts by budget, ends pods after a moment.

What KubeVirt's controllers do is here too: a VirtualMachine that is halted loses its launcher, and one that can migrate
is moved when its launcher is evicted (which is refused with 429 until then, as KubeVirt's webhook does).
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KUBEVIRT = "/apis/kubevirt.io/v1"


@dataclass
class Cluster:
    """The objects by path, and what was asked.

    Attributes:
        budget: prefix of pods that no eviction is allowed for, while set.
        stubborn: names of pods that never end.
        webhooks_down: how many patches of virtual machines still fail for want of a webhook.
        pause: seconds that a pod takes to end.
        finalizers: paths of objects that stay when they are deleted.
        page: how many objects a list gives at most at a time.
    """

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    budget: str = ""
    stubborn: set[str] = field(default_factory=set)
    webhooks_down: int = 0
    pause: float = 0.2
    finalizers: set[str] = field(default_factory=set)
    page: int = 2
    lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, path: str, **content: Any) -> dict[str, Any]:
        """Add an object at a path; name and namespace come from it."""
        parts = path.split("/")
        meta = {"name": parts[-1], **content.pop("metadata", {})}
        if "namespaces" in parts:
            meta["namespace"] = parts[parts.index("namespaces") + 1]
        self.objects[path] = {"metadata": meta, **content}
        return self.objects[path]

    def node(
        self, name: str, *, ready: bool = True, labels: dict[str, str] | None = None, **spec: Any
    ) -> dict[str, Any]:
        """Add a node."""
        info = {"kubeletVersion": "v1.36.5+k3s1"}
        conditions = [
            {"type": "Ready", "status": str(ready), "message": "kubelet stopped posting" if not ready else ""}
        ]
        return self.add(
            f"/api/v1/nodes/{name}",
            metadata={"labels": labels or {}},
            spec=spec,
            status={"conditions": conditions, "nodeInfo": info},
        )

    def pod(
        self, name: str, owner: str = "ReplicaSet", node: str = "a", *, phase: str = "Running", **spec: Any
    ) -> None:
        """Add a pod; ``owner`` is the kind of its controller, or nothing, or ``kind/name``."""
        kind, _, of = owner.partition("/")
        meta: dict[str, Any] = {}
        if owner:
            meta["ownerReferences"] = [{"kind": kind, "name": of or name, "controller": True}]
        if kind == "Node":
            meta["annotations"] = {"kubernetes.io/config.mirror": "x"}
        conditions = [{"type": "Ready", "status": str(phase == "Running")}]
        self.add(
            f"/api/v1/namespaces/shop/pods/{name}",
            metadata=meta,
            spec={"nodeName": node, **spec},
            status={"phase": phase, "conditions": conditions},
        )

    def machine(self, name: str, *, migratable: bool, node: str = "a", owned: bool = True, **spec: Any) -> None:
        """Add a virtual machine that runs on a node."""
        where = f"{_KUBEVIRT}/namespaces/shop"
        if owned:
            self.add(f"{where}/virtualmachines/{name}", spec=spec or {"runStrategy": "Always"}, status={"ready": True})
        condition = {"type": "LiveMigratable", "status": str(migratable), "message": "its disk is on this node only"}
        self.add(
            f"{where}/virtualmachineinstances/{name}",
            spec={"evictionStrategy": "LiveMigrateIfPossible"},
            status={"nodeName": node, "conditions": [condition], "phase": "Running"},
        )
        self.pod(
            f"virt-launcher-{name}", f"VirtualMachineInstance/{name}", node, volumes=[{"name": "v", "emptyDir": {}}]
        )

    def launcher(self, name: str) -> str:
        return f"/api/v1/namespaces/shop/pods/virt-launcher-{name}"

    # What answers

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        with self.lock:
            self.asked.append((method, path, body))
            if path.endswith("/eviction"):
                return self._evict(path.removesuffix("/eviction"))
            if path.startswith("/apis/subresources."):
                self._run(path.replace("subresources.", "").removesuffix("/start"))
                return 202, {}
            if method == "GET" and "limit" in query:
                return self._list(path, query)
            if path not in self.objects:
                return 404, {"message": f"{path} not found"}
            if method == "DELETE":
                return 200, self.objects[path] if path in self.finalizers else self.objects.pop(path)
            if method == "PATCH":
                if "kubevirt.io" in path and self.webhooks_down:
                    self.webhooks_down -= 1
                    return 500, {"message": "failed calling webhook: connection refused"}
                _merge(self.objects[path], body)
                if "/virtualmachines/" in path:
                    self._follow(path)
            return 200, self.objects[path]

    def _list(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        prefix, _, kind = path.rpartition("/")
        found = [
            item
            for where, item in sorted(self.objects.items())
            if where.startswith(f"{prefix}/") and where.split("/")[-2] == kind
        ]
        if not found and ("kubevirt" in path or "cdi" in path):
            return 404, {"message": "the server could not find the requested resource"}
        for selector in query.get("fieldSelector", []):
            name, _, value = selector.partition("=")
            assert name == "spec.nodeName"
            found = [item for item in found if item["spec"].get("nodeName") == value]
        for selector in query.get("labelSelector", []):
            wanted = dict(term.split("=") for term in selector.split(","))
            found = [item for item in found if wanted.items() <= item["metadata"].get("labels", {}).items()]
        start = int(query.get("continue", ["0"])[0])
        page = {"items": found[start : start + self.page], "metadata": {}}
        if start + self.page < len(found):
            page["metadata"] = {"continue": str(start + self.page)}
        return 200, page

    def _evict(self, path: str) -> tuple[int, Any]:
        pod = self.objects.get(path)
        if pod is None:
            return 404, {"message": "not found"}
        if self.budget and pod["metadata"]["name"].startswith(self.budget):
            return 429, {"message": "Cannot evict pod as it would violate the pod's disruption budget."}
        owner = pod["metadata"].get("ownerReferences", [{}])[0]
        if owner.get("kind") == "VirtualMachineInstance":
            instance = self.objects[f"{_KUBEVIRT}/namespaces/shop/virtualmachineinstances/{owner['name']}"]
            if instance["status"]["conditions"][0]["status"] == "True":
                instance["status"]["nodeName"] = "b"
                self._end(path)
                return 429, {"message": "Eviction triggered evacuation of VMI"}
        self._end(path)
        return 201, {"status": "Success"}

    def _end(self, path: str) -> None:
        pod = self.objects[path]
        if "deletionTimestamp" not in pod["metadata"]:
            pod["metadata"]["deletionTimestamp"] = "2026-11-23T02:15:00Z"
            if pod["metadata"]["name"] not in self.stubborn:
                timer = threading.Timer(self.pause, lambda: self.objects.pop(path, None))
                timer.daemon = True
                timer.start()

    def _follow(self, path: str) -> None:
        """Stop or start a virtual machine as its run strategy says."""
        spec, name = self.objects[path]["spec"], path.rpartition("/")[2]
        if spec.get("runStrategy") == "Halted" or spec.get("running") is False:
            self.objects.pop(path.replace("/virtualmachines/", "/virtualmachineinstances/"), None)
            self._end(self.launcher(name))
        elif spec.get("runStrategy") != "Manual":
            self._run(path)

    def _run(self, path: str) -> None:
        self.objects.setdefault(path.replace("/virtualmachines/", "/virtualmachineinstances/"), {"metadata": {}})


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


@contextmanager
def serving(cluster: Cluster, folder: Path) -> Iterator[str]:
    """Serve a cluster; gives the path of a kubeconfig for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            if self.command == "PATCH":
                assert self.headers["Content-Type"] == "application/merge-patch+json"
            url = urlsplit(self.path)
            code, answer = cluster.answer(self.command, url.path, parse_qs(url.query), body)
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 (http.server names them)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        named = {"name": "default"}
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "default",
            "clusters": [{**named, "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{**named, "user": {"token": "t0ken"}}],
            "contexts": [{**named, "context": {"cluster": "default", "user": "default"}}],
        }
        path = folder / "k3s.yaml"
        path.write_text(yaml.safe_dump(kubeconfig))
        yield str(path)
        server.shutdown()

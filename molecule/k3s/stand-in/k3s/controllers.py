"""What a first server does by itself: applies manifests, has pods run where their images are, finds silent nodes.

A joined server only copies what the first one has written.
"""

from __future__ import annotations

import datetime
import hashlib
import threading
import time
from typing import TYPE_CHECKING, Any

import yaml
from k3s.log import info, log
from k3s.resources import ApiError, Resources, now

if TYPE_CHECKING:
    from pathlib import Path

    from k3s.server import Server

_SILENT_SECONDS = 10
_SYSTEM = {
    "coredns": ("deployments", "docker.io/rancher/mirrored-coredns-coredns:1.14.4"),
    "local-storage": ("deployments", "docker.io/rancher/local-path-provisioner:v0.0.36"),
    "metrics-server": ("deployments", "docker.io/rancher/mirrored-metrics-server:v0.8.1"),
}


def start(owner: Server) -> None:
    """Do it all once, then every second in the background."""
    if not owner.leader:
        _write_manifests(owner)
    _once(owner)
    threading.Thread(target=_forever, args=[owner], daemon=True).start()


def _forever(owner: Server) -> None:
    while True:
        time.sleep(1)
        try:
            _once(owner)
        except (OSError, ApiError) as error:
            log("error", f"error syncing: {error}")


def _once(owner: Server) -> None:
    if owner.leader:
        owner.follow()
        return
    _apply(owner)
    _nodes(owner.resources)
    _workloads(owner.resources)


def _write_manifests(owner: Server) -> None:
    """Write k3s's own manifests, as it does at each start."""
    for name, (_, image) in _SYSTEM.items():
        file = owner.folder / "manifests" / f"{name}.yaml"
        if name in owner.settings.get("disable", []):
            file.unlink(missing_ok=True)
            continue
        labels = {"k8s-app": name}
        container = {"name": name, "image": image, "imagePullPolicy": "IfNotPresent"}
        spec = {"replicas": 1, "selector": {"matchLabels": labels}}
        spec["template"] = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        metadata = {"name": name, "namespace": "kube-system"}
        document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
        file.write_text(yaml.safe_dump(document), encoding="utf-8")


def _apply(owner: Server) -> None:
    """Apply the files of the manifests folder; what is already so is left alone."""
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        owner.resources.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    folder = owner.folder / "manifests"
    for file in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml"), *folder.rglob("*.json")]):
        if file.with_name(f"{file.name}.skip").exists():
            continue
        key, stamp = f"/stand-in/applied/{file.relative_to(folder)}", file.stat().st_mtime_ns
        if owner.store.get(key) == stamp:
            continue
        if "_" in file.name:
            log("error", f"Failed to process config: invalid file name {file.name}: a lowercase RFC 1123 subdomain")
            owner.store.put(key, stamp)
            continue
        try:
            for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
                if document:
                    owner.resources.apply(document)
            info(f"Applied manifest at {file}")
            owner.store.put(key, stamp)
            _note(owner.resources, file)
        except (ApiError, yaml.YAMLError, KeyError, TypeError) as error:
            log("error", f"Failed to process config: failed to process {file}: {error}")
            _note(owner.resources, file, f"Applying manifest at {str(file)!r} failed: {error}")


def _note(resources: Resources, file: Path, failure: str = "") -> None:
    """Keep the Addon of a manifest: its checksum once all of it is applied, otherwise an event with the reason."""
    name, addon = file.name.partition(".")[0], {"apiVersion": "k3s.cattle.io/v1", "kind": "Addon"}
    spec = {"source": str(file)}
    if not failure:
        spec["checksum"] = hashlib.sha256(file.read_bytes()).hexdigest()
    resources.apply({**addon, "metadata": {"name": name, "namespace": "kube-system"}, "spec": spec})
    if failure:
        about = {**addon, "name": name, "namespace": "kube-system"}
        event = {"type": "Warning", "reason": "ApplyManifestFailed", "message": failure, "involvedObject": about}
        metadata = {"name": f"{name}.apply", "namespace": "kube-system"}
        resources.apply({"apiVersion": "v1", "kind": "Event", "metadata": metadata, "lastTimestamp": now(), **event})


def _nodes(resources: Resources) -> None:
    nodes = resources.named("v1", "nodes")
    for node in resources.list(nodes, "", {})["items"]:
        condition = node["status"]["conditions"][0]
        beat = datetime.datetime.fromisoformat(condition["lastHeartbeatTime"])
        age = (datetime.datetime.now(datetime.UTC) - beat).total_seconds()
        if age > _SILENT_SECONDS and condition["status"] == "True":
            change = {**condition, "status": "Unknown", "reason": "NodeStatusUnknown"}
            resources.patch(nodes, "", node["metadata"]["name"], {"status": {"conditions": [change]}})


def _ready(node: dict[str, Any]) -> bool:
    return bool(node["status"]["conditions"][0]["status"] == "True")


def _workloads(resources: Resources) -> None:
    """Have a pod for each replica of a deployment and for each node of a daemon set."""
    nodes = resources.list(resources.named("v1", "nodes"), "", {})["items"]
    pods = resources.named("v1", "pods")
    wanted: set[tuple[str, str]] = set()
    free = [node for node in nodes if _ready(node) and not node.get("spec", {}).get("unschedulable")]
    for owner in resources.list(resources.named("apps/v1", "deployments"), "", {})["items"]:
        replicas = owner["spec"].get("replicas", 1)
        for number in range(replicas):
            wanted.add(_pod(resources, owner, "ReplicaSet", str(number), free[number % len(free)] if free else None))
        _tell(resources, owner, replicas)
    for owner in resources.list(resources.named("apps/v1", "daemonsets"), "", {})["items"]:
        for node in filter(_ready, nodes):
            wanted.add(_pod(resources, owner, "DaemonSet", node["metadata"]["name"], node))
    for pod in resources.list(pods, "", {})["items"]:
        place = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        if pod["metadata"].get("ownerReferences") and place not in wanted:
            resources.delete(pods, *place)


def _pod(
    resources: Resources, owner: dict[str, Any], kind: str, suffix: str, node: dict[str, Any] | None
) -> tuple[str, str]:
    """Make a pod where there is none or its template changed, and say whether its images are on its node."""
    pods, template = resources.named("v1", "pods"), owner["spec"]["template"]
    namespace, name = owner["metadata"]["namespace"], f"{owner['metadata']['name']}-{suffix}"
    pod = resources.store.get(pods.key(namespace, name))
    annotations = template["metadata"].get("annotations", {})
    if pod is None or (pod["spec"]["containers"], pod["metadata"].get("annotations", {})) != (
        template["spec"]["containers"],
        annotations,
    ):
        reference = {"apiVersion": "apps/v1", "kind": kind, "controller": True}
        reference.update({key: owner["metadata"][key] for key in ("name", "uid")})
        metadata = {"name": name, "labels": template["metadata"].get("labels", {}), "annotations": annotations}
        metadata["ownerReferences"] = [reference]
        spec = {**template["spec"], **({"nodeName": node["metadata"]["name"]} if node else {})}
        pod = {"metadata": metadata, "spec": spec}
    elif node and not pod["spec"].get("nodeName"):
        pod["spec"]["nodeName"] = node["metadata"]["name"]
    status = _status(resources, pod)
    if pod.get("status", {}).get("phase") != status["phase"] or "uid" not in pod["metadata"]:
        resources.put(pods, namespace, {**pod, "status": status})
    return namespace, name


def _status(resources: Resources, pod: dict[str, Any]) -> dict[str, Any]:
    name = pod["spec"].get("nodeName")
    node = resources.store.get(f"/registry/nodes/{name}") if name else None
    there = {image for entry in (node or {}).get("status", {}).get("images", []) for image in entry["names"]}
    containers = pod["spec"]["containers"]
    missing = [entry["image"] for entry in containers if entry["image"] not in there]
    if node is None or missing:
        waiting = {"reason": "ErrImagePull", "message": f"no registry has {', '.join(missing)}"}
        states = [_container(entry, ready=False, state={"waiting": waiting}) for entry in containers]
        return {"phase": "Pending", "containerStatuses": states if node else []}
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": now()}
    states = [_container(entry, ready=True, state={"running": {}}) for entry in containers]
    return {"phase": "Running", "conditions": [condition], "containerStatuses": states}


def _container(entry: dict[str, Any], *, ready: bool, state: dict[str, Any]) -> dict[str, Any]:
    names = {"name": entry["name"], "image": entry["image"], "imageID": entry["image"]}
    return {**names, "ready": ready, "restartCount": 0, "state": state}


def _tell(resources: Resources, owner: dict[str, Any], replicas: int) -> None:
    pods = resources.named("v1", "pods")
    namespace, name = owner["metadata"]["namespace"], owner["metadata"]["name"]
    found = [resources.store.get(pods.key(namespace, f"{name}-{number}")) for number in range(replicas)]
    running = sum(1 for pod in found if pod and pod["status"]["phase"] == "Running")
    available = {"type": "Available", "status": "True" if running == replicas else "False"}
    status: dict[str, Any] = {"replicas": replicas, "updatedReplicas": replicas, "conditions": [available]}
    status.update(readyReplicas=running, availableReplicas=running)
    if owner.get("status") != status:
        resources.put(resources.named("apps/v1", "deployments"), namespace, {**owner, "status": status})

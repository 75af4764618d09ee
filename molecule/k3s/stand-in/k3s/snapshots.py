"""Snapshots of a cluster's datastore (``k3s etcd-snapshot``): saved, listed, deleted and pruned on one server."""

from __future__ import annotations

import datetime
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k3s.log import info
from k3s.resources import ApiError

if TYPE_CHECKING:
    from k3s.server import Server


def folder(owner: Server) -> Path:
    """Return where snapshots lie."""
    return Path(owner.settings.get("etcd-snapshot-dir") or owner.folder / "db" / "snapshots")


def answer(owner: Server, request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request asks (pkg/etcd/snapshot_handler.go) and return what the command shows."""
    if not owner.is_etcd:
        raise ApiError(400, "BadRequest", "etcd datastore disabled")
    operation = request["operation"]
    if operation == "save":
        return {"created": [_save(owner, (request.get("name") or ["on-demand"])[0])]}
    if operation == "delete":
        wanted = [path for path in _files(owner) if path.name in request["name"]]
    elif operation == "prune":
        prefix = (request.get("name") or ["on-demand"])[0]
        found = [path for path in _files(owner) if path.name.startswith(f"{prefix}-")]
        wanted = found[: -int(request["retention"]) or None] if len(found) > int(request["retention"]) else []
    else:
        items = [_item(owner, path) for path in _files(owner)]
        return {"kind": "ETCDSnapshotFileList", "apiVersion": "k3s.cattle.io/v1", "items": items}
    for path in wanted:
        path.unlink()
    return {"deleted": [path.name for path in wanted]}


def _save(owner: Server, prefix: str) -> str:
    name = re.sub(r"[^a-zA-Z0-9.-]", "-", f"{prefix}-{owner.node_name}-{int(time.time())}")
    info(f"Saving etcd snapshot to {folder(owner) / name}")
    folder(owner).mkdir(mode=0o700, parents=True, exist_ok=True)
    owner.store.copy_to(folder(owner) / name)
    return name


def _files(owner: Server) -> list[Path]:
    return sorted(folder(owner).glob("*"), key=lambda path: path.stat().st_mtime) if folder(owner).is_dir() else []


def _item(owner: Server, path: Path) -> dict[str, Any]:
    status = path.stat()
    made = datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {"name": path.name.lower()},
        "spec": {"snapshotName": path.name, "nodeName": owner.node_name, "location": f"file://{path}"},
        "status": {"size": str(status.st_size), "creationTime": made, "readyToUse": True},
    }

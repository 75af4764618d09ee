#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: back the datastore of a running k3s server up."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_datastore_backup
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Back the datastore of a running k3s server up
description:
  - Writes the datastore of a running k3s server (SQLite or embedded etcd) with its token, its certificate authorities
    and its encryption keys into one archive. A manifest in it has the SHA-256 of every member.
    M(edgewright.edge.k3s_datastore_restore) verifies it and puts it back.
  - SQLite is copied with its own online backup, so that the copy is of one moment while k3s writes. Of etcd, C(k3s
    etcd-snapshot) makes a snapshot, which is deleted on the node once it is in the archive.
  - An archive is as secret as the cluster; it has mode 0600 and appears under its name only when it is complete.
extends_documentation_fragment:
  - edgewright.edge.backup
  - edgewright.edge.datastore_backup
attributes:
  idempotent:
    details: Each run makes a backup.
options:
  cluster:
    description: Name of the cluster, which begins the archive's name.
    type: str
    required: true
  node:
    description: Name of this node in the cluster.
    type: str
    required: true
  directory:
    description: Folder of the backups. It is made with mode 0700.
    type: path
    required: true
  keep:
    description: How many backups of the cluster stay in O(directory). The one just made always does.
    type: int
    default: 7
  snapshot_dir:
    description: Where k3s writes snapshots of etcd. Without it, C(server/db/snapshots) below O(data_dir).
    type: path
  k3s:
    description: The k3s program, or its path.
    type: str
    default: k3s
"""

EXAMPLES = r"""
- name: Backup is made
  edgewright.edge.k3s_datastore_backup:
    cluster: "{{ edge_site }}"
    node: "{{ inventory_hostname }}"
    directory: /var/lib/edgewright/backups
    keep: 7
  register: backup
"""

RETURN = r"""
archive:
  description: Path of the archive.
  returned: success
  type: str
checksum:
  description: SHA-256 of the archive, in hexadecimal.
  returned: when not in check mode
  type: str
datastore:
  description: Kind of the datastore.
  returned: success
  type: str
  sample: sqlite
k3s_version:
  description: Version of k3s that wrote the datastore.
  returned: success
  type: str
node:
  description: Name of the node it was made on.
  returned: success
  type: str
created:
  description: When it was made, UTC.
  returned: success
  type: str
  sample: 20261123T021500Z
removed:
  description: Archives that had to go, or would have.
  returned: success
  type: list
  elements: str
"""

import datetime
import hashlib
import os
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgewright.edge.plugins.module_utils import datastore_backup as backup
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

ARGUMENTS: dict[str, dict[str, Any]] = {
    "cluster": {"type": "str", "required": True},
    "node": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "keep": {"type": "int", "default": 7},
    "data_dir": {"type": "path", "default": "/var/lib/rancher/k3s"},
    "snapshot_dir": {"type": "path"},
    "node_password": {"type": "path", "default": "/etc/rancher/node/password", "no_log": False},
    "k3s": {"type": "str", "default": "k3s"},
}
# Of a server's own files: what a start needs besides the datastore. etcd's snapshot brings the rest with it, and files
# older or newer than it would only be in its way (pkg/cluster/bootstrap.go, ReconcileBootstrapData).
_FOLDERS = {"sqlite": ("cred", "tls"), "etcd": ()}
_FILES = ("token", "agent-token")


class Server:
    """A k3s server's files.

    Args:
        module: the running module.
    """

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        parameters = module.params
        self.home = Path(parameters["data_dir"]) / "server"
        self.node_password = Path(parameters["node_password"])
        self.snapshots = Path(parameters["snapshot_dir"] or self.home / "db" / "snapshots")
        self._k3s = parameters["k3s"]

    def kind(self) -> str:
        """Return the kind of its datastore.

        Raises:
            EdgeError: there is none, or no token.
        """
        folder = self.home / "db"
        kind = backup.datastore_kind(path.name for path in folder.iterdir()) if folder.is_dir() else ""
        if not kind:
            raise EdgeError(
                Problem(
                    str(folder),
                    "has no datastore of k3s",
                    expected="state.db or etcd/",
                    remedy="Run this on a server of the cluster; an external database has tools of its own.",
                )
            )
        token = self.home / "token"
        if not token.is_file() or not backup.password_of(token.read_text(encoding="utf-8")):
            raise EdgeError(
                Problem(
                    str(token),
                    "is missing: a backup without the token could never be read",
                    remedy="Start k3s once, so that it writes the token.",
                )
            )
        return kind

    def version(self) -> str:
        """Return k3s's version."""
        lines = self._run("--version").splitlines()
        words = lines[0].split() if lines else []
        if len(words) < 3 or words[1] != "version":
            raise EdgeError(Problem(self._k3s, "does not tell its version", found=repr(lines[:1])))
        return words[2]

    def copy_datastore(self, kind: str, created: str, work: Path) -> tuple[str, Path]:
        """Write a copy of the datastore into a folder; returns the name of the member and the file."""
        if kind == "sqlite":
            return backup.SQLITE_MEMBER, self._copy_sqlite(work / "state.db")
        return self._copy_etcd(created, work)

    def _copy_sqlite(self, target: Path) -> Path:
        source = self.home / "db" / "state.db"
        try:
            with (
                closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=60)) as running,
                closing(sqlite3.connect(target)) as copy,
            ):
                # All pages in one step: readers of a write-ahead log do not keep k3s from writing.
                running.backup(copy)
                backup.check_database(copy, str(source))
        except sqlite3.Error as error:
            raise EdgeError(Problem(str(source), f"cannot be copied: {error}")) from None
        return target

    def _copy_etcd(self, created: str, work: Path) -> tuple[str, Path]:
        name = f"edgewright-{created.lower()}-{os.getpid()}"
        self._run("etcd-snapshot", "save", "--name", name)
        # k3s appends the node's name, the time, and .zip when snapshots are compressed (pkg/etcd/snapshot.go).
        found = sorted(path for path in self.snapshots.glob(f"{name}-*") if path.is_file())
        if len(found) != 1:
            raise EdgeError(
                Problem(
                    str(self.snapshots),
                    f"must have one snapshot {name}",
                    found=str(len(found)),
                    remedy="If the site sets etcd-snapshot-dir, give it as 'snapshot_dir'.",
                )
            )
        copy = work / found[0].name
        shutil.copyfile(found[0], copy)
        self._run("etcd-snapshot", "delete", found[0].name)
        return f"{backup.ETCD_FOLDER}{found[0].name}", copy

    def own_files(self, kind: str) -> dict[str, Path]:
        """Return the files that go beside the datastore: member and path."""
        found = {f"server/{name}": self.home / name for name in _FILES if (self.home / name).is_file()}
        for folder in _FOLDERS[kind]:
            for path in sorted((self.home / folder).rglob("*")):
                if path.is_file() and not path.is_symlink():
                    found[f"server/{path.relative_to(self.home)}"] = path
        if self.node_password.is_file():
            found[backup.NODE_PASSWORD] = self.node_password
        return found

    def _run(self, *arguments: str) -> str:
        code, output, error = self._module.run_command([self._k3s, *arguments])
        if code:
            lines = (error or output).strip().splitlines()
            raise EdgeError(
                Problem(
                    f"{self._k3s} {' '.join(arguments)}",
                    f"failed with exit status {code}: {lines[-1] if lines else 'it says nothing'}",
                    remedy="Look at 'journalctl -u k3s'; k3s must run for a backup of etcd.",
                )
            )
        return str(output)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make(module: AnsibleModule) -> dict[str, Any]:
    """Make a backup and let those go that are too many."""
    parameters = module.params
    cluster, folder, keep = parameters["cluster"], Path(parameters["directory"]), parameters["keep"]
    if keep < 1:
        raise EdgeError(Problem("keep", "keeps no backup", found=str(keep), expected="a number from 1"))
    server = Server(module)
    kind, version = server.kind(), server.version()
    created = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    archive = folder / backup.archive_name(cluster, created, kind)
    manifest = backup.Manifest(cluster, kind, version, parameters["node"], created)
    present = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    removed = [
        str(folder / name) for name in backup.expired([*present, archive.name], cluster, keep, made=archive.name)
    ]
    result = _told(manifest, archive) | {"removed": removed}
    if not module.check_mode:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=folder) as work:
            files = server.own_files(kind)
            name, copy = server.copy_datastore(kind, created, Path(work))
            _pack(archive, manifest, {name: copy, **files}, Path(work))
        result["checksum"] = _digest(archive)
        for path in removed:
            Path(path).unlink()
    return result


def _pack(archive: Path, manifest: backup.Manifest, files: dict[str, Path], work: Path) -> None:
    # The server's own small files are read once, so that what is hashed is what is packed.
    for name, path in files.items():
        if work not in path.parents:
            files[name] = work / hashlib.sha256(name.encode()).hexdigest()
            shutil.copyfile(path, files[name])
    members = {name: _digest(path) for name, path in files.items()}
    text = work / backup.MANIFEST
    complete = backup.Manifest(manifest.cluster, manifest.kind, manifest.k3s, manifest.node, manifest.created, members)
    text.write_text(complete.to_json(), encoding="utf-8")
    unnamed = work / "archive"
    with (
        os.fdopen(os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar,
    ):
        for name, path in {backup.MANIFEST: text, **files}.items():
            tar.add(path, name, recursive=False, filter=_anonymous)
    with unnamed.open("rb") as written:
        os.fsync(written.fileno())
    unnamed.replace(archive)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o600
    return member


def _told(manifest: backup.Manifest, archive: Path) -> dict[str, Any]:
    return {
        "archive": str(archive),
        "datastore": manifest.kind,
        "k3s_version": manifest.k3s,
        "node": manifest.node,
        "created": manifest.created,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    os.umask(0o077)
    try:
        backup.check_cluster_name(module.params["cluster"])
        result = make(module)
    except EdgeError as error:
        _refuse(module, error)
    except OSError as error:
        _refuse(module, EdgeError(Problem(str(error.filename or "k3s"), f"{error.strerror}")))
    module.exit_json(changed=True, **result)


def _refuse(module: AnsibleModule, error: EdgeError) -> NoReturn:
    module.fail_json(msg=str(error), errors=error.as_list())
    raise AssertionError("fail_json does not return")


if __name__ == "__main__":
    main()

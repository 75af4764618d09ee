#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: put a backup of a k3s datastore back, after all of it was verified."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_datastore_restore
author: The Edgewright contributors (@edgewright)
version_added: 0.2.0
short_description: Put a backup of a k3s datastore back, after all of it was verified
description:
  - Reads an archive of M(edgewright.edge.k3s_datastore_backup) to its end, compares every member with the manifest,
    lets SQLite check a SQLite datastore, and refuses an archive without token, of another cluster, or for another
    token. Only then anything is changed. In check mode that is all it does.
  - Puts the archive's files in the place of the server's. What was there is moved to
    C(server/replaced-by-restore-TIME); the newest two such sets stay.
  - k3s must be stopped. SQLite is then ready for a start. Of etcd, the snapshot lies at RV(snapshot), for
    C(k3s server --cluster-reset --cluster-reset-restore-path).
extends_documentation_fragment:
  - edgewright.edge.backup
  - edgewright.edge.datastore_backup
attributes:
  check_mode:
    details: It verifies the archive all the same.
  idempotent:
    details: Each run puts the archive back.
options:
  archive:
    description: The archive.
    type: path
    required: true
  cluster:
    description: Name of the cluster that the archive must be of.
    type: str
    required: true
  token:
    description:
      - The token that the site will start the cluster with. One that is not the archive's is refused, for with it k3s
        could not read its datastore.
    type: str
  node:
    description: Name of this node. Its password is put back only if the archive was made on a node of this name.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Backup is whole, has its token, and is of this cluster
  edgewright.edge.k3s_datastore_restore:
    cluster: "{{ edge_site }}"
    archive: /var/lib/edgewright/restore.tar.gz
    token: "{{ k3s__token }}"
    node: "{{ inventory_hostname }}"
  check_mode: true
  register: verified
"""

RETURN = r"""
archive:
  description: Path of the archive.
  returned: success
  type: str
checksum:
  description: SHA-256 of the archive, in hexadecimal.
  returned: success
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
snapshot:
  description: Where the snapshot of etcd lies now, or would.
  returned: when the datastore is etcd
  type: str
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
from typing import IO, Any, NoReturn, cast

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edgewright.edge.plugins.module_utils import datastore_backup as backup
from ansible_collections.edgewright.edge.plugins.module_utils.backup_members import superfluous
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

ARGUMENTS: dict[str, dict[str, Any]] = {
    "archive": {"type": "path", "required": True},
    "cluster": {"type": "str", "required": True},
    "token": {"type": "str", "no_log": True},
    "data_dir": {"type": "path", "default": "/var/lib/rancher/k3s"},
    "node_password": {"type": "path", "default": "/etc/rancher/node/password", "no_log": False},
    "node": {"type": "str", "required": True},
}
_REPLACED = ("db", "cred", "tls", "token", "agent-token", "restore")
_ASIDE = "replaced-by-restore-"
_KEPT = 2
_BLOCK = 1024 * 1024


class Server:
    """The files of a k3s server that is stopped.

    Args:
        data_dir: folder of k3s's data.
        node_password: file of the node's password.
        node: name of the node.
    """

    def __init__(self, data_dir: Path, node_password: Path, node: str) -> None:
        self.home = data_dir / "server"
        self._node_password = node_password
        self._node = node

    def snapshot(self, manifest: backup.Manifest) -> Path:
        """Return where the snapshot of etcd of an archive is laid."""
        return self.home / "restore" / Path(manifest.datastore).name

    def put_back(self, content: Path, manifest: backup.Manifest) -> None:
        """Put the unpacked files of an archive in their places."""
        self._move_away()
        sqlite = manifest.kind == "sqlite"
        _place(content / manifest.datastore, self.home / "db" / "state.db" if sqlite else self.snapshot(manifest))
        for name in manifest.members:
            if name.startswith("server/"):
                _place(content / name, self.home / name.removeprefix("server/"))
        if backup.NODE_PASSWORD in manifest.members and manifest.node == self._node:
            _place(content / backup.NODE_PASSWORD, self._node_password)

    def _move_away(self) -> None:
        present = [name for name in _REPLACED if (self.home / name).exists()]
        if not present:
            return
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        old = self.home / f"{_ASIDE}{now}"
        old.mkdir(mode=0o700)
        for name in present:
            (self.home / name).rename(old / name)
        # Two, for a restore that was cut short and is run again moves half of its own work away.
        kept = [folder.name for folder in self.home.glob(f"{_ASIDE}*")]
        for name in superfluous(kept, _KEPT, made=old.name):
            shutil.rmtree(self.home / name)


def _place(source: Path, target: Path) -> None:
    for folder in reversed(target.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    with os.fdopen(descriptor, "wb") as file, source.open("rb") as content:
        shutil.copyfileobj(content, file, _BLOCK)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(target)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, folder: Path, cluster: str, token: str | None) -> backup.Manifest:
    """Unpack an archive into a folder and check all of it.

    Raises:
        EdgeError: it cannot be read, is damaged, has no token, or is not of this cluster or for this token.
    """
    found: dict[str, str] = {}
    try:
        with tarfile.open(archive, mode="r:gz") as tar:
            for member in tar:
                target = folder / member.name
                if not member.isfile() or ".." in target.parts or folder not in target.parents:
                    raise EdgeError(Problem(f"{archive}: {member.name}", "is not a plain file of the backup"))
                target.parent.mkdir(parents=True, exist_ok=True)
                # Not extract(): Debian 12's Python has no filters for it, and links and modes do not matter here.
                with cast("IO[bytes]", tar.extractfile(member)) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file)
                found[member.name] = _digest(folder / member.name)
    except FileNotFoundError:
        raise EdgeError(Problem(str(archive), "does not exist")) from None
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise EdgeError(
            Problem(str(archive), f"cannot be read to its end: {error}", remedy="It is damaged; take another backup.")
        ) from None
    text = folder / backup.MANIFEST
    if found.pop(backup.MANIFEST, None) is None:
        raise EdgeError(Problem(str(archive), f"has no {backup.MANIFEST}", remedy="Give an archive of backup.yml."))
    manifest = backup.manifest_from_json(text.read_text(encoding="utf-8"), where=str(archive))
    backup.check_members(manifest, found, where=str(archive))
    if manifest.cluster != cluster:
        raise EdgeError(Problem(str(archive), "is of another cluster", found=manifest.cluster, expected=cluster))
    if manifest.kind == "sqlite":
        with closing(sqlite3.connect(folder / manifest.datastore)) as database:
            backup.check_database(database, f"{archive}: {manifest.datastore}")
    if token and not backup.same_token(token, (folder / backup.TOKEN).read_text(encoding="utf-8")):
        raise EdgeError(
            Problem(
                str(archive),
                "was made with another token than the site's",
                remedy="Set 'k3s__token' to the token of that time; rotate.yml gives the cluster a new one afterwards.",
            )
        )
    return manifest


def use(module: AnsibleModule) -> dict[str, Any]:
    """Verify the archive, and put it back unless in check mode."""
    parameters = module.params
    archive = Path(parameters["archive"])
    server = Server(Path(parameters["data_dir"]), Path(parameters["node_password"]), parameters["node"])
    # Near one of the two places: the system's folder for temporary files may be memory, and too small.
    near = archive.parent if module.check_mode else server.home
    if not archive.is_file():
        raise EdgeError(Problem(str(archive), "does not exist"))
    near.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=near) as work:
        manifest = unpack(archive, Path(work), parameters["cluster"], parameters["token"])
        if not module.check_mode:
            server.put_back(Path(work), manifest)
    result = {
        "archive": str(archive),
        "checksum": _digest(archive),
        "datastore": manifest.kind,
        "k3s_version": manifest.k3s,
        "node": manifest.node,
        "created": manifest.created,
    }
    return result | ({"snapshot": str(server.snapshot(manifest))} if manifest.kind == "etcd" else {})


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    os.umask(0o077)
    try:
        result = use(module)
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

"""A backup of a k3s datastore: one archive with a manifest, which members it must have, which old ones may go."""

from __future__ import annotations

import hmac
import json
import re
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ansible_collections.edgewright.edge.plugins.module_utils import backup_members
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT: Final = 1
MANIFEST: Final = backup_members.MANIFEST
TOKEN: Final = "server/token"  # noqa: S105 (the name of a file)
NODE_PASSWORD: Final = "node/password"  # noqa: S105 (the name of a file)
SQLITE_MEMBER: Final = "datastore/state.db"
ETCD_FOLDER: Final = "datastore/snapshot/"
KINDS: Final = ("sqlite", "etcd")
_CLUSTER: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
# pkg/clientaccess/token.go: K10<SHA-256 of the certificate authority>::<user>:<password>
_FULL_TOKEN: Final = re.compile(r"K10[0-9a-f]{64}::(?:[^:]*:)?(?P<password>.+)", re.ASCII)


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself.

    Attributes:
        cluster: name of the site.
        kind: ``sqlite`` or ``etcd``.
        k3s: version of the k3s that wrote the datastore, as ``v1.36.5+k3s1``.
        node: name of the node it was made on.
        created: UTC, as ``20261123T021500Z``.
        members: lower-case hexadecimal SHA-256 of each other member, by name.
    """

    cluster: str
    kind: str
    k3s: str
    node: str
    created: str
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def datastore(self) -> str:
        """Return the name of the member that is the datastore; empty when there is none."""
        if self.kind == "sqlite":
            return SQLITE_MEMBER if SQLITE_MEMBER in self.members else ""
        return next((name for name in sorted(self.members) if name.startswith(ETCD_FOLDER)), "")

    def to_json(self) -> str:
        """Return it as the text of ``manifest.json``."""
        data = {
            "format": FORMAT,
            "cluster": self.cluster,
            "datastore": self.kind,
            "k3s": self.k3s,
            "node": self.node,
            "created": self.created,
            "members": dict(sorted(self.members.items())),
        }
        return json.dumps(data, indent=2) + "\n"


def manifest_from_json(text: str, *, where: str) -> Manifest:
    """Return the manifest of an archive; ``where`` is the archive's path.

    Raises:
        EdgeError: it is no manifest of this format, or lacks something; says all of it.
    """
    problems = Problems()
    data = backup_members.manifest_data(text, FORMAT, where=where, problems=problems)
    backup_members.check_texts(data, ("cluster", "k3s", "node", "created"), where=where, problems=problems)
    if data.get("datastore") not in KINDS:
        found = repr(data.get("datastore"))
        problems.add(f"{where}: {MANIFEST}: datastore", "is none", found=found, expected=" or ".join(KINDS))
    problems.raise_if_any()
    return Manifest(data["cluster"], data["datastore"], data["k3s"], data["node"], data["created"], data["members"])


def check_members(manifest: Manifest, found: Mapping[str, str], *, where: str) -> None:
    """Compare an archive's members (name: SHA-256) with its manifest.

    The token has to be among them: k3s encrypts what bootstraps a server with it, so that a datastore without its token
    is useless (docs.k3s.io/datastore/backup-restore).

    Raises:
        EdgeError: something is missing, too much or damaged; says all of it.
    """
    problems = Problems()
    backup_members.compare(manifest.members, found, where=where, problems=problems)
    if TOKEN not in manifest.members:
        problems.add(
            f"{where}: {TOKEN}",
            "is missing: without its token a datastore cannot be read",
            remedy="Take a backup that has it; backup.yml always puts it in.",
        )
    if not manifest.datastore:
        problems.add(where, f"has no {manifest.kind} datastore", remedy=backup_members.ANOTHER)
    problems.raise_if_any()


def check_cluster_name(name: str) -> None:
    """Accept a name that can begin a file's name.

    Raises:
        EdgeError: it is not an RFC 1123 label.
    """
    if _CLUSTER.fullmatch(name) is None or len(name) > 63:
        raise EdgeError(Problem("cluster", "is not a name", found=repr(name), expected="an RFC 1123 label"))


def archive_name(cluster: str, created: str, kind: str) -> str:
    """Return the file name of an archive: ``shop-20261123T021500Z-sqlite.tar.gz``."""
    return f"{cluster}-{created}-{kind}.tar.gz"


def archives_of(names: Iterable[str], cluster: str) -> list[str]:
    """Return which file names are archives of a cluster, oldest first."""
    pattern = re.compile(rf"{re.escape(cluster)}-[0-9]{{8}}T[0-9]{{6}}Z-(sqlite|etcd)\.tar\.gz", re.ASCII)
    return sorted(name for name in names if pattern.fullmatch(name))


def expired(names: Iterable[str], cluster: str, keep: int, *, made: str) -> list[str]:
    """Return the archives of a cluster that are more than ``keep``, oldest first.

    The one just made stays even when the clock went back and its name is the oldest.
    """
    return backup_members.superfluous(archives_of(names, cluster), keep, made=made)


def datastore_kind(entries: Iterable[str]) -> str:
    """Return the kind of datastore from the names in ``server/db``; empty when there is none.

    A server that was converted has both; etcd is then the one in use (pkg/etcd/etcd.go, IsInitialized).
    """
    names = set(entries)
    if "etcd" in names:
        return "etcd"
    return "sqlite" if "state.db" in names else ""


def password_of(token: str) -> str:
    """Return the secret part of a token, be it the short form or ``K10…::server:…``; empty when there is none."""
    text = token.strip()
    match = _FULL_TOKEN.fullmatch(text)
    return match["password"] if match else text


def same_token(one: str, other: str) -> bool:
    """Tell whether two tokens, short or full, have the same secret."""
    return hmac.compare_digest(password_of(one).encode(), password_of(other).encode())


def check_database(database: sqlite3.Connection, name: str) -> None:
    """Let SQLite check a database (``PRAGMA quick_check``); ``name`` is what a message calls it.

    Raises:
        EdgeError: it is damaged.
    """
    try:
        answer = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        answer = str(error)
    if answer != "ok":
        remedy = "Restore an older backup (restore.yml)."
        raise EdgeError(Problem(name, "is a damaged SQLite database", found=answer, remedy=remedy))

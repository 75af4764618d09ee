"""The datastore: an SQLite file with kine's table, where a server keeps its objects as JSON.

One server has it at ``server/db/state.db``, as k3s has. In a cluster the file stands for etcd's and lies where etcd's
does (``server/db/etcd/member/snap/db``), on every server.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, created INTEGER, deleted INTEGER, create_revision INTEGER,
    prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB);
CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name);
CREATE INDEX IF NOT EXISTS kine_name_id_index ON kine (name, id);
CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision);
"""
_NEWEST = "SELECT id, name, deleted, value FROM kine WHERE id IN (SELECT MAX(id) FROM kine GROUP BY name)"


class Datastore:
    """Keys to JSON values, each write one row more."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.executescript(_SCHEMA)

    def get(self, key: str) -> Any:
        """Return the value of a key, or None."""
        row = self._row(key)
        return json.loads(row[2]) if row and not row[1] else None

    def values(self, prefix: str) -> list[Any]:
        """Return the values of all keys with a prefix, in the order of the keys."""
        with self._lock:
            rows = self._connection.execute(f"{_NEWEST} AND substr(name, 1, ?) = ?", (len(prefix), prefix)).fetchall()
        return [json.loads(value) for _, _, deleted, value in sorted(rows, key=lambda row: row[1]) if not deleted]

    def keys(self) -> list[str]:
        """Return all keys."""
        with self._lock:
            return sorted(name for _, name, deleted, _ in self._connection.execute(_NEWEST) if not deleted)

    def put(self, key: str, value: Any) -> int:
        """Write a value, and return its revision."""
        return self._write(key, json.dumps(value), deleted=False)

    def delete(self, key: str) -> None:
        """Write that a key is gone."""
        if self.get(key) is not None:
            self._write(key, "null", deleted=True)

    def revision(self) -> int:
        """Return the newest revision."""
        with self._lock:
            return int(self._connection.execute("SELECT COALESCE(MAX(id), 0) FROM kine").fetchone()[0])

    def since(self, revision: int) -> list[list[Any]]:
        """Return the rows after a revision, as JSON can carry them."""
        query = (
            "SELECT id, name, created, deleted, create_revision, prev_revision, lease, CAST(value AS TEXT) "
            "FROM kine WHERE id > ?"
        )
        with self._lock:
            return [list(row) for row in self._connection.execute(query, (revision,))]

    def take(self, rows: list[list[Any]]) -> None:
        """Add rows of another datastore."""
        with self._lock:
            self._connection.executemany(
                "INSERT OR IGNORE INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, CAST(? AS BLOB))",
                rows,
            )

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy (a snapshot)."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, closing(sqlite3.connect(path)) as copy:
            self._connection.backup(copy)
        path.chmod(0o600)

    def _row(self, key: str) -> tuple[int, int, bytes] | None:
        query = "SELECT id, deleted, value FROM kine WHERE name = ? ORDER BY id DESC LIMIT 1"
        with self._lock:
            row: tuple[int, int, bytes] | None = self._connection.execute(query, (key,)).fetchone()
        return row

    def _write(self, key: str, value: str, *, deleted: bool) -> int:
        with self._lock:
            row = self._row(key)
            previous = row[0] if row else 0
            cursor = self._connection.execute(
                "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value) "
                "VALUES (?, ?, ?, 0, ?, 0, ?, ?)",
                (key, int(not row), int(deleted), previous, value.encode(), row[2] if row else None),
            )
            return int(cursor.lastrowid or 0)


def integrity(path: Path) -> str:
    """Return what SQLite says of a file: ``ok``, or what is broken."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return str(connection.execute("PRAGMA quick_check").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)

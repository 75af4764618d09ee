"""containerd's folder: which images a node has, and the archives they come from (pkg/agent/containerd/watcher.go).

``meta.db`` is no bbolt database, but begins like one: two meta pages with bbolt's magic number and checksum. A node
whose meta pages are both broken has a store that does not open, as after a power cut.
"""

from __future__ import annotations

import datetime
import json
import struct
import tarfile
import time
from typing import TYPE_CHECKING, Any

from k3s.log import fatal, info, log

if TYPE_CHECKING:
    from pathlib import Path

_PAGE = 4096
_MAGIC = 0xED0CDAED
_ARCHIVES = (".tar", ".tar.lz4", ".tar.bz2", ".tbz", ".tar.gz", ".tgz", ".tar.zst", ".tzst")


def _fnv(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def _meta_page(number: int) -> bytes:
    meta = struct.pack("<IIIIQQQQQ", _MAGIC, 2, _PAGE, 0, 0, 0, 0, 2, number)
    page = struct.pack("<QHHI", number, 4, 0, 0) + meta + struct.pack("<Q", _fnv(meta))
    return page.ljust(_PAGE, b"\0")


def _opens(page: bytes) -> bool:
    meta, checksum = page[16:72], page[72:80]
    return len(page) == _PAGE and meta[:4] == struct.pack("<I", _MAGIC) and checksum == struct.pack("<Q", _fnv(meta))


class Containerd:
    """One node's images."""

    def __init__(self, data: Path) -> None:
        self.archives = data / "agent/images"
        self.folder = data / "agent/containerd"
        self.meta = self.folder / "io.containerd.metadata.v1.bolt/meta.db"
        self.images: dict[str, dict[str, Any]] = {}
        self._cache: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        """Open the store; a broken one ends k3s, as containerd's exit does."""
        self.archives.mkdir(parents=True, exist_ok=True)
        if not self.meta.exists():
            self.meta.parent.mkdir(parents=True, exist_ok=True)
            self._write()
            return
        content = self.meta.read_bytes()
        if not (_opens(content[:_PAGE]) or _opens(content[_PAGE : 2 * _PAGE])):
            log("error", "containerd exited: failed to open database file: invalid database")
            fatal("Error: containerd exited: exit status 1")
        self.images = json.loads(content[2 * _PAGE :].rstrip(b"\0"))

    def unpin(self) -> None:
        """Forget what is pinned, as k3s does when it starts: archives that are there pin their images again."""
        for image in self.images.values():
            image["pinned"] = False

    def _write(self) -> None:
        content = _meta_page(0) + _meta_page(1) + json.dumps(self.images).encode()
        self.meta.write_bytes(content)

    # Archives

    def load_cache(self) -> None:
        """Read what was imported before, where the cache file exists."""
        file = self.archives / ".cache.json"
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        try:
            self._cache = json.loads(text) if text else {}
        except ValueError as error:
            log("error", f"Failed to unmarshal image import fileinfo cache: {error}")

    def scan(self, *, prune: bool = False) -> None:
        """Import what is new; a cached archive that was seen before is only pinned again."""
        seen = set()
        for path in sorted(self.archives.rglob("*")):
            if path.is_file() and path.name.endswith((*_ARCHIVES, ".txt")):
                seen.add(str(path))
                self._one(path)
        if prune:
            self._cache = {name: entry for name, entry in self._cache.items() if name in seen}
            self._sync()
            self._write()

    def _one(self, path: Path) -> None:
        status, known = path.stat(), self._cache.get(str(path))
        changed = datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC).isoformat()
        # Both must differ (k3s up to v1.36.2); a same-size replacement is not seen.
        if (
            known
            and known.get("images") is not None
            and not (status.st_size != known["size"] and changed > known["modTime"])
        ):
            for name in known["images"]:
                if name in self.images:
                    self.images[name]["pinned"] = True
            return
        began = time.monotonic()
        try:
            names = self._read(path)
        except (OSError, KeyError, ValueError, tarfile.TarError) as error:
            log("error", f"Failed to process image event: failed to import {path}: {error}")
            self._cache[str(path)] = {"size": status.st_size, "modTime": changed, "images": []}
            return
        for name in names:
            info(f"Imported {name}")
            self.images[name] = {"pinned": True, "size": status.st_size}
        info(f"Imported {len(names)} images from {path} in {time.monotonic() - began:.3f}s")
        self._cache[str(path)] = {"size": status.st_size, "modTime": changed, "images": names}
        self._write()
        self._sync()

    @staticmethod
    def _read(path: Path) -> list[str]:
        """Return the references in an archive: docker's or OCI's; a digest alone is refused, as k3s does."""
        if path.suffix == ".txt":
            raise ValueError("no registry answers")
        with tarfile.open(path) as archive:
            names = set(archive.getnames())
            if "manifest.json" in names:
                entries = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
                return sorted({tag for entry in entries for tag in entry["RepoTags"] or ()})
            index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
        key = "io.containerd.image.name"
        found = [entry.get("annotations", {}).get(key, "") for entry in index["manifests"]]
        for name in found:
            if "@" in name or ":" not in name.rpartition("/")[2]:
                raise ValueError(f"can't cast {name} to NamedTagged")
        return sorted(set(found))

    def _sync(self) -> None:
        file = self.archives / ".cache.json"
        if file.exists():
            file.write_text(json.dumps(self._cache), encoding="utf-8")

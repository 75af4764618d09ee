"""Where the builder's own data lies in a checkout, and where its caches lie on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

# https://bford.info/cachedir/: backup programs skip a folder that holds this file; `clean` insists on it.
_CACHEDIR_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of edgewright.\n"
# What a cache is made of; a folder that has nothing else may become one.
_OWN = frozenset({"store", "stages", "tmp", "logs", "apt", "mirror", "accelerators.json"})


def project_root() -> Path:
    """Return the checkout's top folder (the builder's data is used in place, never installed)."""
    return Path(__file__).resolve().parents[2]


def node_dir() -> Path:
    """Return the node image's data: package lists, repart.d, dracut module, units."""
    return project_root() / "image-builder" / "node"


def containers_dir() -> Path:
    """Return the recipes of the container images that this project makes."""
    return project_root() / "image-builder" / "containers"


def guests_dir() -> Path:
    """Return the recipes of the guest disks that this project makes."""
    return project_root() / "image-builder" / "guests"


def collections_dir() -> Path:
    """Return the folder to put into ``ANSIBLE_COLLECTIONS_PATH``."""
    return project_root() / "collections"


def collection_dir() -> Path:
    """Return the collection ``edgewright.edge`` itself."""
    return collections_dir() / "ansible_collections" / "edgewright" / "edge"


def playbooks_dir() -> Path:
    """Return the playbooks."""
    return project_root() / "playbooks"


def default_cache() -> Path:
    """Return ``$EDGEWRIGHT_CACHE``, else ``edgewright`` below the XDG cache folder."""
    if given := os.environ.get("EDGEWRIGHT_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "edgewright"


@dataclass(frozen=True)
class Cache:
    """The cache folder: fetched artifacts, built stages, logs, scratch space.

    ``stages`` and ``tmp`` are on one file system, because a stage's output is renamed from one to the other.
    """

    root: Path

    def _folder(self, name: str) -> Path:
        tag = self.root / "CACHEDIR.TAG"
        if not tag.exists():
            foreign = sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else []
            if set(foreign) - _OWN:
                raise EdgeError(
                    Problem(
                        "--cache",
                        "the folder is no cache of edgewright, and not empty",
                        found=f"{self.root} with {', '.join(foreign[:3])}{' …' if len(foreign) > 3 else ''}",
                        expected="a folder that is empty or not there",
                        remedy="Give another folder.",
                    )
                )
            self.root.mkdir(parents=True, exist_ok=True)
            tag.write_text(_CACHEDIR_TAG)
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def store(self) -> Path:
        """Content-addressed artifacts."""
        return self._folder("store")

    @cached_property
    def apt(self) -> Path:
        """State of the apt that resolves packages: package indices, checked against the archives' signatures."""
        return self._folder("apt")

    @cached_property
    def stages(self) -> Path:
        """Outputs of build stages, by stage and key."""
        return self._folder("stages")

    @cached_property
    def tmp(self) -> Path:
        """Scratch space; whatever lies here is not finished."""
        return self._folder("tmp")

    @cached_property
    def logs(self) -> Path:
        """One log a run."""
        return self._folder("logs")

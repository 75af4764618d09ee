"""mkosi, for comparison: from the same locked packages, in the same partitions, with the same tools of the same Debian.

mkosi, with the site's own tools beside it, runs in a tree made like the site's tools tree. It gets a local mirror of
nothing but the locked packages of the node, and of those that its own recipe for an initrd asks for. What it calls
``ExtraTrees=`` are the finished parts that an Edgewright image carries: the container store, models, guest disks.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.mkosi_project import write_project
from edgewright.fetching import Fetching
from edgewright.lockfile import Lock
from edgewright.pipeline import epoch_of
from edgewright.repository import repository_of
from edgewright.resolve import Resolver
from edgewright.resolve_request import Request
from edgewright.stages.stage import Context, Stage, remove_tree
from edgewright.stages.tools_tree import packages_of
from edgewright.tools.mmdebstrap import make_tree
from edgewright.tools.process import run
from edgewright.tools.sandbox import as_root

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.workplace import Workplace
    from edgewright.store import Store

_TREE = "mkosi"
_INITRD = "mkosi-initrd"
# What mkosi 25.3 runs besides the site's tools (its package's Depends and Recommends; debian/control).
_PACKAGES = (
    "apt",
    "cpio",
    "debian-archive-keyring",
    "dpkg",
    "kmod",
    "mkosi",
    "systemd",
    "systemd-boot",
    "tar",
    "uidmap",
    "util-linux",
    "xz-utils",
)
# What its initrd for Debian is made of (mkosi/resources/mkosi-initrd: mkosi.conf, mkosi.conf.d/10-debian-kali-ubuntu).
# The libtss2 names are what the patterns there come to in Debian 13.
_INITRD_PACKAGES = (
    "bash",
    "btrfs-progs",
    "dmsetup",
    "dosfstools",
    "e2fsprogs",
    "erofs-utils",
    "kmod",
    "less",
    "libcryptsetup12",
    "libfido2-1",
    "libtss2-esys-3.0.2-0t64",
    "libtss2-mu-4.0.1-0t64",
    "libtss2-rc0t64",
    "libtss2-tcti-device0t64",
    "lvm2",
    "p11-kit",
    "systemd",
    "systemd-cryptsetup",
    "systemd-repart",
    "udev",
    "util-linux",
)

# mkosi bind-mounts "/" itself, so its root must be a mount point: a chroot will not do, the roots are swapped.
# Arguments: tree, project folder, mirror, then the command.
_PIVOT = r"""
set -eu
tree=$1 project=$2 mirror=$3; shift 3
mount --make-rprivate /
mount --bind "$tree" "$tree"
cd "$tree"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=0755 tmpfs run
mount -t tmpfs -o mode=0755 tmpfs mnt
mkdir mnt/old mnt/project mnt/mirror
mount --rbind "$project" mnt/project
mount --rbind "$mirror" mnt/mirror
pivot_root . mnt/old
cd /
exec chroot / /usr/bin/sh -c 'umount -l /mnt/old && cd /mnt/project && exec /usr/bin/env -i "$@"' enter \
    PATH=/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8 TZ=UTC "$@"
"""


@dataclass
class MkosiTree(Stage):
    """``<out>/tree``: mkosi and the programs it runs."""

    lock: Lock
    store: Store

    name: ClassVar[str] = "mkosi-tree"
    title: ClassVar[str] = "mkosi's tools tree (mmdebstrap)"

    def inputs(self) -> Mapping[str, Any]:
        """The locked packages."""
        return {"packages": packages_of(self.lock, _TREE)}

    def run(self, context: Context, out: Path) -> None:
        """Unpack and configure them."""
        make_tree(self.lock, _TREE, self.store, out / "tree", epoch=context.epoch, scratch=out.parent, log=context.log)


class Mkosi:
    """mkosi with a project that makes the operating system of the workplace's site."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._folder = place.folder / "mkosi"
        self._project = self._folder / "project"
        self._mirror = self._folder / "mirror"
        self._stamp = self._folder / "made-from"
        self._folder.mkdir(exist_ok=True)

    @property
    def image(self) -> Path:
        """The image that was built last."""
        return self._project / "out" / "image.raw"

    @property
    def extra(self) -> Path:
        """The folder of files that the project adds to the packages."""
        return self._project / "extra"

    def prepare(self, *, rebuild: bool = False) -> float:
        """Make the tree, the mirror and the project, unless they are there; return the seconds that the tree took.

        Needs a network the first time, to pin and fetch the few packages that the site has not.

        Raises:
            NeedsNetworkError: the first time, without one.
            ToolError: a program failed.
        """
        place = self._place
        lock = self._lock()
        Fetching(lock, place.store, place.inventory, place.reporter).fetch()
        tree = MkosiTree(lock, place.store)
        context = Context(place.cache, epoch_of(lock), place.reporter.run_log)
        began = time.monotonic()
        tree.build(context, rebuild=rebuild)
        seconds = time.monotonic() - began
        self._tree = tree.output(place.cache) / "tree"
        self._make_mirror(lock)
        self._project.mkdir(exist_ok=True)
        if self._made_from() != place.plan.disk.key():
            self.forget()
        write_project(self._project, place)
        return seconds

    def _lock(self) -> Lock:
        """Return the site's lock with mkosi's packages, at the site's versions where both have one."""
        place = self._place
        site = place.lock
        trees = {
            "node": list(site.trees["node"].requested),
            "tools": list(site.trees["tools"].requested),
            _TREE: sorted({*site.trees["tools"].requested, *_PACKAGES}),
            _INITRD: list(_INITRD_PACKAGES),
        }
        key = hashlib.sha256(f"{site.to_text()}{sorted(trees.items())}".encode()).hexdigest()
        kept = self._folder / f"{key[:32]}.lock.yml"
        if not kept.exists():
            resolver = Resolver(place.store, self._folder / "apt", place.reporter)
            resolver.relock(site, Request(trees)).dump(kept)
        return Lock.load(kept)

    def _make_mirror(self, lock: Lock) -> None:
        """Lay out the packages as ``LocalMirror=`` wants them: a flat pool, and indices for one suite and component."""
        remove_tree(self._mirror)
        packages = {package.name: package for tree in ("node", _INITRD) for package in lock.tree(tree)}
        repository_of(packages.values(), self._place.store, self._mirror)
        index = (self._mirror / "Packages").read_bytes()
        suite = self._mirror / "dists" / "trixie"
        (suite / "main" / "binary-amd64").mkdir(parents=True)
        (suite / "main" / "binary-amd64" / "Packages").write_bytes(index)
        digest = f"{hashlib.sha256(index).hexdigest()} {len(index)} main/binary-amd64/Packages"
        release = f"Suite: trixie\nCodename: trixie\nComponents: main\nArchitectures: amd64\nSHA256:\n {digest}\n"
        (suite / "Release").write_text(release, encoding="utf-8")

    def _made_from(self) -> str:
        """Return the key of the Edgewright disk that what is there was made to be like."""
        return self._stamp.read_text(encoding="ascii") if self._stamp.exists() else ""

    def ensure_image(self) -> None:
        """Build the image unless there is one like the site's."""
        if not self.image.exists() or self._made_from() != self._place.plan.disk.key():
            self.prepare()
            with self._place.reporter.step("mkosi build"):
                self.build()

    def ensure_cached_tree(self) -> None:
        """Build incrementally unless that was done before, so that the next incremental build finds a cached tree."""
        self.prepare()
        if not any((self._project / "cache").iterdir()):
            with self._place.reporter.step("mkosi build, to fill its cache"):
                self.build(incremental=True)

    def forget(self) -> None:
        """Delete all that earlier builds left: image, cached trees, package cache."""
        self._stamp.unlink(missing_ok=True)
        for name in ("out", "cache", "pkgcache", "work"):
            as_root(["rm", "-rf", "--one-file-system", self._project / name])
            (self._project / name).mkdir()

    def build(self, *, incremental: bool = False) -> float:
        """Build the image and return the wall-clock seconds.

        ``--force`` because mkosi does not look whether anything changed: it does nothing where there is an image.

        Raises:
            ToolError: mkosi failed.
        """
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--net"]
        if os.geteuid() != 0:
            namespaces += ["--user", "--map-auto", "--map-root-user"]
        command = ["mkosi", "--force", *(["--incremental"] if incremental else []), "build"]
        where = [os.fspath(path) for path in (self._tree, self._project, self._mirror)]
        argv = ["unshare", *namespaces, "sh", "-c", _PIVOT, "pivot", *where, *command]
        began = time.monotonic()
        run(argv, log=self._place.reporter.run_log)
        seconds = time.monotonic() - began
        self._stamp.write_text(self._place.plan.disk.key(), encoding="ascii")
        return seconds

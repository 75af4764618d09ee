"""Make a tree of Debian packages from locked packages only, with mmdebstrap and no network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from edgewright.repository import local_repository
from edgewright.tools.sandbox import as_root

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgewright.lockfile import Lock
    from edgewright.store import Store

# What no node, container or tools tree reads; /usr/share/doc/*/copyright stays, because licences ask for it.
_EXCLUDED = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/usr/share/bug/*",
)

# How the tree was made is no part of it: the repository's path would differ from build to build.
_FORGET = r"""
set -eu
rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap
rm -rf "$1"/var/lib/apt/lists "$1"/var/cache/apt "$1"/var/log/apt "$1"/var/log/bootstrap.log "$1"/var/log/dpkg.log
rm -f "$1"/var/log/alternatives.log "$1"/var/lib/dpkg/*-old "$1"/var/cache/debconf/*-old
rm -f "$1"/var/cache/ldconfig/aux-cache
# Python writes these while packages are being configured, by order of events and not by content.
rm -rf "$1"/usr/share/python3/debpython/__pycache__
# Device nodes are made by root, not by an ordinary user; whoever enters the tree mounts its own.
find "$1/dev" -mindepth 1 -delete
for folder in dev proc sys run tmp; do touch -d "@$2" "$1/$folder"; done
"""


def make_tree(
    lock: Lock,
    tree: str,
    store: Store,
    destination: Path,
    *,
    epoch: int,
    scratch: Path,
    log: Path,
    hooks: Sequence[str] = (),
    variant: Literal["essential", "extract"] = "essential",
) -> None:
    """Unpack and configure the packages of a locked tree into the new folder ``destination``.

    The caller is root of its own namespaces, so mmdebstrap's root mode works for an ordinary user too
    (mmdebstrap(1), "MODES"; devices that cannot be made are bind-mounted while it runs).

    Args:
        lock: where the tree is pinned.
        tree: its name.
        store: holds every package of it.
        destination: must not exist.
        epoch: SOURCE_DATE_EPOCH, seconds.
        scratch: an empty folder for the package repository and temporary files.
        log: takes what the programs say.
        hooks: commands for ``--customize-hook``; ``$1`` is the tree.
        variant: mmdebstrap's; ``extract`` only unpacks what is asked for and what that depends on.

    Raises:
        EdgeError: the tree is not locked or not fetched.
        ToolError: mmdebstrap failed.
    """
    repository = scratch / "repository"
    local_repository(lock, tree, store, repository)
    # uid 0 here is the caller, so apt must not become _apt, which cannot read the caller's folders.
    options = ['--aptopt=APT::Sandbox::User "root"', '--aptopt=APT::Install-Recommends "false"']
    # dpkg(1) --path-exclude: the last rule that matches decides.
    options += ["--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in _EXCLUDED)]
    options += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    options += [f"--customize-hook={hook}" for hook in hooks]
    asked = lock.trees[tree].requested
    command = [
        "env",
        f"SOURCE_DATE_EPOCH={epoch}",
        f"TMPDIR={scratch}",
        "TZ=UTC",
        "LC_ALL=C.UTF-8",
        # The initrd is a stage of its own, made once and from the finished root.
        "INITRD=No",
        "mmdebstrap",
        "--mode=root",
        f"--variant={variant}",
        "--skip=check/qemu",
        f"--include={','.join(asked)}",
        *options,
        "trixie",
        os.fspath(destination),
        f"deb [trusted=yes] copy:{repository} ./",
    ]
    as_root(command, log=log)
    as_root(["sh", "-c", _FORGET, "forget", destination, str(epoch)], log=log)

"""Run programs in a tree of files as its root user, with no real root, no loop device and no network.

An ordinary user gets a user namespace in which uid 0 is the caller and 1…65535 are the caller's block in /etc/subuid
(user_namespaces(7), newuidmap(1)); root needs no user namespace and gets only the mount, PID and network ones. Nothing
that is mounted inside is seen outside, and nothing inside outlives the caller (``unshare --kill-child``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from edgewright.tools.process import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Mounts over the tree, then enters it. Arguments: root, folder for changes or "", number of mounts, then
# kind/source/target for each, then the command. Everything is mounted below /run, /tmp or /dev of the tree, or over
# folders it has already, so the tree is not changed. With a folder for changes the command sees an overlay of the tree
# (overlayfs, kernel documentation), kept in memory, and what it changed is copied to that folder at the end.
_ENTER = r"""
set -eu
root=$1 changes=$2 mounts=$3; shift 3
mount --make-rprivate /
if [ -n "$changes" ]; then
  mount -t tmpfs -o mode=0755 tmpfs /mnt
  mkdir /mnt/upper /mnt/work /mnt/root
  mount -t overlay -o "lowerdir=$root,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/root
  root=/mnt/root
else
  mount --bind "$root" "$root"
fi
cd "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
  : >"$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"
done
ln -s /proc/self/fd "$root/dev/fd"; ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"; ln -s /proc/self/fd/2 "$root/dev/stderr"
mkdir "$root/dev/shm"; mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mkdir -p "$root/run/lock"
while [ "$mounts" -gt 0 ]; do
  kind=$1 source=$2 target=$root$3; shift 3; mounts=$((mounts - 1))
  case $kind in
    tmpfs) mkdir -p "$target"; mount -t tmpfs -o mode=0755 tmpfs "$target" ;;
    bind) if [ -d "$source" ]; then mkdir -p "$target"
          else mkdir -p "${target%/*}"; [ -e "$target" ] || : >"$target"; fi
          mount --rbind "$source" "$target" ;;
  esac
done
[ -n "$changes" ] || exec chroot "$root" /usr/bin/env -i "$@"
chroot "$root" /usr/bin/env -i "$@"
# overlayfs notes inode numbers in extended attributes, other ones each time.
cp -a --no-preserve=xattr /mnt/upper/. "$changes/"
"""

_NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child")


def _unshare(*, network: bool) -> list[str]:
    """Return the start of a command that runs the rest as root of its own namespaces."""
    # A builder that is killed outright takes its programs along (PR_SET_PDEATHSIG(2const)).
    words = ["setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES]
    if os.geteuid() != 0:
        words += ["--user", "--map-auto", "--map-root-user"]
    if not network:
        words += ["--net"]
    return words


def as_root(
    argv: Sequence[str | Path],
    *,
    stdin: IO[bytes] | int | None = None,
    log: Path | None = None,
    cleaning: bool = False,
) -> bytes:
    """Run a program of this machine with the ids of the trees, to unpack or delete what belongs to them.

    Raises:
        ToolError: it failed, or user namespaces cannot be had.
    """
    return run(
        [*_unshare(network=False), *argv],
        stdin=stdin,
        log=log,
        cleaning=cleaning,
        hint=""
        if os.geteuid() == 0
        else "This needs user namespaces: install uidmap and give this user a line in /etc/subuid and /etc/subgid.",
    )


@dataclass(frozen=True)
class Mount:
    """One thing mounted over the tree: a ``bind`` of a path outside, or an empty ``tmpfs``."""

    kind: str
    source: str
    target: str


def bind(source: Path, target: str) -> Mount:
    """Show ``source`` (a file or folder outside) as ``target`` (absolute, in the tree)."""
    return Mount("bind", os.fspath(source), target)


def empty(target: str) -> Mount:
    """Cover the folder ``target`` with an empty one."""
    return Mount("tmpfs", "-", target)


@dataclass(frozen=True)
class Sandbox:
    """A tree of files to run programs in.

    Attributes:
        root: the tree; it must have /proc, /dev, /run, /tmp and a /usr/bin/env.
        mounts: what is mounted over it, in order, after fresh /proc, /dev, /run and /tmp.
        epoch: seconds since 1970 for ``SOURCE_DATE_EPOCH`` (reproducible-builds.org/specs/source-date-epoch).
        env: further environment; nothing is inherited.
        changes: an empty folder that takes the command's changes, leaving the tree as it is; ``None`` changes the tree.
    """

    root: Path
    epoch: int
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    changes: Path | None = None

    def argv(self, command: Sequence[str | Path]) -> list[str]:
        """Return the whole command that runs ``command`` in the tree; it can be pasted into a shell."""
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": str(self.epoch),
            **self.env,
        }
        mounts = [word for mount in self.mounts for word in (mount.kind, mount.source, mount.target)]
        return [
            *_unshare(network=False),
            "sh",
            "-c",
            _ENTER,
            "sandbox",
            os.fspath(self.root),
            os.fspath(self.changes) if self.changes else "",
            str(len(self.mounts)),
            *mounts,
            *(f"{key}={value}" for key, value in environment.items()),
            *(os.fspath(word) for word in command),
        ]

    def run(
        self,
        command: Sequence[str | Path],
        *,
        stdin: IO[bytes] | int | None = None,
        stdout: IO[bytes] | None = None,
        log: Path | None = None,
    ) -> bytes:
        """Run ``command`` in the tree, with no network; return its standard output.

        Raises:
            ToolError: it failed.
        """
        return run(self.argv(command), stdin=stdin, stdout=stdout, log=log)

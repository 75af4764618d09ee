"""How many CPUs this process may really use: its affinity and its control group's quota."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> int:
    """Return the number of threads worth starting, at least 1.

    A quota of 1.5 CPUs gives 2: with one thread a third of the quota could never be used.

    Args:
        root: where to look for ``proc`` and ``sys``.
    """
    count = len(os.sched_getaffinity(0))
    quota = cgroup_quota(root)
    return max(1, count if quota is None else min(count, ceil(quota)))


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """Return the CPU quota in CPUs, the smallest of this process's group and its parents; None when unlimited.

    Both layouts are read: cgroup v2 ``cpu.max`` (kernel.org, admin-guide/cgroup-v2, "CPU Interface Files") and
    v1 ``cpu.cfs_quota_us`` (scheduler/sched-bwc).
    """
    quotas = [
        quota
        for mount, group in _groups(root)
        for folder in _with_parents(mount, group)
        if (quota := _quota(folder)) is not None
    ]
    return min(quotas, default=None)


def _groups(root: Path) -> list[tuple[Path, str]]:
    """Return the mounts of the CPU controller with the path of this process's group below each."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    groups: list[tuple[Path, str]] = []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            groups.append((root / "sys/fs/cgroup", path))
        elif "cpu" in controllers.split(","):
            groups += [(root / "sys/fs/cgroup" / name, path) for name in {controllers, "cpu"}]
    return groups


def _with_parents(mount: Path, group: str) -> list[Path]:
    # In a container without a cgroup namespace the path is the host's and does not exist below the mount; the mount
    # itself is then the container's own group, and it is always in this list.
    parts = [part for part in group.split("/") if part not in {"", ".."}]
    return [mount.joinpath(*parts[:length]) for length in range(len(parts), -1, -1)]


def _quota(folder: Path) -> float | None:
    version_2 = _numbers(folder / "cpu.max")
    if len(version_2) == 2:
        return version_2[0] / version_2[1]
    quota, period = _numbers(folder / "cpu.cfs_quota_us"), _numbers(folder / "cpu.cfs_period_us")
    if quota and period and quota[0] > 0:
        return quota[0] / period[0]
    return None


def _numbers(path: Path) -> list[int]:
    """Return the whole numbers in a file; empty when it is missing or says ``max``."""
    try:
        words = path.read_text(encoding="utf-8").split()
        return [int(word) for word in words]
    except (OSError, ValueError):
        return []

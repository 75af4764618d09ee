from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from inference_server.cpus import cgroup_quota, usable_cpus

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "50000 100000"}, 0.5),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/cpu.max": "50000 100000",
                "sys/fs/cgroup/a/b/cpu.max": "200000 100000",
            },
            0.5,
        ),
        ({"proc/self/cgroup": "0::/system.slice/x", "sys/fs/cgroup/cpu.max": "100000 50000"}, 2.0),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/d\n1:name=systemd:/d",
                "sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_quota_us": "25000",
                "sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_period_us": "100000",
            },
            0.25,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/d",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
    ],
)
def test_the_quota_is_the_smallest_of_the_group_and_its_parents(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    assert cgroup_quota(write(tmp_path, files)) == quota


@pytest.mark.parametrize(("quota", "cpus"), [("10000 100000", 1), ("150000 100000", 2), ("max 100000", 10**6)])
def test_threads_follow_the_quota_rounded_up_and_never_exceed_the_affinity(
    tmp_path: Path, quota: str, cpus: int
) -> None:
    root = write(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": quota})
    assert usable_cpus(root) == min(cpus, len(os.sched_getaffinity(0)))

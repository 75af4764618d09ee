"""Whether a build fits on the disk, told before it begins and not half an hour later.

What a stage takes is in proportion to what was downloaded for it; the factors were measured on the demo site (a tree of
Debian packages takes about 2.3 times their size, and its packages lie beside it while they are unpacked).
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.reporter import amount
from edgewright.stages.container_disks import ContainerDisk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewright.lockfile import Lock
    from edgewright.paths import Cache
    from edgewright.stages.stage import Stage

_OF_THE_NODE = {"rootfs": 2.3, "install": 2.3, "root-image": 2.0, "disk": 2.2, "initrd": 0.2, "uki": 0.2}
_OF_THE_TOOLS = {"tools-tree": 3.7}
_OF_A_CONTAINER = {"container": 7.0, "image-store": 7.0}
# Packages while they are unpacked, and what files of another site's size add.
_SPARE = 1.25


def needed(stages: Sequence[Stage], lock: Lock, cache: Cache) -> int:
    """Return about how many bytes the stages that are not built yet will take."""
    total = 0.0
    for stage in stages:
        if stage.is_built(cache):
            continue
        total += _OF_THE_NODE.get(stage.name, 0) * _packages(lock, "node")
        total += _OF_THE_TOOLS.get(stage.name, 0) * _packages(lock, "tools")
        if factor := _OF_A_CONTAINER.get(stage.name, 0):
            wheels = sum(wheel.size for container in lock.containers.values() for wheel in container.wheels)
            trees = sum(_packages(lock, name) for name in lock.trees if name.startswith("container-"))
            total += factor * (wheels + trees)
        if stage.name == "disk":
            total += sum(artifact.size for artifact in lock.artifacts.values())
        if isinstance(stage, ContainerDisk):
            # How large a disk is shows when it is unpacked; then it is there once more, and once more in the image.
            total += 3 * stage.image.size
    return int(total * _SPARE)


def _packages(lock: Lock, tree: str) -> int:
    names = lock.trees[tree].packages if tree in lock.trees else ()
    return sum(lock.packages[name].size for name in names)


def refuse_full_disk(stages: Sequence[Stage], lock: Lock, cache: Cache) -> None:
    """Stop before a build that the cache's disk has no room for.

    Raises:
        EdgeError: says how much there is and about how much it takes.
    """
    free = shutil.disk_usage(cache.root).free
    takes = needed(stages, lock, cache)
    if takes > free:
        raise EdgeError(
            Problem(
                str(cache.root),
                "there is not enough free disk space for this build",
                found=f"{amount(free)} free",
                expected=f"about {amount(takes)}",
                remedy="Free some, run `edgewright clean --unused-for 3`, or choose another disk with --cache.",
            )
        )

"""The emulator: QEMU of the locked release, so that an image boots in the same one on every host.

Emulation became much cheaper from Debian 12's QEMU to Debian 13's, and nobody need change their host for it. No image
depends on this stage: it is made at the first boot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.stages.stage import Context, Stage
from edgewright.stages.tools_tree import packages_of
from edgewright.tools import emulator
from edgewright.tools.mmdebstrap import make_tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.lockfile import Lock
    from edgewright.paths import Cache
    from edgewright.store import Store

TREE = "emulator"
"""Its tree in the lock."""


@dataclass
class EmulatorTree(Stage):
    """``<out>/tree``: QEMU and its libraries, unpacked only."""

    lock: Lock
    store: Store

    name: ClassVar[str] = "emulator"
    title: ClassVar[str] = "Emulator (QEMU)"

    def inputs(self) -> Mapping[str, Any]:
        """The locked packages."""
        return {"packages": packages_of(self.lock, TREE)}

    def run(self, context: Context, out: Path) -> None:
        """Unpack them."""
        make_tree(
            self.lock,
            TREE,
            self.store,
            out / "tree",
            epoch=context.epoch,
            scratch=out.parent,
            log=context.log,
            variant="extract",
        )

    def program(self, cache: Cache) -> emulator.Emulator:
        """Return how to run it on this host."""
        return emulator.unpacked(self.output(cache) / "tree")

"""Guest disks that this project makes itself, by a recipe's script in the tools tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import yaml

from edgewright.paths import guests_dir
from edgewright.stages.stage import Context, Stage, digest_of_files
from edgewright.tools.sandbox import bind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.stages.tools_tree import ToolsTree


@dataclass
class GuestDisk(Stage):
    """``<out>/disk``: the disk image of a recipe."""

    recipe: str
    tools: ToolsTree

    name: ClassVar[str] = "guest"
    title: ClassVar[str] = "Guest disk"

    @property
    def label(self) -> str:
        """Disks are told apart by their recipe."""
        return f"{self.name} {self.recipe}"

    def needs(self) -> tuple[Stage, ...]:
        """The tools tree, which has the packages that the recipe names."""
        return (self.tools,)

    def inputs(self) -> Mapping[str, Any]:
        """The recipe's files."""
        return {"recipe": digest_of_files(guests_dir() / self.recipe)}

    def run(self, context: Context, out: Path) -> None:
        """Run the recipe's ``build.sh`` and keep the disk it names."""
        folder = guests_dir() / self.recipe
        disk = yaml.safe_load((folder / "guest.yml").read_text(encoding="utf-8"))["disk"]
        work = out.parent / "work"
        work.mkdir()
        sandbox = self.tools.sandbox(context, bind(folder, "/run/recipe"), bind(work, "/run/work"))
        sandbox.run(["sh", "-c", "cd /run/work && exec sh /run/recipe/build.sh /run/recipe"], log=context.log)
        (work / disk).rename(out / "disk")

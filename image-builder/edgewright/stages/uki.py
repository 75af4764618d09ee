"""The unified kernel image: kernel, initrd and a command line that names its own root by hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.stages.stage import Context, Stage
from edgewright.tools.sandbox import bind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.stages.initrd import Initrd
    from edgewright.stages.root_image import RootImage
    from edgewright.stages.tools_tree import ToolsTree

# roothash= ties the kernel to the root of its own slot, so one boot counter rolls back both (systemd#32653). A panic
# boots again after ten seconds, as a failed initrd does (node/dracut/90edgewright/emergency.service): nobody is there
# to press a key, and a bad image on trial uses up its tries.
COMMAND_LINE = (
    "root=/dev/mapper/root rootfstype=erofs ro console=tty0 console=ttyS0,115200 panic=10 "
    "systemd.firstboot=no systemd.gpt_auto=yes quiet systemd.show_status=yes"
)


@dataclass
class Uki(Stage):
    """``<out>/edgewright.efi``."""

    root: RootImage
    initrd: Initrd
    tools: ToolsTree

    name: ClassVar[str] = "uki"
    title: ClassVar[str] = "Unified kernel image (ukify)"

    def needs(self) -> tuple[Stage, ...]:
        """What it is made of, and ukify."""
        return (self.root, self.initrd, self.tools)

    def inputs(self) -> Mapping[str, Any]:
        """The kernel's command line, less the root hash, which follows from the root."""
        return {"command_line": COMMAND_LINE}

    def run(self, context: Context, out: Path) -> None:
        """Put the parts together with ukify and systemd's EFI stub."""
        root = self.root.output(context.cache)
        roothash = (root / "roothash").read_text(encoding="ascii").strip()
        release = out.parent / "os-release"
        name = f"Edgewright {self.root.site.name}"
        release.write_text(
            f'ID=edgewright\nIMAGE_ID=edgewright-{self.root.site.name}\nPRETTY_NAME="{name}"\nVERSION_ID={self.root.version}\n',
            encoding="utf-8",
        )
        sandbox = self.tools.sandbox(
            context,
            bind(self.initrd.output(context.cache), "/run/boot"),
            bind(release, "/run/os-release"),
            bind(out, "/run/out"),
        )
        sandbox.run(
            [
                "ukify",
                "build",
                "--linux=/run/boot/linux",
                "--initrd=/run/boot/initrd",
                f"--cmdline=roothash={roothash} {COMMAND_LINE}",
                "--os-release=@/run/os-release",
                "--output=/run/out/edgewright.efi",
            ],
            log=context.log,
        )

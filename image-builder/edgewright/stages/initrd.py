"""The initrd: made once by the root's own dracut, so that its programs are those of the root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.paths import node_dir
from edgewright.stages.stage import Context, Stage, digest_of_files
from edgewright.tools.sandbox import Sandbox, bind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.stages.rootfs import Rootfs

_DRACUT = r"""
set -eu
mkdir -p /run/modules.d /run/empty
cp -a /usr/lib/dracut/modules.d/. /run/modules.d/
cp -R --no-preserve=ownership /run/node/dracut/90edgewright /run/modules.d/
chmod -R u=rwX,go=rX /run/modules.d/90edgewright
mount --bind /run/modules.d /usr/lib/dracut/modules.d
exec dracut --force --conf /run/node/dracut/edgewright.conf --confdir /run/empty --tmpdir /tmp --kver "$1" \
    /run/out/initrd
"""


@dataclass
class Initrd(Stage):
    """``<out>/{initrd,linux}``: the initrd and the kernel it belongs to."""

    rootfs: Rootfs

    name: ClassVar[str] = "initrd"
    title: ClassVar[str] = "Initrd (dracut)"

    def needs(self) -> tuple[Stage, ...]:
        """The root with kernel and dracut; roles do not change either."""
        return (self.rootfs,)

    def inputs(self) -> Mapping[str, Any]:
        """The project's dracut module and settings."""
        return {"dracut": digest_of_files(node_dir() / "dracut"), "script": _DRACUT}

    def run(self, context: Context, out: Path) -> None:
        """Run dracut for the root's kernel.

        Raises:
            EdgeError: the root has not exactly one kernel.
        """
        tree = self.rootfs.output(context.cache) / "tree"
        kernels = sorted(path.name for path in (tree / "usr/lib/modules").iterdir() if (path / "modules.dep").exists())
        if len(kernels) != 1:
            raise EdgeError(
                Problem(
                    "image-builder/node/packages.yml: node",
                    "the node's root must have one kernel",
                    found=", ".join(kernels) or "none",
                    expected="one",
                    remedy="List exactly one linux-image package.",
                )
            )
        sandbox = Sandbox(tree, context.epoch, (bind(node_dir(), "/run/node"), bind(out, "/run/out")))
        sandbox.run(["sh", "-c", _DRACUT, "dracut", kernels[0]], log=context.log)
        sandbox.run(["cp", f"/boot/vmlinuz-{kernels[0]}", "/run/out/linux"], log=context.log)
        sandbox.run(["chmod", "0644", "/run/out/initrd", "/run/out/linux"], log=context.log)

"""The ``install`` phase of the roles, once, in the node's root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.paths import collection_dir, node_dir, playbooks_dir
from edgewright.stages.stage import Context, Stage, digest_of_files
from edgewright.tools.ansible import run_image_playbook
from edgewright.tools.sandbox import Sandbox, as_root, bind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.stages.rootfs import Rootfs
    from edgewright.stages.tools_tree import ToolsTree

# The parts of the collection that a run of its roles reads.
ROLE_CODE = ("meta/*", "plugins/**/*", "roles/**/*")
# What the install phase never reads, so that a change in it does not reinstall.
_NOT_INSTALL = ("README.md", "tasks/configure.yml", "tasks/activate.yml")

# The phase must be the same for every node, so it gets an inventory in which nothing is said about any.
_INVENTORY = "image-root ansible_connection=local\n"


@dataclass
class Install(Stage):
    """``<out>/tree``: the node's root with everything installed and enabled, the same for every node of the site."""

    rootfs: Rootfs
    tools: ToolsTree
    site_name: str
    runtime: str

    name: ClassVar[str] = "install"
    title: ClassVar[str] = "Roles: install phase (Ansible in the root)"

    def needs(self) -> tuple[Stage, ...]:
        """The root to install in, and the tools tree for its Ansible."""
        return (self.rootfs, self.tools)

    def inputs(self) -> Mapping[str, Any]:
        """The roles' code, and the two site variables that no node of a site has a value of its own for."""
        return {
            "roles": digest_of_files(collection_dir(), patterns=ROLE_CODE, exclude=_NOT_INSTALL),
            "playbook": digest_of_files(playbooks_dir(), patterns=("image.yml",)),
            "script": digest_of_files(node_dir(), patterns=("finish.sh",)),
            "site": [self.site_name, self.runtime],
        }

    def run(self, context: Context, out: Path) -> None:
        """Copy the root, run the phase in the copy, and take away what differs from machine to machine."""
        tree = out / "tree"
        as_root(["cp", "-a", "--reflink=auto", self.rootfs.output(context.cache) / "tree", tree])
        inventory = out.parent / "inventory"
        inventory.mkdir()
        (inventory / "hosts.ini").write_text(_INVENTORY, encoding="utf-8")
        run_image_playbook(
            Sandbox(tree, context.epoch),
            self.tools.output(context.cache) / "tree",
            inventory=[inventory / "hosts.ini"],
            host="image-root",
            phase="install",
            vault_password_file=None,
            variables=[f"edge_site={self.site_name}", f"edge_runtime={self.runtime}"],
            log=context.log,
        )
        finish = Sandbox(tree, context.epoch, (bind(node_dir(), "/run/node"),))
        finish.run(["sh", "/run/node/finish.sh"], log=context.log)

"""A layer of a tiny tree in which ``python3``, in place of Ansible, is a shell script that does what a role would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from edgewright.lockfile import Lock
from edgewright.site import load_site
from edgewright.stages.node_layers import NodeLayer
from edgewright.stages.stage import Context, Stage
from edgewright.store import Store
from edgewright.tools.sandbox import as_root

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.stages.install import Install
    from edgewright.stages.tools_tree import ToolsTree


@dataclass
class Tree(Stage):
    """``<out>/tree``: a copy of a tree with a script in place of python3."""

    source: Path
    script: str

    name: ClassVar[str] = "tree"
    title: ClassVar[str] = "Tree"

    def inputs(self) -> Mapping[str, Any]:
        """The script."""
        return {"script": self.script}

    def run(self, context: Context, out: Path) -> None:
        """Copy it."""
        del context
        as_root(["cp", "-a", self.source, out / "tree"])
        python = out / "tree/usr/bin/python3"
        python.write_text(f"#!/bin/sh\nset -eu\n{self.script}\n")
        python.chmod(0o755)


def layer_of(context: Context, tree: Path, inventory: Path, script: str) -> NodeLayer:
    """Return the layer of the inventory's only host, over a tree that is made, but not yet built itself."""
    password = inventory.with_name("password")
    site = load_site(inventory, vault_password_file=password)
    install = Tree(tree, script)
    install.build(context)
    tools = cast("ToolsTree", install)
    return NodeLayer(site, site.hosts[0], cast("Install", install), tools, Lock(), Store(context.cache.store), password)

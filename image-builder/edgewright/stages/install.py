"""The ``install`` phase of the roles, once, in the node's root."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgewright.lockfile import LOCK_NAME
from edgewright.paths import collection_dir, node_dir, playbooks_dir
from edgewright.stages.stage import Context, Stage, digest_of_files
from edgewright.tools.ansible import run_image_playbook
from edgewright.tools.sandbox import Sandbox, as_root, bind
from edgewright.trees import runtime_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.lockfile import Lock
    from edgewright.site import Site
    from edgewright.stages.rootfs import Rootfs
    from edgewright.stages.tools_tree import ToolsTree
    from edgewright.store import Store

# The parts of the collection that a run of its roles reads.
ROLE_CODE = ("meta/*", "plugins/**/*", "roles/**/*")
# What the install phase never reads, so that a change in it does not reinstall.
_NOT_INSTALL = ("README.md", "tasks/configure.yml", "tasks/seed.yml", "tasks/activate.yml")

# The phase must be the same for every node, so it gets an inventory in which nothing is said about any.
_INVENTORY = "image-root ansible_connection=local\n"


# Where the programs of the runtime come from; other artifacts are models and disks, which no role installs.
_RELEASES = "https://github.com/k3s-io/k3s/releases/"
# Debian's own unit would serve a registry that everybody on the network may fill.
_ADD_REGISTRY = """
set -eu
cp -R --no-preserve=ownership,mode /run/node/k3s/. /
systemctl disable docker-registry.service
systemctl enable edgewright-registry.service
"""


@dataclass
class Install(Stage):
    """``<out>/tree``: the node's root with everything installed and enabled, the same for every node of the site."""

    rootfs: Rootfs
    tools: ToolsTree
    site: Site
    lock: Lock
    store: Store

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
            "site": self._variables(),
            "runtime": self._runtime_files(),
        }

    def _variables(self) -> dict[str, Any]:
        """Return the site variables that no node has a value of its own for."""
        first = self.site.hosts[0].variables
        shared = {"edge_site": self.site.name, "edge_runtime": runtime_of(self.site)}
        return shared | ({"edge_kubernetes": first.get("edge_kubernetes") or {}} if self._on_k3s else {})

    @property
    def _on_k3s(self) -> bool:
        return runtime_of(self.site) == "k3s"

    def _runtime_files(self) -> dict[str, Any]:
        """Return what comes from the store, by digest, and the builder's own files for the runtime."""
        if not self._on_k3s:
            return {}
        pinned = {source: artifact.digest for source, artifact in self.lock.artifacts.items() if _is_release(source)}
        return {"pinned": pinned, "files": digest_of_files(node_dir() / "k3s")}

    def run(self, context: Context, out: Path) -> None:
        """Copy the root, run the phase in the copy, and take away what differs from machine to machine."""
        tree = out / "tree"
        as_root(["cp", "-a", "--reflink=auto", self.rootfs.output(context.cache) / "tree", tree])
        inventory = out.parent / "inventory"
        inventory.mkdir()
        (inventory / "hosts.ini").write_text(_INVENTORY, encoding="utf-8")
        if self._on_k3s:
            (inventory / LOCK_NAME).write_text(self.lock.to_text(), encoding="utf-8")
        run_image_playbook(
            Sandbox(tree, context.epoch),
            self.tools.output(context.cache) / "tree",
            inventory=[inventory / "hosts.ini"],
            host="image-root",
            phase="install",
            vault_password_file=None,
            variables=[json.dumps(self._variables())],
            store=self.store.root if self._on_k3s else None,
            log=context.log,
        )
        inside = Sandbox(tree, context.epoch, (bind(node_dir(), "/run/node"),))
        if self._on_k3s:
            inside.run(["sh", "-c", _ADD_REGISTRY], log=context.log)
        inside.run(["sh", "/run/node/finish.sh"], log=context.log)


def _is_release(source: str) -> bool:
    return source.startswith(_RELEASES)

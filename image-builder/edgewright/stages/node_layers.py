"""Node layers: the difference that one inventory host makes to /etc and to seeds of /var."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright.paths import collection_dir, playbooks_dir
from edgewright.stages.install import ROLE_CODE
from edgewright.stages.stage import Context, Stage, digest_of_files
from edgewright.tools.ansible import run_image_playbook
from edgewright.tools.sandbox import Sandbox, as_root
from edgewright.trees import runtime_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.lockfile import Lock
    from edgewright.site import Host, Site
    from edgewright.stages.install import Install
    from edgewright.stages.tools_tree import ToolsTree
    from edgewright.store import Store

_LAYERED = frozenset({"etc", "var"})


@dataclass
class NodeLayer(Stage):
    """``<out>/layer/{etc,var,digest}``: what the ``configure`` phase wrote for one host."""

    site: Site
    host: Host
    install: Install
    tools: ToolsTree
    lock: Lock
    store: Store
    vault_password_file: Path | None = field(default=None, repr=False)

    name: ClassVar[str] = "node-layer"
    title: ClassVar[str] = "Roles: configure phase"

    @property
    def label(self) -> str:
        """Layers are told apart by their host."""
        return f"{self.name} {self.host.name}"

    def needs(self) -> tuple[Stage, ...]:
        """The root that the layer is a difference to, and the tools tree for its Ansible."""
        return (self.install, self.tools)

    def inputs(self) -> Mapping[str, Any]:
        """The roles' code, and what the inventory says of all hosts: a template may look at its neighbours."""
        hosts = {host.name: [list(host.groups), host.variables] for host in self.site.hosts}
        text = json.dumps(hosts, sort_keys=True, default=str)
        pinned = {source: artifact.digest for source, artifact in self.lock.artifacts.items()}
        return {
            "roles": digest_of_files(collection_dir(), patterns=ROLE_CODE, exclude=("README.md", "tasks/seed.yml")),
            "playbook": digest_of_files(playbooks_dir(), patterns=("image.yml",)),
            "host": self.host.name,
            "script": _CLAMP,
            "variables": hashlib.sha256(text.encode()).hexdigest(),
            # Manifests come from the store, and the registries of the images are named.
            "lock": [pinned, sorted(self.lock.images)] if self._on_k3s else [],
        }

    @property
    def _on_k3s(self) -> bool:
        return runtime_of(self.site) == "k3s"

    def run(self, context: Context, out: Path) -> None:
        """Run the phase over the installed root and keep what it changed.

        Raises:
            EdgeError: a role wrote outside /etc and /var, or a secret of the inventory came into the layer.
        """
        changes = out / "layer"
        changes.mkdir()
        self.run_phase(context, changes, phase="configure", log=context.log)
        self._refuse_secrets(changes)
        # Of the files, not of the stage's inputs: those have secrets among them, and a weak one could be guessed.
        digest = as_root(["sh", "-c", _DIGEST, "digest", changes], log=context.log).decode().split()[0]
        (changes / "digest").write_text(digest + "\n")

    def run_phase(self, context: Context, changes: Path, *, phase: str, log: Path) -> None:
        """Run a phase of the roles for this host over the installed root; what it changed comes into ``changes``.

        Raises:
            ToolError: a task failed.
            EdgeError: a role wrote outside /etc and /var.
        """
        root = self.install.output(context.cache) / "tree"
        run_image_playbook(
            Sandbox(root, context.epoch, changes=changes),
            self.tools.output(context.cache) / "tree",
            inventory=self.site.sources,
            host=self.host.name,
            phase=phase,
            vault_password_file=self.vault_password_file,
            store=self.store.root if self._on_k3s else None,
            log=log,
        )
        # mkdir of a mount point is not a role's doing.
        for folder in ("run", "tmp", "dev", "proc"):
            if (changes / folder).exists():
                as_root(["rmdir", "--ignore-fail-on-non-empty", "--", changes / folder])
        strays = sorted(entry.name for entry in changes.iterdir() if entry.name not in _LAYERED)
        if strays:
            raise EdgeError(
                Problem(
                    f"{self.host.name}: the {phase} phase of a role",
                    "wrote outside /etc and /var",
                    found=", ".join(f"/{name}" for name in strays),
                    remedy="What is the same for every node belongs to the role's install phase.",
                )
            )
        as_root(["sh", "-c", _CLAMP, "clamp", changes, str(context.epoch)], log=log)

    def _refuse_secrets(self, layer: Path) -> None:
        """Refuse a layer in which a vaulted value can be read: an image is copied, lent and lost."""
        secrets = sorted(value for value in self.host.secret_values if len(value) >= 6)
        if not secrets:
            return
        pattern = layer.parent / "patterns"
        pattern.touch(mode=0o600)
        pattern.write_text("\n".join(line for value in secrets for line in value.splitlines() if len(line) >= 6))
        found = as_root(["sh", "-c", 'grep -rlF -f "$1" "$2" || [ $? -eq 1 ]', "grep", pattern, layer]).decode().split()
        pattern.unlink()
        if found:
            files = ", ".join(f"/{Path(name).relative_to(layer)}" for name in found)
            raise EdgeError(
                Problem(
                    f"{self.host.name}: the configure phase",
                    "would put a vaulted value of the inventory into the image",
                    found=files,
                    expected="no secret in an image",
                    remedy="Keep it out of files that the configure phase writes; secrets travel in the site's seed.",
                )
            )


_CLAMP = r"""
set -eu
rm -rf "$1/var/tmp" "$1/var/cache" "$1/var/lib/ansible" "$1/var/log"
rm -f "$1"/etc/.pwd.lock
for name in passwd group shadow gshadow subuid subgid; do rm -f "$1/etc/$name-"; done
[ ! -f "$1/etc/shadow" ] || sed -i -E 's/^([^:]*:[^:]*):[0-9]*:/\1:20000:/' "$1/etc/shadow"
find "$1" -newermt "@$2" -print0 | xargs -0 -r touch --no-dereference --date="@$2"
"""

_DIGEST = 'tar --sort=name --numeric-owner --format=gnu -C "$1" -cf - . | sha256sum'

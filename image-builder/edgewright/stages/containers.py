"""Container images that this project makes itself: Debian packages and PyPI wheels, as an OCI image layout."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import yaml

from edgewright import __version__
from edgewright.paths import collection_dir, containers_dir
from edgewright.stages.stage import Context, Stage, digest_of_files
from edgewright.stages.tools_tree import ToolsTree, packages_of
from edgewright.tools.mmdebstrap import make_tree
from edgewright.tools.sandbox import Sandbox, as_root, bind
from edgewright.trees import own_image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgewright.lockfile import Lock
    from edgewright.store import Store

# Media types of the OCI image specification 1.1 (image-spec, media-types.md).
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

# Where Debian's python3 looks for modules.
_DIST_PACKAGES = "/usr/lib/python3/dist-packages"
_MODULE_UTILS = "plugins/module_utils"

# What a container that only runs one program never uses.
_TRIM = r"""
set -eu
rm -rf "$1"/var/lib/dpkg/info "$1"/var/lib/apt "$1"/var/cache "$1"/var/log "$1"/etc/machine-id "$1"/usr/share/doc-base
rm -rf "$1"/var/lib/dpkg/*-old "$1"/etc/*- "$1"/etc/hostname "$1"/etc/resolv.conf
mkdir -p "$1/var/cache" "$1/var/log" "$1/models"
[ ! -f "$1/etc/shadow" ] || sed -i -E 's/^([^:]*:[^:]*):[0-9]*:/\1:20000:/' "$1/etc/shadow"
"""


@dataclass
class ContainerImage(Stage):
    """``<out>/oci``: an OCI image layout with one image of one layer, and ``<out>/reference``: its name."""

    recipe: str
    lock: Lock
    store: Store
    tools: ToolsTree

    name: ClassVar[str] = "container"
    title: ClassVar[str] = "Container image"

    @property
    def label(self) -> str:
        """Images are told apart by their recipe."""
        return f"{self.name} {self.recipe}"

    @property
    def reference(self) -> str:
        """The image's name in a container store."""
        return own_image(self.recipe)

    @cached_property
    def _recipe(self) -> dict[str, Any]:
        data: dict[str, Any] = yaml.safe_load(self._folder.joinpath("container.yml").read_text(encoding="utf-8"))
        return data

    @property
    def _folder(self) -> Path:
        return containers_dir() / self.recipe

    @property
    def _shared(self) -> tuple[str, ...]:
        """Files of the collection's module_utils that the recipe's program imports, under their full name."""
        return tuple(f"{name}.py" for name in self._recipe.get("module_utils", ()))

    def needs(self) -> tuple[Stage, ...]:
        """The tools tree: its pip unpacks the wheels."""
        return (self.tools,)

    def inputs(self) -> Mapping[str, Any]:
        """The recipe, the files it copies, the locked packages and wheels."""
        return {
            "recipe": self._recipe,
            "files": {source: digest_of_files(self._folder / source) for source in self._recipe.get("copy", {})},
            "module_utils": digest_of_files(collection_dir() / _MODULE_UTILS, patterns=self._shared)
            if self._shared
            else "",
            "packages": packages_of(self.lock, f"container-{self.recipe}"),
            "wheels": [[wheel.filename, wheel.digest] for wheel in self.lock.wheels(self.recipe)],
            "version": __version__,
        }

    def run(self, context: Context, out: Path) -> None:
        """Make the tree, pack it as one layer, and describe it."""
        scratch = out.parent
        tree = scratch / "tree"
        make_tree(
            self.lock,
            f"container-{self.recipe}",
            self.store,
            tree,
            epoch=context.epoch,
            scratch=scratch,
            log=context.log,
        )
        self._install_wheels(context, scratch, tree)
        self._copy_files(context, tree)
        as_root(["sh", "-c", _TRIM, "trim", tree], log=context.log)
        blobs = out / "oci" / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        layer = scratch / "layer.tar"
        _pack(tree, layer, context)
        digest, size = _adopt(blobs, layer)
        self._describe(out, blobs, digest, size, context.epoch)

    def _install_wheels(self, context: Context, scratch: Path, tree: Path) -> None:
        """Unpack the locked wheels with pip, without its index, and compile them so that no start has to."""
        wheels = scratch / "wheels"
        wheels.mkdir()
        for wheel in self.lock.wheels(self.recipe):
            (wheels / wheel.filename).hardlink_to(self.store.path(wheel.digest))
        names = [f"/run/wheels/{wheel.filename}" for wheel in self.lock.wheels(self.recipe)]
        target = _DIST_PACKAGES
        sandbox = self.tools.sandbox(context, bind(wheels, "/run/wheels"), bind(tree, "/run/tree"))
        pip = ["python3", "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
        pip += ["--root-user-action=ignore", "--disable-pip-version-check", f"--target=/run/tree{target}"]
        sandbox.run([*pip, *names], log=context.log)

    def _copy_files(self, context: Context, tree: Path) -> None:
        """Copy the recipe's own files and byte-compile Python by content, not by time (PEP 552)."""
        inside = Sandbox(tree, context.epoch, (bind(self._folder, "/run/recipe"),))
        for source, target in self._recipe.get("copy", {}).items():
            script = 'mkdir -p "$2" && cp -R --no-preserve=ownership "$1/." "$2/" && chmod -R u=rwX,go=rX "$2"'
            inside.run(["sh", "-c", script, "copy", f"/run/recipe/{source}", target], log=context.log)
        if self._shared:
            target = f"{_DIST_PACKAGES}/ansible_collections/edgewright/edge/{_MODULE_UTILS}"
            names = [f"/run/module_utils/{name}" for name in self._shared]
            script = 'target=$1; shift; mkdir -p "$target" && install -m 0644 -t "$target" "$@"'
            shared = replace(inside, mounts=(bind(collection_dir() / _MODULE_UTILS, "/run/module_utils"),))
            shared.run(["sh", "-c", script, "copy", target, *names], log=context.log)
        folders = sorted({_DIST_PACKAGES, *self._recipe.get("copy", {}).values()})
        clean = 'find "$@" -name __pycache__ -prune -exec rm -rf {} +'
        inside.run(["sh", "-c", clean, "clean", *folders], log=context.log)
        compiler = ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
        inside.run([*compiler, *folders], log=context.log)

    def _describe(self, out: Path, blobs: Path, layer: str, size: int, epoch: int) -> None:
        """Write config, manifest and index (OCI image-spec: config.md, manifest.md, image-layout.md)."""
        recipe = self._recipe
        created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        config = {
            "created": created,
            "architecture": self.lock.distribution.architecture,
            "os": "linux",
            "config": {
                "User": recipe["user"],
                "Entrypoint": recipe["entrypoint"],
                "Env": [f"{key}={value}" for key, value in sorted(recipe.get("env", {}).items())],
                "ExposedPorts": {port: {} for port in recipe.get("exposed_ports", ())},
                "WorkingDir": recipe.get("working_dir", "/"),
                "Labels": {**recipe.get("labels", {}), "org.opencontainers.image.version": __version__},
                "StopSignal": recipe.get("stop_signal", "SIGTERM"),
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
            "history": [{"created": created, "created_by": "edgewright"}],
        }
        config_digest, config_size = _write_blob(blobs, config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": f"sha256:{config_digest}", "size": config_size},
            "layers": [{"mediaType": _LAYER, "digest": f"sha256:{layer}", "size": size}],
        }
        manifest_digest, manifest_size = _write_blob(blobs, manifest)
        index = {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": _MANIFEST,
                    "digest": f"sha256:{manifest_digest}",
                    "size": manifest_size,
                    "annotations": {"org.opencontainers.image.ref.name": self.reference},
                }
            ],
        }
        (out / "oci" / "index.json").write_bytes(_json(index))
        (out / "oci" / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
        (out / "reference").write_text(self.reference + "\n", encoding="utf-8")


def _pack(tree: Path, layer: Path, context: Context) -> None:
    """Pack a tree as a layer whose bytes depend on nothing but the tree (reproducible-builds.org, "Archives")."""
    options = ["--sort=name", "--numeric-owner", "--format=posix", "--clamp-mtime", f"--mtime=@{context.epoch}"]
    options += ["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"]
    exclude = [f"--exclude=./{folder}/*" for folder in ("dev", "proc", "sys", "run", "tmp")]
    as_root(["tar", *options, *exclude, "-C", tree, "-cf", layer, "."], log=context.log)


def _adopt(blobs: Path, file: Path) -> tuple[str, int]:
    """Move a file among the blobs; return its SHA-256 (hex) and size in bytes."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    file.rename(blobs / digest)
    return digest, (blobs / digest).stat().st_size


def _json(data: object) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def _write_blob(blobs: Path, data: object) -> tuple[str, int]:
    """Write JSON as a blob; return its SHA-256 (hex) and size in bytes."""
    content = _json(data)
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return digest, len(content)

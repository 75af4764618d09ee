"""``site.lock.yml``: what a site is built from, each thing pinned by digest, size and source.

The records are in ``pins``; the text form (strict reading, one line a package, sorted, the same bytes for the same
content) is in ``lockfile_yaml``.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem

from edgewright import lockfile_yaml
from edgewright.pins import Artifact, Container, Distribution, Image, Package, Tree, Wheel

__all__ = ["LOCK_NAME", "Artifact", "Container", "Distribution", "Image", "Lock", "Package", "Tree", "Wheel"]

LOCK_NAME = "site.lock.yml"


@dataclass(frozen=True)
class Lock:
    """Everything that a site is built from.

    Attributes:
        distribution: where the Debian packages come from.
        packages: by name; one version of a package serves all trees.
        trees: by tree name (``tools``, ``node``, ``container-<name>``, ``guest-<name>``).
        containers: by container name.
        artifacts: by source string as the inventory writes it.
        images: container images from registries, by full name with tag.
    """

    distribution: Distribution = field(default_factory=Distribution)
    packages: dict[str, Package] = field(default_factory=dict)
    trees: dict[str, Tree] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)

    @property
    def date(self) -> str:
        """The newest time stamp of its Debian packages: what everything made from it is dated with; empty if none."""
        return next(iter(self.distribution.snapshots), "")

    def tree(self, name: str) -> list[Package]:
        """Return the packages of a tree, sorted by name.

        Raises:
            EdgeError: the tree is not in the lock.
        """
        if name not in self.trees:
            raise _not_locked(f"the packages of '{name}'", sorted(self.trees))
        return [self.packages[package] for package in self.trees[name].packages]

    def wheels(self, container: str) -> list[Wheel]:
        """Return the wheels of a container, sorted by name.

        Raises:
            EdgeError: the container is not in the lock.
        """
        if container not in self.containers:
            raise _not_locked(f"the Python packages of container '{container}'", sorted(self.containers))
        return list(self.containers[container].wheels)

    def artifact(self, source: str) -> Artifact:
        """Return the pin of an artifact.

        Raises:
            EdgeError: the source is not in the lock.
        """
        if source not in self.artifacts:
            raise _not_locked(f"artifact '{source}'", sorted(self.artifacts))
        return self.artifacts[source]

    def image(self, reference: str) -> Image:
        """Return the pin of a container image.

        Raises:
            EdgeError: the image is not in the lock.
        """
        if reference not in self.images:
            raise _not_locked(f"container image '{reference}'", sorted(self.images))
        return self.images[reference]

    def package_urls(self, package: Package) -> list[str]:
        """Return where to try for a package, in order."""
        return self.distribution.urls(package.path)

    def to_text(self) -> str:
        """Return the file's text: the same bytes for the same content."""
        return lockfile_yaml.emit(self)

    @classmethod
    def from_text(cls, text: str, name: str = LOCK_NAME) -> Lock:
        """Read a lock from its text; ``name`` is what errors call the file.

        Raises:
            EdgeError: everything that is wrong with it.
        """
        return cls(**lockfile_yaml.parse(text, name))

    @classmethod
    def load(cls, path: Path) -> Lock:
        """Read a lock file.

        Raises:
            EdgeError: there is none, or everything that is wrong with it.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise EdgeError(
                Problem(
                    str(path),
                    "the site is not locked yet: there is no such file",
                    remedy=f"Run 'edgewright lock -i {path.parent}' where there is a network.",
                )
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise EdgeError(Problem(str(path), f"the lock cannot be read: {error}")) from error
        return cls.from_text(text, str(path))

    def dump(self, path: Path) -> bool:
        """Write the lock in one step; return whether the file changed (an equal file is left alone)."""
        content = self.to_text().encode()
        if path.is_file() and path.read_bytes() == content:
            return False
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as temporary:
            try:
                temporary.write(content)
                temporary.flush()
                os.fchmod(temporary.fileno(), 0o644)
                os.fsync(temporary.fileno())
                Path(temporary.name).replace(path)
            except BaseException:
                Path(temporary.name).unlink(missing_ok=True)
                raise
        return True


def _not_locked(what: str, known: list[str]) -> EdgeError:
    return EdgeError(
        Problem(
            LOCK_NAME,
            f"{what} {'are' if 'packages of' in what else 'is'} not pinned",
            expected=f"one of {', '.join(known)}" if known else "",
            remedy="Run 'edgewright lock' (and then 'edgewright fetch') where there is a network.",
        )
    )

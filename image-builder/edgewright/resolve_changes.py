"""What differs between two locks, for a person and for a script."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewright.lockfile import Lock

_SHOWN = 40  # a first lock adds hundreds


@dataclass(frozen=True)
class Changes:
    """Differences of one kind of thing; ``changed`` has name, old and new version (or digest)."""

    kind: str
    kept: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[tuple[str, str, str], ...]

    def lines(self) -> list[str]:
        """Return it in words: one line that counts, then a line for each of the first differences."""
        counts = [f"{self.kept} kept"]
        counts += [
            f"{len(each)} {word}"
            for word, each in (("added", self.added), ("removed", self.removed), ("changed", self.changed))
            if each
        ]
        details = [f"  ~ {name} {before} -> {after}" for name, before, after in self.changed]
        details += [f"  - {name}" for name in self.removed]
        details += [f"  + {name}" for name in self.added]
        if len(details) > _SHOWN:
            details[_SHOWN:] = [f"  … and {len(details) - _SHOWN} more (all of them with --json)"]
        return [f"{self.kind}: {', '.join(counts)}", *details]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def changes(old: Lock, new: Lock) -> list[Changes]:
    """Compare two locks: packages, Python packages, artifacts and container images."""
    return [
        _compare("Debian packages", *(_packages(lock) for lock in (old, new))),
        _compare("Python packages", *(_wheels(lock) for lock in (old, new))),
        _compare("artifacts", *(_artifacts(lock) for lock in (old, new))),
        _compare("container images", *(_images(lock) for lock in (old, new))),
    ]


def _packages(lock: Lock) -> dict[str, tuple[str, str]]:
    return {name: (package.version, package.digest) for name, package in lock.packages.items()}


def _wheels(lock: Lock) -> dict[str, tuple[str, str]]:
    containers = lock.containers.items()
    return {f"{name}/{wheel.name}": (wheel.version, wheel.digest) for name, each in containers for wheel in each.wheels}


def _artifacts(lock: Lock) -> dict[str, tuple[str, str]]:
    return {source: (artifact.digest[:19], artifact.digest) for source, artifact in lock.artifacts.items()}


def _images(lock: Lock) -> dict[str, tuple[str, str]]:
    return {name: ((image.index or image.manifest)[:19], image.manifest) for name, image in lock.images.items()}


def _compare(kind: str, old: Mapping[str, tuple[str, str]], new: Mapping[str, tuple[str, str]]) -> Changes:
    both = sorted(set(old) & set(new))
    return Changes(
        kind=kind,
        kept=sum(old[name] == new[name] for name in both),
        added=tuple(f"{name} {new[name][0]}" for name in sorted(set(new) - set(old))),
        removed=tuple(f"{name} {old[name][0]}" for name in sorted(set(old) - set(new))),
        changed=tuple((name, old[name][0], new[name][0]) for name in both if old[name] != new[name]),
    )

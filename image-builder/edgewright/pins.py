"""What a lock pins: plain, immutable records. Digests are ``sha256:<hex>``, sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

SNAPSHOT_PLACEHOLDER = "{snapshot}"

# The mirrors are tried in order. Point releases and security updates remove superseded files from a mirror's pool,
# snapshot.debian.org keeps them all; a time stamp there means "the last state at or before it".
DEFAULT_MIRRORS = {
    "debian": (
        "http://deb.debian.org/debian",
        "https://snapshot.debian.org/archive/debian/{snapshot}",
    ),
    "debian-security": (
        "http://deb.debian.org/debian-security",
        "https://snapshot.debian.org/archive/debian-security/{snapshot}",
    ),
}


@dataclass(frozen=True)
class Distribution:
    """Where Debian packages come from.

    Attributes:
        suite: code name, ``trixie``; its ``-updates`` and ``-security`` suites are always taken along.
        architecture: Debian's name, ``amd64``.
        snapshots: time stamps (``20261123T005303Z``, newest first) that stand in for ``{snapshot}`` in a mirror's URL.
        mirrors: archive name (``debian``, ``debian-security``) to base URLs, tried in order.
    """

    suite: str = "trixie"
    architecture: str = "amd64"
    snapshots: tuple[str, ...] = ()
    mirrors: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(DEFAULT_MIRRORS))

    def urls(self, path: str) -> list[str]:
        """Return where to try for ``path`` (``<archive>/<path below the mirror's base>``), in order."""
        archive, _, rest = path.partition("/")
        bases: list[str] = []
        for mirror in self.mirrors[archive]:
            if SNAPSHOT_PLACEHOLDER in mirror:
                bases += [mirror.replace(SNAPSHOT_PLACEHOLDER, stamp) for stamp in self.snapshots]
            else:
                bases.append(mirror)
        # "+" must be escaped: object stores behind mirrors read it as a space (apt escapes it too).
        return [f"{base.rstrip('/')}/{quote(rest, safe='/~')}" for base in bases]


@dataclass(frozen=True)
class Package:
    """One .deb; ``size`` in bytes, ``path`` is ``<archive>/pool/…``, ``digest`` is ``sha256:<hex>``."""

    name: str
    version: str
    architecture: str
    digest: str
    size: int
    path: str

    @property
    def filename(self) -> str:
        """The file name as the mirror has it."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Tree:
    """A set of packages installed together: the names asked for, and the names that this comes to."""

    requested: tuple[str, ...]
    packages: tuple[str, ...]


@dataclass(frozen=True)
class Wheel:
    """One Python wheel of a container; ``size`` in bytes."""

    name: str
    version: str
    filename: str
    digest: str
    size: int
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Container:
    """A container's wheels, and the requirement lines that they answer."""

    requested: tuple[str, ...]
    wheels: tuple[Wheel, ...]


@dataclass(frozen=True)
class Artifact:
    """A single file that comes from outside.

    ``digest`` and ``size`` (bytes) are those of the file that is used. When that is a ``member`` of an archive
    (a wheel is a ZIP file), ``urls``, ``archive_digest`` and ``archive_size`` are the archive's. A ``file:`` source has
    no URL: it lies in the inventory's folder.
    """

    source: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    member: str = ""
    archive_digest: str = ""
    archive_size: int = 0


@dataclass(frozen=True)
class Blob:
    """A configuration or a layer of a container image; ``size`` in bytes."""

    digest: str
    size: int


@dataclass(frozen=True)
class Image:
    """A container image for one platform.

    Attributes:
        reference: full name with its tag, ``docker.io/library/busybox:1.37.0``; the tag is not asked again.
        platform: ``linux/amd64``.
        index: digest of the index behind the tag, or ``None`` if there is only the one manifest.
        manifest: digest of the platform's manifest.
        size: bytes of index, manifest and blobs.
        blobs: configuration and layers, each once.
    """

    reference: str
    platform: str
    index: str | None
    manifest: str
    size: int
    blobs: tuple[Blob, ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests of all files that the image consists of; the index, which names the others, comes first."""
        return (*([self.index] if self.index else []), self.manifest, *(blob.digest for blob in self.blobs))

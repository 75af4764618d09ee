"""Names of container images: registry, repository, tag and digest, written in full.

The grammar is that of the distribution project's ``reference`` package; a short name means what it means to
containerd: ``busybox`` is ``docker.io/library/busybox:latest``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError, text

_EXPECTED: Final = "<registry>/<repository>:<tag> or <registry>/<repository>@sha256:<digest>"
_DEFAULT_REGISTRY: Final = "docker.io"
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])"
    r"(?::[0-9]{1,5})?",
    re.ASCII,
)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_LONGEST: Final = 255


@dataclass(frozen=True, order=True)
class ImageName:
    """One image's name.

    Attributes:
        registry: host with port if any: ``docker.io``, ``registry.lan:5000``.
        repository: path in it: ``library/busybox``.
        tag: ``1.37.0``; empty only with a digest.
        digest: ``sha256:<hex>``, or empty.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, value: object) -> ImageName:
        """Read a name as people and manifests write it, filling in what is left out.

        Raises:
            UnfitError: it is no image's name.
        """
        written = str(text(value))
        name, at, digest = written.partition("@")
        if at and _DIGEST.fullmatch(digest) is None:
            raise UnfitError("has a digest that is none", expected="@sha256: and 64 hexadecimal digits")
        head, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:
            head, tag = name, ""
        elif _TAG.fullmatch(tag) is None:
            raise UnfitError("has a tag that is none", expected=_EXPECTED)
        first, slash, rest = head.partition("/")
        # A first part without dot and port is a name of the default registry's, unless it is the loopback host.
        if slash and (any(mark in first for mark in ".:") or first == "localhost" or first != first.lower()):
            registry, repository = first, rest
        else:
            registry, repository = _DEFAULT_REGISTRY, head
        if registry == "index.docker.io":
            registry = _DEFAULT_REGISTRY
        if registry == _DEFAULT_REGISTRY and "/" not in repository:
            repository = f"library/{repository}"
        if _HOST.fullmatch(registry) is None or _REPOSITORY.fullmatch(repository) is None:
            raise UnfitError(
                "is no container image's name",
                expected=_EXPECTED,
                remedy="Repositories are in lower case." if repository != repository.lower() else "",
            )
        if len(f"{registry}/{repository}") > _LONGEST:
            raise UnfitError("is too long for a container image's name", expected=f"at most {_LONGEST} characters")
        return cls(registry, repository, tag or ("" if digest else "latest"), digest)

    @property
    def name(self) -> str:
        """Return registry and repository: ``docker.io/library/busybox``."""
        return f"{self.registry}/{self.repository}"

    @property
    def tagged(self) -> str:
        """Return the name without its digest."""
        return f"{self.name}:{self.tag}" if self.tag else self.name

    def without_digest(self) -> ImageName:
        """Return the same name with its tag only."""
        return replace(self, digest="")

    def __str__(self) -> str:
        return self.tagged + (f"@{self.digest}" if self.digest else "")


def image_name(value: object) -> str:
    """Accept an image's name; return it in full.

    Raises:
        UnfitError: it is none.
    """
    return str(ImageName.parse(value))

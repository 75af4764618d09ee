"""The image of a service as an inventory names it: made here, or one of a registry with its version."""

from __future__ import annotations

import re
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import BuildSource, parse_source
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError, text

# The grammar of github.com/distribution/reference, with the registry's host required.
_HOST: Final = r"(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9-]+(?=:[0-9]))(?::[0-9]{1,5})?"
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    rf"(?P<name>{_HOST}(?:/{_PART})+)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_EXPECTED: Final = "build:containers/<name>, or <registry>/<name>:<tag> or <registry>/<name>@sha256:<digest>"


def container_image(value: object) -> str:
    """Accept ``build:containers/<name>``, or a reference with its registry and a tag or digest.

    Raises:
        UnfitError: it is neither, or its version may be another one tomorrow.
    """
    image = text(value)
    if image.startswith("build:"):
        source = parse_source(image)
        if isinstance(source, BuildSource) and source.kind != "containers":
            raise UnfitError("builds a guest, not a container", expected=_EXPECTED)
        return str(source)
    match = _REFERENCE.fullmatch(image)
    if match is None:
        raise UnfitError("is not a full image reference", expected=_EXPECTED)
    if not match["tag"] and not match["digest"]:
        raise UnfitError("names no version", expected=_EXPECTED, remedy="Add a tag or a digest.")
    if match["tag"] == "latest" and not match["digest"]:
        raise UnfitError("has a tag that moves", expected=_EXPECTED, remedy="Name a version instead of 'latest'.")
    return image


def name_in_store(image: str, *, version: str) -> str:
    """Return the name a container store knows an ``image`` by; images built here have the tag ``version``."""
    if image.startswith("build:"):
        return f"localhost/edgewright/{image.rpartition('/')[2]}:{version}"
    return image

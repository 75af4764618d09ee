"""What a k3s site needs from outside: release assets with published checksums, operators' and its own manifests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import (
    IMAGE_LIST,
    cdi_url,
    k3s_binary,
    k3s_checksums,
    k3s_url,
    kubevirt_url,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform

# Debian's name of an architecture to k3s's.
ARCHITECTURES = {"amd64": "amd64", "arm64": "arm64", "armhf": "arm"}


@dataclass(frozen=True)
class Needed:
    """The files of a platform.

    Attributes:
        artifacts: source to the place in the inventory that asks for it.
        checksums: source to the URL of the list with its published checksum.
        documents: those artifacts that name container images.
    """

    artifacts: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    documents: tuple[str, ...] = ()


def needed_files(platform: Platform, architecture: str, where: Mapping[str, str]) -> Needed:
    """Return what to pin for a platform.

    k3s's archive of its own images is not among it: each of those images is pinned by itself.

    Args:
        platform: the versions.
        architecture: Debian's name, ``amd64``.
        where: places in the inventory by key of ``edge_kubernetes``: ``k3s``, ``kubevirt``, ``cdi``, and
            ``manifests[<number>]``.
    """
    own = ARCHITECTURES[architecture]
    binary = k3s_url(platform.k3s, k3s_binary(own))
    images = k3s_url(platform.k3s, IMAGE_LIST)
    artifacts = {binary: where["k3s"], images: where["k3s"]}
    documents = [images]
    if platform.kubevirt:
        artifacts[kubevirt_url(platform.kubevirt)] = where["kubevirt"]
        documents.append(kubevirt_url(platform.kubevirt))
    if platform.cdi:
        artifacts[cdi_url(platform.cdi)] = where["cdi"]
        documents.append(cdi_url(platform.cdi))
    for index, source in enumerate(platform.manifests):
        artifacts[source] = where[f"manifests[{index}]"]
        documents.append(source)
    return Needed(artifacts, {binary: k3s_url(platform.k3s, k3s_checksums(own))}, tuple(documents))

"""What a site with the runtime k3s asks for: the files of its releases, and the images that its inventory names."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_mirror import Mirrors
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform

from edgewright.image_discovery import images_of
from edgewright.pins import Distribution
from edgewright.sources.kubernetes_files import Needed, needed_files
from edgewright.sources.local_file import local_file
from edgewright.trees import own_image, recipes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems

    from edgewright.site import Host, Site


@dataclass(frozen=True)
class KubernetesRequest:
    """What is asked for.

    Attributes:
        wanted: whether the site runs k3s at all.
        needed: files to pin.
        images: full names of images to the places that ask for them: ``edge_kubernetes.images``, and what the site's
            own manifests name.
        mirrors: ``edge_mirrors``, which any runtime may have.
    """

    wanted: bool = False
    needed: Needed = field(default_factory=Needed)
    images: Mapping[str, str] = field(default_factory=dict)
    mirrors: Mirrors = field(default_factory=Mirrors)


def place_of(site: Site, host: str, path: str) -> str:
    """Return where a value was written: file, line and key, or host and key if it was not written at all."""
    place = site.locate(host, path)
    return f"{place}: {path}" if place else f"{host}: {path}"


def kubernetes_request(site: Site, problems: Problems) -> KubernetesRequest:
    """Read a site's ``edge_kubernetes`` and ``edge_mirrors``; what is wrong goes into ``problems``.

    Both are the same for all hosts of a site: those of the first one are read.
    """
    host = site.hosts[0]
    mirrors = Mirrors()
    with _located(site, host, problems):
        mirrors = Mirrors.from_inventory(host.variables.get("edge_mirrors") or [])
    if host.variables.get("edge_runtime") != "k3s":
        return KubernetesRequest(mirrors=mirrors)
    platform = Platform()
    with _located(site, host, problems):
        platform = Platform.from_inventory(host.variables.get("edge_kubernetes"))
    keys = ["k3s", "kubevirt", "cdi", *(f"manifests[{index}]" for index in range(len(platform.manifests)))]
    where = {key: place_of(site, host.name, f"edge_kubernetes.{key}") for key in keys}
    needed = needed_files(platform, Distribution().architecture, where)
    images = {
        image: place_of(site, host.name, f"edge_kubernetes.images[{index}]")
        for index, image in enumerate(platform.images)
    }
    made_here = {own_image(name) for name in recipes(site, "containers")}
    for source in platform.manifests:
        if source.startswith("file:"):
            with problems.collecting():
                path = local_file(source, needed.artifacts[source], site.inventory)
                for image, named in images_of(path.read_bytes(), source, needed.artifacts[source]).items():
                    if image not in made_here:
                        images.setdefault(image, named)
    local = {source for source in needed.documents if source.startswith("file:")}
    needed = replace(needed, documents=tuple(source for source in needed.documents if source not in local))
    return KubernetesRequest(True, needed, images, mirrors)


@contextmanager
def _located(site: Site, host: Host, problems: Problems) -> Iterator[None]:
    """Collect an ``EdgeError`` of the domain, each problem at the line that it was written on."""
    try:
        yield
    except EdgeError as error:
        for problem in error.problems:
            problems.found.append(replace(problem, where=place_of(site, host.name, problem.where)))

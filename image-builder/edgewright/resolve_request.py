"""What a site asks for that has to be pinned, and what its lock lacks of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_mirror import Mirrors
from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import DOCKER, guest_disk, image_of
from ansible_collections.edgewright.edge.plugins.module_utils.disk_volume import LOCAL
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.image_name import ImageName

from edgewright.kubernetes_request import kubernetes_request, place_of
from edgewright.lockfile import LOCK_NAME, Lock
from edgewright.paths import containers_dir
from edgewright.sources.local_file import needs_no_pin
from edgewright.sources.requirements import read_requirements
from edgewright.stages.emulator_tree import TREE as EMULATOR
from edgewright.trees import package_trees, recipes
from edgewright.url_places import UrlPlaces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgewright.site import Site


@dataclass(frozen=True)
class Request:
    """What a site asks for.

    Attributes:
        trees: tree name to Debian package names.
        containers: container name to Python requirement lines.
        artifacts: source to the place in the inventory that asks for it.
        inventory: the folder that ``file:`` sources are relative to.
        images: full name of a container image from a registry to the place that asks for it.
        disks: likewise, of those that only a virtual machine's disk comes from.
        documents: those artifacts that name more images.
        checksums: artifact to the URL of the list with its published checksum.
        mirrors: where this controller gets the outside's bytes from.
    """

    trees: Mapping[str, list[str]]
    containers: Mapping[str, list[str]] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    inventory: Path = Path()
    images: Mapping[str, str] = field(default_factory=dict)
    disks: Mapping[str, str] = field(default_factory=dict)
    documents: tuple[str, ...] = ()
    checksums: Mapping[str, str] = field(default_factory=dict)
    mirrors: Mirrors = field(default_factory=Mirrors)

    @property
    def all_images(self) -> Mapping[str, str]:
        """Every container image that the inventory names, to the place that asks for it."""
        return {**self.disks, **self.images}

    @property
    def places(self) -> UrlPlaces:
        """Where files with a URL are really had."""
        return UrlPlaces(self.mirrors, self.inventory)


def request_of(site: Site) -> Request:
    """Read what a site asks for out of its inventory and of the recipes it uses.

    Raises:
        EdgeError: images without a full name, unreadable recipes and manifests, an ``edge_kubernetes`` or
            ``edge_mirrors`` with mistakes; all of them.
    """
    problems = Problems()
    artifacts: dict[str, str] = {}
    disks: dict[str, str] = {}
    kubernetes = kubernetes_request(site, problems)
    images = dict(kubernetes.images)
    for where, source, volume in _sources(site):
        if source.startswith(DOCKER):
            with problems.collecting():
                (disks if volume == LOCAL else images).setdefault(_full_name(source, where), where)
        elif not needs_no_pin(source) and volume == LOCAL:  # a data volume's file comes from its server
            artifacts.setdefault(source, where)
    for where, image, archived in _images(site):
        # On podman an archive stands for the image; on k3s it is there besides.
        if needs_no_pin(image) or (archived and not kubernetes.wanted):
            continue
        try:
            images.setdefault(str(ImageName.parse(image)), where)
        except UnfitError as error:
            problems.add(where, error.what, found=image, expected=error.expected, remedy=error.remedy)
    problems.raise_if_any()
    containers = {name: _requirements(containers_dir() / name) for name in recipes(site, "containers")}
    return Request(
        trees=package_trees(site),
        containers=containers,
        artifacts={**kubernetes.needed.artifacts, **artifacts},
        inventory=site.inventory,
        images=images,
        disks={reference: where for reference, where in disks.items() if reference not in images},
        documents=kubernetes.needed.documents,
        checksums=kubernetes.needed.checksums,
        mirrors=kubernetes.mirrors,
    )


def _requirements(recipe: Path) -> list[str]:
    """Return the requirement lines of a container's recipe; a container without Python packages has none."""
    path = recipe / "container.yml"
    data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    name = data.get("requirements", "") if isinstance(data, dict) else None
    if not isinstance(name, str):
        raise EdgeError(Problem(f"{path}: requirements", "this must name a file", repr(name), "a file name"))
    return read_requirements(recipe / name) if name else []


def _entries(site: Site, variable: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield host name, key path and value of each entry of a list variable; ``check`` tells what is malformed."""
    for host in site.hosts:
        value = host.variables.get(variable)
        for index, entry in enumerate(value if isinstance(value, list) else ()):
            if isinstance(entry, dict):
                yield host.name, f"{variable}[{index}]", entry


def _full_name(source: str, where: str) -> str:
    """Return the full name of a disk's image.

    Raises:
        EdgeError: it is no image's name.
    """
    try:
        return image_of(guest_disk(source))
    except UnfitError as error:
        raise EdgeError(Problem(where, error.what, source, error.expected, error.remedy)) from None


def _inner(entry: Mapping[str, Any], key: str) -> Iterator[tuple[str, str, str]]:
    value = entry.get(key)
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, dict) and isinstance(item.get("source"), str):
            yield f"{key}[{index}].source", item["source"], str(item.get("volume") or LOCAL)
        files = item.get("files") if isinstance(item, dict) else None
        for name, source in (files if isinstance(files, dict) else {}).items():
            if isinstance(source, str):
                yield f"{key}[{index}].files.{name}", source, LOCAL


def _sources(site: Site) -> Iterator[tuple[str, str, str]]:
    """Yield place and source of each model and disk, and how a disk is had."""
    for variable, key in (("edge_inference_services", "models"), ("edge_virtual_machines", "disks")):
        for host, path, entry in _entries(site, variable):
            for inner, source, volume in _inner(entry, key):
                yield place_of(site, host, f"{path}.{inner}"), source, volume


def _images(site: Site) -> Iterator[tuple[str, str, bool]]:
    """Yield place and name of each image, and whether the inventory has its archive."""
    archives = {host.name: host.variables.get("inference_services__image_archives") or {} for host in site.hosts}
    for variable in ("edge_inference_services", "edge_virtual_machines"):
        for host, path, entry in _entries(site, variable):
            for key in ("image", "model_image"):
                if isinstance(entry.get(key), str):
                    yield place_of(site, host, f"{path}.{key}"), entry[key], entry[key] in archives[host]


def _needed_trees(lock: Lock, request: Request) -> dict[str, list[str]]:
    """Return the trees that the lock must answer. No image needs the emulator: a lock that has none yet is good."""
    return {tree: asked for tree, asked in request.trees.items() if tree in lock.trees or tree != EMULATOR}


def gaps(lock: Lock, request: Request, name: str = LOCK_NAME) -> list[Problem]:
    """Return what the request asks for and the lock does not answer, ready for an ``EdgeError``."""
    problems = Problems()
    remedy = "Run 'edgewright lock' where there is a network."

    def differs(what: str, asked: object, locked: object) -> None:
        problems.add(
            name, f"the lock is older than the inventory: {what}", found=locked, expected=str(asked), remedy=remedy
        )

    for tree, packages in _needed_trees(lock, request).items():
        locked = set(lock.trees[tree].requested) if tree in lock.trees else set()
        if missing := sorted(set(packages) - locked):
            differs(f"packages of '{tree}'", ", ".join(missing), "not pinned")
        elif extra := sorted(locked - set(packages)):
            differs(f"packages of '{tree}'", f"no {', '.join(extra)}", "pinned")
    for container, lines in request.containers.items():
        held = lock.containers[container].requested if container in lock.containers else ()
        if set(held) != set(lines):
            differs(f"Python packages of '{container}'", ", ".join(lines), ", ".join(held) or "nothing")
    for asked, pinned in ((request.artifacts, lock.artifacts), (request.all_images, lock.images)):
        for source, where in asked.items():
            if source not in pinned:
                differs(where, source, "not pinned")
    return problems.found

"""What a site asks for that has to be pinned, and what its lock lacks of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems

from edgewright.lockfile import LOCK_NAME, Lock
from edgewright.paths import containers_dir
from edgewright.sources.artifacts import needs_no_pin
from edgewright.sources.wheels import read_requirements
from edgewright.trees import package_trees, recipes

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
    """

    trees: Mapping[str, list[str]]
    containers: Mapping[str, list[str]] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    inventory: Path = Path()


def request_of(site: Site) -> Request:
    """Read what a site asks for out of its inventory and of the recipes it uses.

    Raises:
        EdgeError: images that would have to come from a registry, unreadable recipes; all of them.
    """
    problems = Problems()
    artifacts: dict[str, str] = {}
    for where, source in _sources(site):
        if not needs_no_pin(source):
            artifacts.setdefault(source, where)
    for where, image in _images(site):
        if not needs_no_pin(image):
            problems.add(
                where,
                "container images from a registry come with a later release",
                found=image,
                expected="build:containers/NAME",
                remedy="Use a container that this project makes, such as build:containers/inference-server.",
            )
    problems.raise_if_any()
    containers = {name: _requirements(containers_dir() / name) for name in recipes(site, "containers")}
    return Request(package_trees(site), containers, artifacts, site.inventory)


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


def _inner(entry: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    value = entry.get(key)
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, dict) and isinstance(item.get("source"), str):
            yield f"{key}[{index}].source", item["source"]


def _sources(site: Site) -> Iterator[tuple[str, str]]:
    for variable, key in (("edge_inference_services", "models"), ("edge_virtual_machines", "disks")):
        for host, path, entry in _entries(site, variable):
            for inner, source in _inner(entry, key):
                yield _where(site, host, f"{path}.{inner}"), source


def _images(site: Site) -> Iterator[tuple[str, str]]:
    for host, path, entry in _entries(site, "edge_inference_services"):
        if isinstance(entry.get("image"), str):
            yield _where(site, host, f"{path}.image"), entry["image"]


def _where(site: Site, host: str, path: str) -> str:
    place = site.locate(host, path)
    return f"{place}: {path}" if place else f"{host}: {path}"


def gaps(lock: Lock, request: Request, name: str = LOCK_NAME) -> list[Problem]:
    """Return what the request asks for and the lock does not answer, ready for an ``EdgeError``."""
    problems = Problems()
    remedy = "Run 'edgewright lock' where there is a network."

    def differs(what: str, asked: object, locked: object) -> None:
        problems.add(
            name, f"the lock is older than the inventory: {what}", found=locked, expected=str(asked), remedy=remedy
        )

    for tree, packages in request.trees.items():
        locked = set(lock.trees[tree].requested) if tree in lock.trees else set()
        if missing := sorted(set(packages) - locked):
            differs(f"packages of '{tree}'", ", ".join(missing), "not pinned")
        elif extra := sorted(locked - set(packages)):
            differs(f"packages of '{tree}'", f"no {', '.join(extra)}", "pinned")
    for container, lines in request.containers.items():
        held = lock.containers[container].requested if container in lock.containers else ()
        if set(held) != set(lines):
            differs(f"Python packages of '{container}'", ", ".join(lines), ", ".join(held) or "nothing")
    for source, where in request.artifacts.items():
        if source not in lock.artifacts:
            differs(f"{where}", source, "not pinned")
    return problems.found

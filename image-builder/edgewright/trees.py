"""Which Debian packages each tree of files asks for: plain lists, from the recipes and the roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.golden_case import GOLDEN_IMAGE

from edgewright import __version__
from edgewright.paths import collection_dir, containers_dir, guests_dir, node_dir

if TYPE_CHECKING:
    from pathlib import Path

    from edgewright.site import Site

# The roles whose `install` phase runs in the node's root, by runtime, in this order (playbooks/image.yml has the same).
ROLES = {
    "podman": ("base", "podman", "libvirt", "inference_services", "virtual_machines", "ingress"),
    "k3s": ("base", "k3s", "kubevirt", "inference_services", "virtual_machines", "ingress"),
}


def _list(path: Path, key: str) -> list[str]:
    """Return the list of strings under ``key`` of a YAML file of this project."""
    data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = data.get(key) if isinstance(data, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise EdgeError(Problem(f"{path}: {key}", "is not a list of Debian package names", found=repr(names)))
    return names


def _role_packages(role: str, runtime: str) -> list[str]:
    """Return what a role needs on a node; a role of workloads says it for each runtime."""
    path = collection_dir() / "roles" / role / "vars" / "packages.yml"
    own = f"__{role}_{runtime}_packages"
    return _list(path, own if own in yaml.safe_load(path.read_text(encoding="utf-8")) else f"__{role}_packages")


def runtime_of(site: Site) -> str:
    """Return the runtime of a checked site: one image serves all of its hosts."""
    return str(site.hosts[0].variables.get("edge_runtime"))


def recipes(site: Site, kind: str) -> tuple[str, ...]:
    """Return the names of the recipes (``kind``: containers or guests) that some host of the site uses."""
    prefix = f"build:{kind}/"
    names: set[str] = set()
    for host in site.hosts:
        services = host.variables.get("edge_inference_services") or ()
        sources = [service.get(key) for service in services for key in ("image", "model_image")]
        sources += [
            disk.get("source") for vm in host.variables.get("edge_virtual_machines") or () for disk in vm["disks"]
        ]
        names |= {source.removeprefix(prefix) for source in sources if source and source.startswith(prefix)}
    if kind == "containers" and _asks_golden_sets(site):
        names.add(GOLDEN_IMAGE.removeprefix(prefix))
    return tuple(sorted(names))


def own_image(recipe: str) -> str:
    """Return the name that a container image made from a recipe has in a container store."""
    return f"localhost/edgewright/{recipe}:{__version__}"


def _asks_golden_sets(site: Site) -> bool:
    """Tell whether pods of the site ask their golden sets, for which they have a container of their own."""
    services = (host.variables.get("edge_inference_services") or () for host in site.hosts)
    return runtime_of(site) == "k3s" and any(service.get("golden") for group in services for service in group)


def _has_rolling_services(site: Site) -> bool:
    """Tell whether a service of some host is replaced without a gap, and so has a proxy before it."""
    services = (host.variables.get("edge_inference_services") or () for host in site.hosts)
    return any(service.get("rolling_ports") for group in services for service in group)


def _has_ingress(site: Site) -> bool:
    """Tell whether some host is reached at one address for all it offers; an empty mapping says so too."""
    return any(host.variables.get("edge_ingress") is not None for host in site.hosts)


def package_trees(site: Site) -> dict[str, list[str]]:
    """Return, for each tree that the site's image needs, the sorted Debian package names it asks for.

    ``tools``: the programs the builder runs, with those that the site's guest recipes need; ``emulator``: what boots
    the image where it was built; ``node``: the root of the node; ``container-<name>``: the root of a container image
    made here.

    Raises:
        EdgeError: a recipe or a role's package list is not there or not a list.
    """
    lists = node_dir() / "packages.yml"
    runtime = runtime_of(site)
    node = {*_list(lists, "node"), *_list(lists, runtime)}
    for role in ROLES[runtime]:
        node |= set(_role_packages(role, runtime))
    if _has_rolling_services(site):
        path = collection_dir() / "roles" / "inference_services" / "vars" / "packages.yml"
        node |= set(_list(path, "__inference_services_proxy_packages"))
    if _has_ingress(site):
        path = collection_dir() / "roles" / "ingress" / "vars" / "packages.yml"
        kind = "proxy" if runtime == "podman" else "certificate"
        node |= set(_list(path, f"__ingress_{kind}_packages"))
    trees = {name: _list(lists, name) for name in ("tools", "emulator")} | {"node": sorted(node)}
    for name in recipes(site, "guests"):
        trees["tools"] += _list(guests_dir() / name / "guest.yml", "packages")
    for name in recipes(site, "containers"):
        trees[f"container-{name}"] = _list(containers_dir() / name / "container.yml", "packages")
    return {name: sorted(set(packages)) for name, packages in trees.items()}

"""Whether a site can be built: the domain's own rules on every host, and what only the builder can look up.

The order is: schema and meaning (``module_utils/site``), then the recipes and files that sources name. All mistakes
come at once, each at the line it was written on.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import (
    BuildSource,
    FileSource,
    ModelPackSource,
    parse_source,
)
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.ingress import Ingress
from ansible_collections.edgewright.edge.plugins.module_utils.secret_file import secret_files
from ansible_collections.edgewright.edge.plugins.module_utils.site import check_hosts, check_site_variables
from ansible_collections.edgewright.edge.plugins.plugin_utils.given_certificate import certificate_problems

from edgewright.paths import containers_dir, guests_dir
from edgewright.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgewright.site import Host, Site

# One image serves all hosts: what it is made with cannot differ between them.
_SHARED = ("edge_runtime", "edge_storage", "edge_kubernetes", "edge_mirrors")
_OPERATORS_FILES = "base__secret_files"
_RECIPES = {"containers": (containers_dir, "container.yml"), "guests": (guests_dir, "guest.yml")}


def refuse_bad_site(site: Site) -> None:
    """Stop unless the site can be built.

    Raises:
        EdgeError: every mistake of the inventory.
    """
    found = [*domain_problems(site), *_shared_problems(site), *_secret_problems(site), *_certificate_problems(site)]
    if found := [*found, *builder_problems(site)]:
        raise EdgeError(found)


def domain_problems(site: Site) -> list[Problem]:
    """Return what the domain finds wrong in the hosts' variables, each at the line it was written on."""
    hosts_of: dict[Problem, list[str]] = {}
    for host in site.hosts:
        for problem in check_site_variables(host.variables):
            hosts_of.setdefault(_located(problem, site, host.name), []).append(host.name)
    between: dict[Problem, list[str]] = {}
    for problem in check_hosts({host.name: host.variables for host in site.hosts}, _groups(site)):
        name, _, key = problem.where.partition(": ")
        if key != "edge_node":  # that a host has none at all is no mistake: see ``unrecognised``
            between.setdefault(_located(replace(problem, where=key), site, name), []).append(name)
    return [_for_hosts(problem, names, site) for problem, names in (*hosts_of.items(), *between.items())]


def _groups(site: Site) -> dict[str, list[str]]:
    """Return the hosts of each group, in inventory order."""
    groups: dict[str, list[str]] = {}
    for host in site.hosts:
        for group in host.groups:
            groups.setdefault(group, []).append(host.name)
    return groups


def unrecognised(site: Site) -> list[Problem]:
    """Return the hosts that no machine will take itself for unless a person names them on the medium."""
    return [
        Problem(
            site.where(host.name, "edge_node")
            if host.variables.get("edge_node")
            else f"{site.shown} (host {host.name})",
            "nothing in its hardware tells a machine that it is this host",
            expected="edge_node with mac, dmi_serial or dmi_uuid",
            remedy=f"Give edge_node, or write '{host.name}' into the file edgewright/node of the flashed medium.",
        )
        for host in site.hosts
        if not any((host.variables.get("edge_node") or {}).values())
    ]


def _shared_problems(site: Site) -> list[Problem]:
    """Return the variables of the whole image in which hosts differ."""
    problems = Problems()
    first, *others = site.hosts
    for variable in _SHARED:
        value = first.variables.get(variable)
        for host in others:
            if host.variables.get(variable) != value:
                key = variable if variable in host.variables else ""
                problems.add(
                    site.where(host.name, key) if key else f"{site.shown} (host {host.name}): {variable}",
                    "differs between hosts of one site, which share one image",
                    found=_shown(host.variables.get(variable)),
                    expected=f"{_shown(value)}, as {first.name} has",
                    remedy="Set it in group_vars/all.yml only.",
                )
    return problems.found


def _secret_problems(site: Site) -> list[Problem]:
    """Return what is wrong in the hosts' secret files; contents are never shown."""
    problems = Problems()
    for host in site.hosts:
        try:
            secret_files(host.variables.get(_OPERATORS_FILES), where=_OPERATORS_FILES)
        except EdgeError as error:
            problems.found += [_located(problem, site, host.name) for problem in error.problems]
    return list(dict.fromkeys(problems.found))


def _certificate_problems(site: Site) -> list[Problem]:
    """Return what is wrong in certificates and keys that are given for the site's ingress; keys are never shown."""
    found: list[Problem] = []
    for host in site.hosts:
        try:
            names = Ingress.from_inventory(host.variables.get("edge_ingress") or {}, where="").host_names()
        except EdgeError:
            names = []  # the domain's check tells it
        problems = certificate_problems(host.variables, names, with_keys=True)
        found += [_located(problem, site, host.name) for problem in problems]
    return list(dict.fromkeys(found))


def _shown(value: Any) -> str:
    return "nothing" if value is None else redact(repr(value))


def _for_hosts(problem: Problem, names: list[str], site: Site) -> Problem:
    """Name the hosts when a line that several share is wrong for some of them only (it has a template)."""
    if len(names) == len(site.hosts) or problem.where.startswith(str(site.shown / "host_vars")):
        return problem
    return replace(problem, where=f"{problem.where} (for {', '.join(names)})")


def _located(problem: Problem, site: Site, host: str) -> Problem:
    found, expected = redact(problem.found), redact(problem.expected)
    return replace(problem, where=site.where(host, problem.where), found=found, expected=expected)


def builder_problems(site: Site) -> list[Problem]:
    """Return the sources that name a recipe or a file that is not there."""
    problems = Problems()
    for host in site.hosts:
        for key, value in _sources(host):
            try:
                source = parse_source(value)
            except UnfitError:
                continue  # the domain's check tells it, or it is a container image of a registry
            where = site.where(host.name, key)
            if isinstance(source, BuildSource):
                _check_recipe(source, where, problems)
            elif isinstance(source, FileSource):
                _check_file(source, where, site.inventory, problems)
            elif isinstance(source, ModelPackSource):
                _check_pack(source, where, site.inventory, problems)
    return list(dict.fromkeys(problems.found))


def _sources(host: Host) -> Iterator[tuple[str, Any]]:
    """Yield key path and value of every source string; what is malformed is passed over."""
    for variable, key in (("edge_inference_services", "models"), ("edge_virtual_machines", "disks")):
        for index, entry in enumerate(_list(host.variables.get(variable))):
            if not isinstance(entry, dict):
                continue
            for image in ("image", "model_image"):
                if image in entry:
                    yield f"{variable}[{index}].{image}", entry[image]
            for number, item in enumerate(_list(entry.get(key))):
                if isinstance(item, dict) and "source" in item:
                    yield f"{variable}[{index}].{key}[{number}].source", item["source"]
                files = item.get("files") if isinstance(item, dict) else None
                for name, source in (files if isinstance(files, dict) else {}).items():
                    yield f"{variable}[{index}].{key}[{number}].files.{name}", source
    kubernetes = host.variables.get("edge_kubernetes")
    manifests = kubernetes.get("manifests") if isinstance(kubernetes, dict) else None
    for index, source in enumerate(_list(manifests)):
        yield f"edge_kubernetes.manifests[{index}]", source


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _check_recipe(source: BuildSource, where: str, problems: Problems) -> None:
    folder, file = _RECIPES[source.kind]
    if (folder() / source.name / file).is_file():
        return
    known = sorted(path.parent.name for path in folder().glob(f"*/{file}"))
    near = difflib.get_close_matches(source.name, known, n=1)
    problems.add(
        where,
        "there is no such recipe",
        found=str(source),
        expected=f"one of {', '.join(known)}" if known else "",
        remedy=f"Did you mean '{near[0]}'?" if near else f"Write image-builder/{source.kind}/{source.name}/{file}.",
    )


def _check_file(source: FileSource, where: str, inventory: Path, problems: Problems) -> None:
    path = inventory / source.path
    if path.is_file():
        return
    what = "this is a folder, not a file" if path.is_dir() else "there is no such file in the inventory folder"
    problems.add(where, what, found=str(source), remedy=f"Put the file at {path}, or correct the path.")


def _check_pack(source: ModelPackSource, where: str, inventory: Path, problems: Problems) -> None:
    path = inventory / source.folder
    if (path / "oci-layout").is_file():
        return
    problems.add(
        where,
        "there is no OCI layout in the inventory folder",
        found=str(source),
        remedy=f"Put the pack at {path} (skopeo copy docker://… oci:{path}), or correct the path.",
    )

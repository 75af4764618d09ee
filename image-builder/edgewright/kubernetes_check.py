"""A k3s site's manifests, and what is rendered for its operators, against the definitions that are at hand.

Definitions (CustomResourceDefinitions) are in the site's own manifests, and in the operators' manifests of the locked
releases once those are in the store. KubeVirt's and CDI's have those of ``KubeVirt`` and ``CDI``. Definitions of
machines and data volumes are inside of the operators' programs, which install them: they are not at hand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem, Problems
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_platform import Platform
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import cdi_url, kubevirt_url
from ansible_collections.edgewright.edge.plugins.module_utils.kubevirt_platform import (
    Virtualization,
    cdi_object,
    kubevirt_object,
)

from edgewright.kubernetes_yaml import as_json, line_of, load_definitions, load_documents
from edgewright.positions import format_key_path
from edgewright.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgewright.lockfile import Lock
    from edgewright.site import Site
    from edgewright.store import Store
    from edgewright.structural_schema import Mistake

_DEFINITION = "CustomResourceDefinition"
_ROLE = "kubevirt__"


@dataclass(frozen=True)
class _Manifest:
    """One of the site's own manifests: where it is, its text if it has lines to tell, and its documents."""

    where: str
    text: str | None
    documents: list[Any]

    def at(self, number: int, path: tuple[str | int, ...]) -> str:
        """Return where a field of a document is: file and line, object, field."""
        place = f"{self.where}:{line_of(self.text, number, path)}" if self.text is not None else self.where
        entry = self.documents[number]
        name = _name(entry) if isinstance(entry, Mapping) else f"document {number + 1}"
        return ": ".join(filter(None, (place, name, format_key_path(path))))

    def objects(self) -> Iterator[tuple[int, tuple[str | int, ...], Any]]:
        """Yield each object: the number of its document, its path in that, itself."""
        for number, document in enumerate(self.documents):
            items = document.get("items") if isinstance(document, Mapping) else None
            if isinstance(items, list) and str(document.get("kind", "")).endswith("List"):
                yield from ((number, ("items", index), item) for index, item in enumerate(items))
            elif document is not None:
                yield number, (), document


def manifest_problems(site: Site, lock: Lock | None, store: Store) -> list[Problem]:
    """Return what the cluster would refuse or drop of a checked site's objects, as far as that can be told here.

    Args:
        site: the site, free of other mistakes.
        lock: what it is pinned to, if it is.
        store: may have the operators' manifests, and those of the site's own that are behind a URL.
    """
    host = site.hosts[0]
    if host.variables.get("edge_runtime") != "k3s":
        return []
    platform = Platform.from_inventory(host.variables.get("edge_kubernetes"))
    problems = Problems()
    own: list[_Manifest] = []
    for number, source in enumerate(platform.manifests):
        with problems.collecting():
            own += _read(source, site.where(host.name, f"edge_kubernetes.manifests[{number}]"), site, lock, store)
    for manifest in own:
        problems.found += _malformed(manifest)
    try:
        operators = list(_operators(platform, site))
    except EdgeError as error:
        problems.found += [
            replace(each, where=site.where(host.name, f"{_ROLE}{each.where.removeprefix(_ROLE)}"))
            for each in error.problems
        ]
    if problems.found:
        return problems.found
    defined = [entry for manifest in own for _, _, entry in manifest.objects() if entry.get("kind") == _DEFINITION]
    rendered = []
    for key, url, entry in operators:
        if (text := _stored(url, lock, store)) is not None:
            with problems.collecting():
                defined += _parsed(text, url, site.where(host.name, f"edge_kubernetes.{key}"), only_definitions=True)
                rendered.append((key, entry))
    if defined:
        problems.found += _undefined(site, own, rendered, defined)
    return [Problem(each.where, each.what, redact(each.found), each.expected, each.remedy) for each in problems.found]


def _undefined(
    site: Site, own: list[_Manifest], rendered: list[tuple[str, dict[str, Any]]], defined: list[Any]
) -> Iterator[Problem]:
    """Yield what objects have that their definitions do not."""
    # It costs a tenth of a second to import, and most sites need it not.
    from edgewright.structural_schema import definitions

    known = definitions(defined)

    def mistakes(entry: Mapping[str, Any]) -> list[Mistake]:
        group = str(entry.get("apiVersion")).rpartition("/")[0]
        definition = known.get((group, str(entry.get("kind"))))
        return definition.mistakes(as_json(entry)) if definition else []

    for manifest in own:
        for number, path, entry in manifest.objects():
            for each in mistakes(entry):
                yield Problem(manifest.at(number, path + each.path), each.what, each.found, each.expected, each.remedy)
    for key, entry in rendered:
        where = site.where(site.hosts[0].name, f"edge_kubernetes.{key}")
        for each in mistakes(entry):
            field = format_key_path(each.path)
            what = f"this release's {entry['kind']} differs from what is rendered for it: {field} {each.what}"
            remedy = "Use a release that docs/kubernetes.md names as tested."
            yield Problem(where, what, each.found, each.expected, remedy)


def _operators(platform: Platform, site: Site) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield for each operator its key, its manifest's URL, and the object that is rendered for it.

    Raises:
        EdgeError: what is wrong in the variables of the role ``kubevirt``, with paths below its prefix.
    """
    members = [host for host in site.hosts if {"k3s_server", "k3s_agent"} & set(host.groups)]
    processors = {str(host.variables.get("edge_virtualization") or "kvm") for host in members}
    variables = site.hosts[0].variables
    cluster = Virtualization.from_role(
        {
            "nodes": len(members) or 1,
            "virtualization": "emulation" if processors == {"emulation"} else "kvm",
            "certificates": variables.get(f"{_ROLE}certificates"),
            "namespaces": variables.get(f"{_ROLE}namespaces"),
        }
    )
    if platform.kubevirt:
        yield "kubevirt", kubevirt_url(platform.kubevirt), kubevirt_object(cluster)
    if platform.cdi:
        yield "cdi", cdi_url(platform.cdi), cdi_object(cluster)


def _read(source: str, where: str, site: Site, lock: Lock | None, store: Store) -> list[_Manifest]:
    """Return a manifest, or nothing while it is not in the store.

    Raises:
        EdgeError: it is no text, or no YAML.
    """
    if source.startswith("file:"):
        name = source.removeprefix("file:")
        shown = str(site.shown / name)
        try:
            text = (site.inventory / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise EdgeError(Problem(shown, f"cannot be read as text ({error})")) from None
        return [_Manifest(shown, text, _parsed(text, shown, ""))]
    stored = _stored(source, lock, store)
    return [] if stored is None else [_Manifest(f"{where}: {source}", None, _parsed(stored, source, where))]


def _stored(source: str, lock: Lock | None, store: Store) -> str | None:
    artifact = lock.artifacts.get(source) if lock else None
    if artifact is None or not store.has(artifact.digest):
        return None
    return store.path(artifact.digest).read_text(encoding="utf-8", errors="replace")


def _parsed(text: str, name: str, where: str, *, only_definitions: bool = False) -> list[Any]:
    try:
        return load_definitions(text) if only_definitions else load_documents(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark and not only_definitions else name
        what = f"is no YAML: {error.problem or error.context}"
        raise EdgeError(Problem(": ".join(filter(None, (where, place))), what)) from None
    except yaml.YAMLError as error:
        raise EdgeError(Problem(": ".join(filter(None, (where, name))), f"is no YAML: {error}")) from None


def _malformed(manifest: _Manifest) -> Iterator[Problem]:
    """Yield what is no object at all."""
    for number, path, entry in manifest.objects():
        if not isinstance(entry, Mapping):
            yield Problem(manifest.at(number, path), "is no object of Kubernetes", type(entry).__name__, "a mapping")
            continue
        metadata = entry.get("metadata")
        named = metadata.get("name") or metadata.get("generateName") if isinstance(metadata, Mapping) else None
        for key, value in (
            ("apiVersion", entry.get("apiVersion")),
            ("kind", entry.get("kind")),
            ("metadata.name", named),
        ):
            if not isinstance(value, str) or not value:
                what = "is missing" if value is None else "is no text"
                yield Problem(f"{manifest.at(number, path)}: {key}", what, remedy=f"Give the object its {key}.")


def _name(entry: Mapping[str, Any]) -> str:
    metadata = entry.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name = "/".join(str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part)
    return f"{entry.get('kind') or 'object'} {name}".strip()

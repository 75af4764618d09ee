"""Every container image that Kubernetes objects name, whatever their kind.

What is looked at, wherever it stands in an object:

- a string under the key ``image`` (containers of all sorts, ``containerDisk``, fields of custom resources), and under
  keys that end in ``Image``;
- ``reference`` of a volume's ``image`` (image volumes);
- ``registry.url`` with ``docker://`` (CDI's imports);
- a container's environment: values of variables called ``IMAGE`` or ``*_IMAGE``, and of ``RELATED_IMAGE_*``;
- a container's arguments: ``--<anything>image=<name>``, or the next argument;
- what an operator derives from its own image: KubeVirt's names, tags and prefixes
  (``pkg/virt-operator/util/config.go``).

A container's image, a disk's, a volume's and an import's must be one. Elsewhere a name only suggests that there is an
image: there, what does not look like one (neither ``/`` nor ``:`` nor ``@`` in it) is passed over.

Text inside of objects (YAML in a ConfigMap, a chart's values, a schema's examples) is not read: what such text means
is for the program that reads it to know, and images from there belong into ``edge_kubernetes.images``. Schemas of
custom resources describe images, but name none, so CustomResourceDefinitions are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.errors import Problems
from ansible_collections.edgewright.edge.plugins.module_utils.fields import UnfitError
from ansible_collections.edgewright.edge.plugins.module_utils.image_name import ImageName

_SCHEMAS: Final = frozenset({"CustomResourceDefinition"})
_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")
_ENVIRONMENT: Final = re.compile(r"(?:.*_)?IMAGE|RELATED_IMAGE_.*")
_ARGUMENT: Final = re.compile(r"--?(?:[A-Za-z0-9]+[-_])*image(?:=(?P<value>.+))?")
_KEY: Final = re.compile(r"image|[a-z][A-Za-z]*Image")
_CERTAIN: Final = re.compile(
    r"(?:.*\.)?(?:(?:containers|initContainers|ephemeralContainers)\[[0-9]+\]|containerDisk)\.image"
    r"|.*\.image\.reference|.*registry\.url"
)
_DOCKER: Final = "docker://"
# What a KubeVirt operator starts, by the variable that names another image for it. The last two have a tag of their
# own; they are not wanted, because this project switches virt-template off.
_KUBEVIRT: Final = {
    "virt-api": "VIRT_API_IMAGE",
    "virt-controller": "VIRT_CONTROLLER_IMAGE",
    "virt-handler": "VIRT_HANDLER_IMAGE",
    "virt-launcher": "VIRT_LAUNCHER_IMAGE",
    "virt-exportproxy": "VIRT_EXPORTPROXY_IMAGE",
    "virt-exportserver": "VIRT_EXPORTSERVER_IMAGE",
}
_UNWANTED: Final = frozenset({"VIRT_TEMPLATE_APISERVER_IMAGE", "VIRT_TEMPLATE_CONTROLLER_IMAGE"})
_OPERATOR: Final = re.compile(r"(?P<registry>.*)/(?P<prefix>[^/]*)virt-operator(?P<tag>[@:].*)?")


@dataclass(frozen=True)
class Found:
    """One image: its full name, and where it stands, as ``Deployment kubevirt/virt-operator: spec…[0].image``."""

    reference: str
    where: str


def image_references(documents: Iterable[object]) -> list[Found]:
    """Return every image that parsed manifests name, in order; the same image comes once for each place.

    Args:
        documents: objects, ``List`` objects, and empty documents, which are passed over.

    Raises:
        EdgeError: everything that stands where an image has to, and is none.
    """
    problems = Problems()
    found: dict[Found, None] = {}
    for document in documents:
        for place, written in _of_document(document):
            certain = _CERTAIN.fullmatch(place.partition(": ")[2]) is not None
            if not certain and not any(mark in written for mark in "/:@"):
                continue
            try:
                found[Found(str(ImageName.parse(written)), place)] = None
            except UnfitError as error:
                if not certain:
                    continue
                problems.add(place, error.what, found=repr(written)[:200], expected=error.expected, remedy=error.remedy)
    problems.raise_if_any()
    return list(found)


def unique(found: Iterable[Found]) -> dict[str, list[str]]:
    """Return the places of each image, by its full name, in the order in which they were found."""
    places: dict[str, list[str]] = {}
    for each in found:
        places.setdefault(each.reference, []).append(each.where)
    return places


def _of_document(document: object) -> Iterator[tuple[str, str]]:
    if not isinstance(document, Mapping) or document.get("kind") in _SCHEMAS:
        return
    items = document.get("items")
    if str(document.get("kind") or "").endswith("List") and isinstance(items, list):
        for item in items:
            yield from _of_document(item)
        return
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name = "/".join(str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part)
    owner = f"{document.get('kind') or 'object'} {name}".strip()
    for path, written in _walk(document, ""):
        yield f"{owner}: {path}", written


def _walk(node: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of everything below a node that must be an image."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            at = f"{path}.{key}" if path else str(key)
            if key in _CONTAINERS and isinstance(value, list):
                for number, container in enumerate(value):
                    yield from _of_container(container, f"{at}[{number}]")
            if key in {"data", "stringData", "binaryData", "annotations", "labels"} and isinstance(value, Mapping):
                continue  # texts of somebody else's
            if isinstance(value, str):
                if image := _of_text(str(key), value, path):
                    yield at, image
            else:
                yield from _walk(value, at)
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from _walk(item, f"{path}[{number}]")


def _of_text(key: str, value: str, path: str) -> str:
    """Return the image that a string is, or nothing."""
    if not value:
        return ""
    if key == "reference" and path.endswith(".image"):
        return value
    if key == "url" and path.endswith("registry") and value.startswith(_DOCKER):
        return value.removeprefix(_DOCKER)
    return value if _KEY.fullmatch(key) else ""


def _of_container(container: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield what a container is told about images; its own image is found by its key."""
    if not isinstance(container, Mapping):
        return
    environment = {}
    for number, variable in enumerate(_list(container.get("env"))):
        if not isinstance(variable, Mapping):
            continue
        name, value = variable.get("name"), variable.get("value")
        if isinstance(name, str) and isinstance(value, str) and value:
            environment[name] = value
            if _ENVIRONMENT.fullmatch(name) and name not in _UNWANTED:
                yield f"{path}.env[{number}].value", value
    for key in ("command", "args"):
        words = [word for word in _list(container.get(key)) if isinstance(word, str)]
        for number, word in enumerate(words):
            match = _ARGUMENT.fullmatch(word)
            if match and match["value"]:
                yield f"{path}.{key}[{number}]", match["value"]
            elif match and number + 1 < len(words) and not words[number + 1].startswith("-"):
                yield f"{path}.{key}[{number + 1}]", words[number + 1]
    yield from _of_kubevirt_operator(container, environment, path)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _of_kubevirt_operator(
    container: Mapping[Any, Any], environment: Mapping[str, str], path: str
) -> Iterator[tuple[str, str]]:
    """Yield what KubeVirt's operator makes of its own image's name for those that no variable names.

    Of an image named by digest the tag of the others is the operator's ``KUBEVIRT_VERSION``.
    """
    own = environment.get("VIRT_OPERATOR_IMAGE") or environment.get("OPERATOR_IMAGE") or container.get("image")
    match = _OPERATOR.fullmatch(own) if isinstance(own, str) else None
    if match is None:
        return
    tag = match["tag"] or ""
    if tag.startswith("@") or "@" in tag:
        tag = f":{environment['KUBEVIRT_VERSION']}" if environment.get("KUBEVIRT_VERSION") else ""
    for name, variable in _KUBEVIRT.items():
        if not environment.get(variable):
            yield f"{path} (derived: {name})", f"{match['registry']}/{match['prefix']}{name}{tag}"

"""Manifests as Kubernetes reads them: YAML documents as plain data, and the lines they were written on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml
from ansible_collections.edgewright.edge.plugins.plugin_utils.kubernetes_loader import KubernetesLoader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)


def load_documents(text: str) -> list[Any]:
    """Return the documents of a manifest, empty ones as ``None``; JSON is YAML too.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    return list(yaml.load_all(text, KubernetesLoader))


def load_definitions(text: str) -> list[Any]:
    """Return the CustomResourceDefinitions of an operator's manifest; its other documents are not read for speed.

    Raises:
        yaml.YAMLError: a definition is no YAML.
    """
    parts = _SEPARATOR.split(text)
    return [document for part in parts if "CustomResourceDefinition" in part for document in load_documents(part)]


def as_json(document: Any) -> Any:
    """Return a document as the API server is sent it: names of fields are text."""
    return json.loads(json.dumps(document, default=str))


def line_of(text: str, number: int, path: Sequence[str | int]) -> int:
    """Return the line, from 1, of a field of the document with this number, or of the nearest thing around it."""
    for index, root in enumerate(yaml.compose_all(text, Loader=KubernetesLoader)):
        if index == number:
            return max(_lines(root, path), default=1)
    return 1


def _lines(node: Any, path: Sequence[str | int]) -> Iterator[int]:
    """Yield the line of each step that is there."""
    if node is not None:
        yield node.start_mark.line + 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = [(node.value[step], node.value[step])]
        else:
            return
        if not found:
            return
        key, node = found[-1]
        yield key.start_mark.line + 1

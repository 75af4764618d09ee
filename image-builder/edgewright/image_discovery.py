"""Which container images the documents name that a site is made of: k3s's list, operators' and the site's manifests."""

from __future__ import annotations

from dataclasses import replace

import yaml
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError, Problem
from ansible_collections.edgewright.edge.plugins.module_utils.image_references import image_references, unique
from ansible_collections.edgewright.edge.plugins.module_utils.kubernetes_release import parse_image_list

from edgewright.kubernetes_yaml import load_documents


def images_of(content: bytes, name: str, where: str) -> dict[str, str]:
    """Return the images that a document names, in full, each with who names it.

    Args:
        content: an image list (``.txt``: one image a line) or manifests (YAML documents, or JSON).
        name: the document's source; its ending tells which of both it is.
        where: the place in the inventory that asks for the document.

    Raises:
        EdgeError: the document cannot be read, or names something that is no image; all of it.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise EdgeError(Problem(where, f"{name} is no text ({error})")) from None
    if name.endswith(".txt"):
        return dict.fromkeys(parse_image_list(text, where=name), f"{where}: {name}")
    try:
        documents = load_documents(text)
    except yaml.YAMLError as error:
        raise EdgeError(Problem(where, f"{name} is no YAML ({' '.join(str(error).split())})")) from None
    inside = f"{where}: {name}: "
    try:
        named = image_references(documents)
    except EdgeError as error:
        raise EdgeError(replace(each, where=inside + each.where) for each in error.problems) from None
    return {reference: inside + places[0] for reference, places in unique(named).items()}

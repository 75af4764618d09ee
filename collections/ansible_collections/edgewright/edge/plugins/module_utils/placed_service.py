"""What a node has to know of an inference service, whatever runs it: names of images, files of models, its port."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.container_image import name_in_store
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import MODELS_ROOT, model_artifacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.edgewright.edge.plugins.module_utils.inference_service import InferenceService

CHECK: Final = "/usr/lib/edgewright/check-inference"
"""Program of the node that asks a service for its health."""


def placed(service: InferenceService, *, version: str, beside: str = "") -> dict[str, Any]:
    """Return the service as plain data for roles; ``version`` is that of images built here.

    ``beside`` is a further image that its runtime needs for it. Keys: ``name``, ``port``, ``exposure``, ``check`` (a
    command), ``golden``, ``image``, ``model_image``, ``images``, ``models``, ``files``, ``folders``.
    """
    files = {path: source for model in service.models for path, source in model_artifacts(service.name, model).items()}
    images = dict.fromkeys(image for image in (service.image, service.model_image, beside) if image)
    return {
        "name": service.name,
        "port": service.port,
        "exposure": service.exposure,
        "check": f"{CHECK} --timeout {service.probes.timeout} {service.port}",
        "golden": [case.question() for case in service.golden],
        "image": name_in_store(service.image, version=version),
        "model_image": name_in_store(service.model_image, version=version),
        "images": [{"source": image, "name": name_in_store(image, version=version)} for image in images],
        "models": [{"name": model.name, "version": model.version} for model in service.models],
        "files": [{"source": source, "path": path} for path, source in files.items()],
        "folders": sorted({str(folder) for path in files for folder in _folders(path)}),
    }


def digest_of(service: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """Return the digest (SHA-256, hexadecimal) of what a service is made of, or nothing where none of it is known.

    Args:
        service: what ``placed`` returns.
        digests: of models' files and of images, by source.
    """
    parts = [(file["path"], digests.get(file["source"])) for file in service["files"]]
    parts += [(image["name"], digests.get(image["source"])) for image in service["images"]]
    known = sorted((name, digest) for name, digest in parts if digest)
    return hashlib.sha256(json.dumps(known).encode()).hexdigest() if known else ""


def _folders(path: str) -> list[PurePosixPath]:
    """Return the folders that a file is in, below the folder of all models."""
    return [folder for folder in PurePosixPath(path).parents if PurePosixPath(MODELS_ROOT) in folder.parents]

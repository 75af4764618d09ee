"""What a node has to know of an inference service, whatever runs it: names of images, files of models, its port."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.container_image import name_in_store
from ansible_collections.edgewright.edge.plugins.module_utils.inference_model import MODELS_ROOT, model_artifacts

if TYPE_CHECKING:
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


def _folders(path: str) -> list[PurePosixPath]:
    """Return the folders that a file is in, below the folder of all models."""
    return [folder for folder in PurePosixPath(path).parents if PurePosixPath(MODELS_ROOT) in folder.parents]

"""The models of an inference service: where their files come from, and where a node keeps them.

The layout is that of Triton's model repositories, ``<model>/<version>/<file>``, which OpenVINO Model Server and this
project's own server read too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from ansible_collections.edgewright.edge.plugins.module_utils.artifact_source import model_file
from ansible_collections.edgewright.edge.plugins.module_utils.fields import Fields, UnfitError, integer, text

MODELS_ROOT: Final = "/var/lib/edgewright/models"
STAGED_ROOT: Final = "/var/lib/edgewright/models-next"
"""Where models are that nothing has tried yet; on the same file system, so that they can take the others' place."""
MODEL_FILE: Final = "model.onnx"


@dataclass(frozen=True)
class Model:
    """One version of one model that a service offers.

    Attributes:
        name: its name in the protocol.
        version: from 1.
        source: artifact source of its ONNX file; empty where ``files`` has them all, or an image.
        files: artifact source of each file of its folder, by the path in it.
    """

    name: str
    version: int
    source: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_inventory(cls, data: object, where: str, *, in_image: bool = False) -> Model:
        """Read one item of ``models``; ``in_image`` tells that an image has the files of all of them.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=("name", "version", "source", "files"))
        name = fields.read("name", _model_name)
        version = fields.read("version", integer(1, 2**31 - 1), default=1)
        nothing: dict[str, str] = {}
        files = fields.build("files", _files, default=nothing)
        sources = [key for key in ("source", "files") if fields.given(key)]
        if in_image:
            for key in sources:
                fields.problems.add(
                    fields.at(key), "has no place where 'model_image' brings the models", remedy=f"Leave '{key}' out."
                )
        elif len(sources) == 2:
            fields.problems.add(
                fields.at("files"),
                "says again where the model comes from",
                expected=f"'source' for a single {MODEL_FILE}, or 'files' for all of them",
                remedy="Leave one of the two out.",
            )
        source = fields.read("source", model_file, optional=in_image or "files" in sources)
        fields.raise_if_any()
        return cls(name, version, source or "", files)

    def artifacts(self) -> dict[str, str]:
        """Return the artifact source of each of its files, by path in its folder; none where an image has them."""
        return {MODEL_FILE: self.source} if self.source else dict(sorted(self.files.items()))


def repository_path(service: str) -> str:
    """Return where a node keeps the model repository of the service with this name."""
    return f"{MODELS_ROOT}/{service}"


def staged_path(service: str) -> str:
    """Return where the model repository of its stand-in is."""
    return f"{STAGED_ROOT}/{service}"


def model_folder(service: str, model: Model) -> str:
    """Return where a node keeps a model's files."""
    return f"{repository_path(service)}/{model.name}/{model.version}"


def model_artifacts(service: str, model: Model) -> dict[str, str]:
    """Return the artifact source of each of a model's files, by its path on the node."""
    folder = model_folder(service, model)
    return {f"{folder}/{name}": source for name, source in model.artifacts().items()}


def _model_name(value: object) -> str:
    name = text(value)
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", name, re.ASCII) is None:
        raise UnfitError(
            "is not a model name", expected="1 to 128 of letters, digits and _ . -, not beginning with one of these"
        )
    return name


def _files(data: object, where: str) -> dict[str, str]:
    names = list(data) if isinstance(data, Mapping) else []
    fields = Fields(data, where=where, known=[str(name) for name in names])
    if isinstance(data, Mapping) and not names:
        fields.problems.add(where, "names no file", expected="<path in the model's folder>: <source>")
    for name in map(str, names):
        parts = PurePosixPath(name).parts
        plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_. -]*(?:/[A-Za-z0-9_][A-Za-z0-9_. -]*)*", name, re.ASCII)
        if plain is None or ".." in parts:
            fields.problems.add(
                where, "has a bad path", found=repr(name), expected="a relative path of letters, digits and _ . -"
            )
        if any(str(other).startswith(f"{name}/") for other in names):
            fields.problems.add(where, "has a file and a folder of one name", found=repr(name))
    sources = {str(name): fields.read(str(name), model_file) for name in names}
    fields.raise_if_any()
    return sources

"""Objects against the schemas that Kubernetes, KubeVirt and CDI publish, fields that they do not have refused."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

_DATA = Path(__file__).parents[6].parent / "shared" / "data"
_FILES = {"kubevirt.io": "kubevirt-openapi.json", "cdi.kubevirt.io": "cdi-openapi.json"}
KUBERNETES = "1.36"


def validate(entry: dict[str, Any]) -> None:
    """Raise unless an object is what its API takes; skip where KubeVirt's or CDI's schema is not at hand."""
    group, _, version = entry["apiVersion"].rpartition("/")
    if group not in _FILES:
        kubernetes_validate.validate(entry, KUBERNETES, strict=True)
        return
    schema = _schema(_FILES[group])
    name = f"{version}.{entry['kind']}"
    assert name in schema["definitions"], f"{name} is no kind of {group}"
    jsonschema.validate(entry, {**schema, "$ref": f"#/definitions/{name}"})


@cache
def _schema(file: str) -> dict[str, Any]:
    path = _DATA / file
    if not path.is_file():
        pytest.skip(f"needs {file}, which no checkout has, in {_DATA}")
    definitions = copy.deepcopy(json.loads(path.read_text())["definitions"])
    for definition in definitions.values():
        if "properties" in definition:
            definition.setdefault("additionalProperties", False)
    return {"definitions": definitions}

"""An inference response: from a model's arrays to the bytes of an HTTP body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from inference_server import binary_tensors, json_tensors

if TYPE_CHECKING:
    import numpy as np

    from inference_server.infer_request import InferRequest
    from inference_server.signature import Signature


@dataclass(frozen=True, slots=True)
class InferResponse:
    """A body, and how much of it is JSON: None when all of it is."""

    body: bytes
    json_length: int | None


def build(
    model: str, version: str, request: InferRequest, arrays: list[np.ndarray[Any, Any]], signature: Signature
) -> InferResponse:
    """Return the answer to ``request``; ``arrays`` are the model's results in the order of ``request.outputs``."""
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for (name, binary), array in zip(request.outputs.items(), arrays, strict=True):
        datatype = signature.outputs[name].datatype
        entry: dict[str, Any] = {"name": name, "datatype": datatype.name, "shape": array.shape}
        if binary:
            encoded = binary_tensors.encode(array, datatype)
            entry["parameters"] = {"binary_data_size": len(encoded)}
            tail.append(encoded)
        else:
            entry["data"] = json_tensors.encode(array, datatype)
        outputs.append(entry)
    head = orjson.dumps(
        {"model_name": model, "model_version": version, "id": request.id, "outputs": outputs},
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
    if not any(request.outputs.values()):
        return InferResponse(head, None)
    return InferResponse(b"".join((head, *tail)), len(head))

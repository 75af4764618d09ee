"""An inference request: from the bytes of an HTTP body to checked numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from inference_server import binary_tensors, json_tensors
from inference_server.datatypes import BY_NAME
from inference_server.errors import RequestError, mismatch, show

if TYPE_CHECKING:
    import numpy as np

    from inference_server.signature import Signature, TensorSpec

#: No real tensor has more elements, and the products of such dimensions stay far from 64-bit overflow in any kernel.
_MAX_ELEMENTS = 2**31
#: Triton extensions that change what a request means; ignoring them would answer another question.
_UNSUPPORTED = {
    "classification": "the classification extension",
    "shared_memory_region": "the shared memory extensions",
}


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request that fits the model: one array for each input; outputs in the order of the answer, with their form."""

    id: str
    inputs: dict[str, np.ndarray[Any, Any]]
    outputs: dict[str, bool]
    """Output name → whether its data is sent as binary."""


def parse(body: bytes, json_length: int | None, signature: Signature) -> InferRequest:
    """Return the request in ``body``.

    Args:
        body: the whole HTTP body.
        json_length: the Inference-Header-Content-Length header: how much of the body is JSON. None: all of it.
        signature: what the model takes and gives.

    Raises:
        RequestError: anything in the body that is malformed or does not fit the model.
    """
    if json_length is not None and json_length > len(body):
        raise mismatch("header Inference-Header-Content-Length", str(json_length), f"at most {len(body)}, the body")
    view = memoryview(body)
    document = parse_object(body if json_length is None else view[:json_length], "body")
    tail = None if json_length is None else view[json_length:]
    request_id = document.get("id")
    if request_id is not None and type(request_id) is not str:
        raise mismatch("id", show(request_id), "a string")
    inputs = _inputs(document, signature, tail)
    outputs = _outputs(document, signature)
    return InferRequest(request_id or str(uuid4()), inputs, outputs)


def parse_object(text: bytes | memoryview, where: str) -> dict[str, Any]:
    """Return the JSON object in ``text``; RequestError says where it is broken."""
    if not text:
        raise RequestError(f"{where}: found nothing; expected a JSON object", kind="invalid_json")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"{where}: not valid JSON: {error}", kind="invalid_json") from None
    if type(document) is not dict:
        raise mismatch(where, show(document), "a JSON object")
    return document


def _parameters(holder: dict[str, Any], where: str) -> dict[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise mismatch(f"{where}parameters", show(parameters), "an object")
    for name, meaning in _UNSUPPORTED.items():
        if name in parameters:
            raise RequestError(f"{where}parameters.{name}: {meaning} is not supported by this server")
    return parameters


def _named_items(document: dict[str, Any], key: str, known: dict[str, TensorSpec]) -> dict[str, tuple[str, Any]]:
    """Return name → (path, object) of the array ``document[key]``, checked for unknown and repeated names."""
    items = document.get(key)
    if type(items) is not list:
        found = show(items) if key in document else "nothing"
        raise mismatch(key, found, "an array of objects, each with the name of a tensor")
    named: dict[str, tuple[str, Any]] = {}
    for index, item in enumerate(items):
        where = f"{key}[{index}]"
        if type(item) is not dict:
            raise mismatch(where, show(item), "an object with the name of a tensor")
        name = item.get("name")
        if type(name) is not str or name not in known:
            found = show(name) if "name" in item else "nothing"
            raise mismatch(f"{where}.name", found, f"one of {_names(known)}")
        if name in named:
            raise RequestError(f"{where}.name: {show(name)} is already given by {named[name][0]}; expected it once")
        named[name] = (where, item)
    return named


def _names(known: dict[str, TensorSpec]) -> str:
    return ", ".join(show(name) for name in known)


def _inputs(document: dict[str, Any], signature: Signature, tail: memoryview | None) -> dict[str, np.ndarray[Any, Any]]:
    named = _named_items(document, "inputs", signature.inputs)
    missing = {name: spec for name, spec in signature.inputs.items() if name not in named}
    if missing:
        raise RequestError(f"inputs: {_names(missing)} missing; expected {_names(signature.inputs)}")
    position = 0
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, (where, item) in named.items():
        arrays[name], size = _input(item, signature.inputs[name], signature.max_batch_size, where, tail, position)
        position += size
    if tail is not None and position != len(tail):
        raise mismatch(
            "body", f"{len(tail)} bytes after the JSON", f"{position}, the sum of the inputs' binary_data_size"
        )
    return arrays


def _input(
    item: dict[str, Any], spec: TensorSpec, max_batch_size: int, where: str, tail: memoryview | None, position: int
) -> tuple[np.ndarray[Any, Any], int]:
    """Return the array of one input and how many bytes of the binary tail it used."""
    datatype_name = item.get("datatype")
    if datatype_name != spec.datatype.name:
        found = show(datatype_name) if "datatype" in item else "nothing"
        unknown = type(datatype_name) is str and datatype_name not in BY_NAME
        note = " (no datatype of the protocol)" if unknown else ""
        raise mismatch(f"{where}.datatype", found + note, f'"{spec.datatype.name}"')
    shape = _shape(item, spec, max_batch_size, where)
    size = _parameters(item, f"{where}.").get("binary_data_size")
    if size is None:
        if "data" not in item:
            raise mismatch(f"{where}.data", "nothing", "the tensor's elements, or parameters.binary_data_size")
        return json_tensors.decode(item["data"], shape, spec.datatype, f"{where}.data"), 0
    if type(size) is not int or size < 0:
        raise mismatch(f"{where}.parameters.binary_data_size", show(size), "a whole number of bytes, 0 or more")
    if "data" in item:
        raise RequestError(f"{where}: found both data and parameters.binary_data_size; expected one of them")
    if tail is None:
        raise RequestError(
            f"{where}.parameters.binary_data_size: found {size} without the header Inference-Header-Content-Length; "
            "expected that header with the length of the JSON"
        )
    left = len(tail) - position
    if size > left:
        raise mismatch(f"{where}.parameters.binary_data_size", str(size), f"at most {left}, what the body still has")
    return binary_tensors.decode(tail[position : position + size], shape, spec.datatype, where), size


def _shape(item: dict[str, Any], spec: TensorSpec, max_batch_size: int, where: str) -> tuple[int, ...]:
    where = f"{where}.shape"
    shape = item.get("shape")
    if type(shape) is not list:
        raise mismatch(where, show(shape) if "shape" in item else "nothing", "an array of whole numbers")
    for index, dimension in enumerate(shape):
        if type(dimension) is not int or dimension < 0:
            raise mismatch(f"{where}[{index}]", show(dimension), "a whole number, 0 or more")
    spec.require(tuple(shape), where)
    if len(shape) > 32 or prod(dimension or 1 for dimension in shape) > _MAX_ELEMENTS:
        raise mismatch(where, show(shape), f"at most 32 dimensions and {_MAX_ELEMENTS} elements")
    if max_batch_size and shape[0] > max_batch_size:
        raise mismatch(f"{where}[0]", str(shape[0]), f"at most {max_batch_size}, the model's max_batch_size")
    return tuple(shape)


def _outputs(document: dict[str, Any], signature: Signature) -> dict[str, bool]:
    parameters = _parameters(document, "")
    default = _boolean(parameters, "binary_data_output", "", default=False)
    if not document.get("outputs") and document.get("outputs", []) in ([], None):
        return dict.fromkeys(signature.outputs, default)
    named = _named_items(document, "outputs", signature.outputs)
    return {
        name: _boolean(_parameters(item, f"{where}."), "binary_data", f"{where}.", default=default)
        for name, (where, item) in named.items()
    }


def _boolean(parameters: dict[str, Any], key: str, where: str, *, default: bool) -> bool:
    value = parameters.get(key, default)
    if type(value) is not bool:
        raise mismatch(f"{where}parameters.{key}", show(value), "true or false")
    return value

"""Tensors in JSON: flat or nested arrays in row-major order, checked element by element."""

from __future__ import annotations

from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from inference_server.errors import RequestError, mismatch, show

if TYPE_CHECKING:
    from inference_server.datatypes import Datatype

# JSON has no NaN and no infinities. The names are those of the JSON mapping of Protocol Buffers
# (protobuf.dev/programming-guides/json), whose messages are the gRPC form of the same protocol.
_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def decode(data: Any, shape: tuple[int, ...], datatype: Datatype, where: str) -> np.ndarray[Any, Any]:
    """Return ``data``, the parsed JSON of a tensor, as an array of ``shape``.

    Raises:
        RequestError: not an array, wrong depth or lengths, elements of a wrong type or out of range.
    """
    if type(data) is list:
        elements = _flatten(data, shape, where)
    elif shape == () and type(data) is not dict and data is not None:
        elements = [data]
    else:
        raise mismatch(where, show(data), f"an array of {prod(shape)} elements, flat or nested like shape")
    kinds = set(map(type, elements))
    specials = False
    if not kinds <= datatype.json_types:
        specials = datatype.is_float and str in kinds
        if specials:
            elements = [_SPECIAL.get(item, item) if type(item) is str else item for item in elements]
        _require_types(elements, datatype, where)
    if datatype.is_bytes:
        result = np.empty(len(elements), dtype=object)
        result[:] = elements
        return result.reshape(shape)
    return _convert(elements, datatype, where, specials=specials).reshape(shape)


def encode(array: np.ndarray[Any, Any], datatype: Datatype) -> Any:
    """Return what orjson writes as the flat ``data`` of an output: the array itself, or a list where JSON needs care.

    Non-finite floats become the strings "NaN", "Infinity" and "-Infinity", which `decode` accepts too.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    if datatype.is_bytes:
        return flat.tolist()
    if datatype.is_float and not np.isfinite(flat).all():
        return [item if np.isfinite(item) else _special_name(item) for item in flat.tolist()]
    return flat


def _special_name(value: float) -> str:
    if np.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _flatten(data: list[Any], shape: tuple[int, ...], where: str) -> list[Any]:
    """Return the elements of an array that is flat or nested exactly like ``shape``."""
    count = prod(shape)
    level, depth = data, 0
    while level and list in (kinds := set(map(type, level))):
        if len(kinds) > 1:
            raise mismatch(where, f"arrays and single values mixed at depth {depth + 1}", "one or the other")
        if depth + 1 >= len(shape):
            raise mismatch(where, f"arrays nested more than {depth + 1} deep", f"at most the depth of shape {[*shape]}")
        if depth == 0:
            _require_length(len(level), shape, 0, where)
        for length in set(map(len, level)):
            _require_length(length, shape, depth + 1, where)
        level, depth = list(chain.from_iterable(level)), depth + 1
    if depth and depth + 1 < len(shape) and count:
        raise mismatch(where, f"arrays nested {depth + 1} deep", f"a flat array, or the depth of shape {[*shape]}")
    if len(level) != count:
        raise mismatch(where, f"{len(level)} elements", f"{count}, the product of shape {[*shape]}")
    return level


def _require_length(length: int, shape: tuple[int, ...], axis: int, where: str) -> None:
    if length != shape[axis]:
        raise mismatch(
            where, f"an array of length {length} at depth {axis + 1}", f"{shape[axis]}, as in shape {[*shape]}"
        )


def _require_types(elements: list[Any], datatype: Datatype, where: str) -> None:
    for index, item in enumerate(elements):
        if type(item) not in datatype.json_types:
            extra = ' or "NaN", "Infinity", "-Infinity"' if datatype.is_float else ""
            raise mismatch(f"{where}: element {index}", show(item), f"{datatype.meaning}{extra} ({datatype.name})")


def _convert(elements: list[Any], datatype: Datatype, where: str, *, specials: bool) -> np.ndarray[Any, Any]:
    try:
        with np.errstate(over="ignore"):
            result = np.array(elements, dtype=datatype.dtype)
    except OverflowError:
        raise _first_outside(elements, datatype, where) from None
    if datatype.is_float and not specials and not np.isfinite(result).all():
        raise _first_outside(elements, datatype, where)
    if specials:
        overflowed = np.isinf(result) & np.isfinite(np.array(elements, dtype=np.float64))
        if overflowed.any():
            raise _first_outside(elements, datatype, where)
    return result


def _first_outside(elements: list[Any], datatype: Datatype, where: str) -> RequestError:
    """Return the error for the first element that does not fit ``datatype``."""
    for index, item in enumerate(elements):
        if not _fits(item, datatype):
            return mismatch(f"{where}: element {index}", show(item), f"{datatype.meaning} ({datatype.name})")
    return mismatch(where, "an element out of range", f"{datatype.meaning} ({datatype.name})")


def _fits(item: Any, datatype: Datatype) -> bool:
    if datatype.is_float:
        with np.errstate(over="ignore"):
            return bool(np.isfinite(datatype.dtype.type(item))) or not np.isfinite(float(item))
    limits = np.iinfo(datatype.dtype)
    return bool(int(limits.min) <= item <= int(limits.max))

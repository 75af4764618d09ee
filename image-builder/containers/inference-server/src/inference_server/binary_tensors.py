"""Tensors as raw little-endian bytes: Triton's binary tensor data extension (extension_binary_data.md)."""

from __future__ import annotations

from math import prod
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np

from inference_server.errors import mismatch

if TYPE_CHECKING:
    from inference_server.datatypes import Datatype

_LENGTH = Struct("<I")
_ALIGNMENT = 64  # of numpy's own allocations on common builds, and enough for every vector instruction


def decode(data: memoryview, shape: tuple[int, ...], datatype: Datatype, where: str) -> np.ndarray[Any, Any]:
    """Return ``data`` as an array of ``shape``, without a copy where the bytes are aligned.

    Raises:
        RequestError: too few or too many bytes for the shape, a BOOL other than 0 and 1, BYTES that are not UTF-8.
    """
    count = prod(shape)
    if datatype.is_bytes:
        return _decode_bytes(data, count, where).reshape(shape)
    expected = count * datatype.dtype.itemsize
    if len(data) != expected:
        raise mismatch(
            f"{where}.parameters.binary_data_size",
            f"{len(data)}",
            f"{expected}: {count} elements of {datatype.name} at {datatype.dtype.itemsize} bytes",
        )
    if datatype.name == "BOOL":
        raw = np.frombuffer(data, dtype=np.uint8)
        if raw.size and raw.max() > 1:
            index = int(np.argmax(raw > 1))
            raise mismatch(f"{where}: element {index}", f"byte {raw[index]}", "0 or 1 (BOOL)")
    array = np.frombuffer(data, dtype=datatype.wire).astype(datatype.dtype, copy=False)
    if array.__array_interface__["data"][0] % _ALIGNMENT:
        array = array.copy()
    return array.reshape(shape)


def encode(array: np.ndarray[Any, Any], datatype: Datatype) -> bytes:
    """Return the bytes of ``array``, row-major and little-endian; BYTES elements with their 4-byte lengths."""
    if not datatype.is_bytes:
        return np.ascontiguousarray(array).astype(datatype.wire, copy=False).tobytes()
    parts: list[bytes] = []
    for item in array.reshape(-1).tolist():
        encoded = item if isinstance(item, bytes) else str(item).encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)


def _decode_bytes(data: memoryview, count: int, where: str) -> np.ndarray[Any, Any]:
    elements: list[str] = []
    position, end = 0, len(data)
    while position < end:
        index = len(elements)
        if end - position < _LENGTH.size:
            raise mismatch(f"{where}: element {index}", f"{end - position} bytes", "a length of 4 bytes (BYTES)")
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if length > end - position:
            raise mismatch(f"{where}: element {index}", f"{end - position} bytes", f"the {length} that its length says")
        try:
            elements.append(str(data[position : position + length], "utf-8"))
        except UnicodeDecodeError as error:
            # onnx.proto: string tensors hold UTF-8.
            raise mismatch(
                f"{where}: element {index}", f"bytes that are not UTF-8 at offset {error.start}", "UTF-8 text (BYTES)"
            ) from None
        position += length
    if len(elements) != count:
        raise mismatch(where, f"{len(elements)} elements", f"{count}, the product of shape")
    result = np.empty(count, dtype=object)
    result[:] = elements
    return result

"""The tensor datatypes of the Open Inference Protocol and what they are in numpy, ONNX and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np


@dataclass(frozen=True, slots=True)
class Datatype:
    """One protocol datatype.

    Attributes:
        name: the protocol's name, ``FP32``.
        onnx: onnxruntime's name of the same tensor type, ``tensor(float)``.
        dtype: the numpy type of one element in the server's memory.
        json_types: the Python types that a JSON element may parse to. Exact types, as bool is an int in Python.
        meaning: the element in words, for error messages.
    """

    name: str
    onnx: str
    dtype: np.dtype[Any]
    json_types: frozenset[type]
    meaning: str

    @property
    def is_bytes(self) -> bool:
        """Whether elements are byte strings of any length."""
        return self.name == "BYTES"

    @property
    def is_float(self) -> bool:
        """Whether elements are floating-point numbers, which may be NaN or infinite."""
        return self.dtype.kind == "f"

    @property
    def wire(self) -> np.dtype[Any]:
        """The little-endian form that the binary tensor data extension puts on the wire."""
        return self.dtype.newbyteorder("<")


def _integer(bits: int, *, signed: bool) -> Datatype:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    name = f"{'' if signed else 'u'}int{bits}"
    return Datatype(
        name.upper(), f"tensor({name})", np.dtype(name), frozenset({int}), f"an integer from {low} to {high}"
    )


def _float(bits: int, onnx: str) -> Datatype:
    dtype = np.dtype(f"float{bits}")
    limit = float(np.finfo(dtype).max)
    return Datatype(
        f"FP{bits}", f"tensor({onnx})", dtype, frozenset({int, float}), f"a number from {-limit:.8g} to {limit:.8g}"
    )


#: The table of tensor data types in the protocol's specification (inference_rest.md, "Tensor Data Types").
_ALL: Final = (
    Datatype("BOOL", "tensor(bool)", np.dtype(np.bool_), frozenset({bool}), "true or false"),
    *(_integer(bits, signed=False) for bits in (8, 16, 32, 64)),
    *(_integer(bits, signed=True) for bits in (8, 16, 32, 64)),
    _float(16, "float16"),
    _float(32, "float"),
    _float(64, "double"),
    Datatype("BYTES", "tensor(string)", np.dtype(object), frozenset({str}), "a string"),
)
BY_NAME: Final = {datatype.name: datatype for datatype in _ALL}
BY_ONNX: Final = {datatype.onnx: datatype for datatype in _ALL}

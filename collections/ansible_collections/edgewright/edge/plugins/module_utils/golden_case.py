"""Questions with known answers that a model must give before it may serve: its golden set.

A case is a request of the Open Inference Protocol v2 (specification/protocol/inference_rest.md) and what must come
back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.edgewright.edge.plugins.module_utils.fields import (
    Fields,
    UnfitError,
    choice,
    integer,
    is_list,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATATYPES: Final = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES"),
)
_TOLERANCE: Final = 1.0e-5
GOLDEN_IMAGE: Final = "build:containers/inference-server"
"""The image whose program asks a golden set, beside a server of any make."""


@dataclass(frozen=True)
class GoldenCase:
    """One question and its answer.

    Attributes:
        model: name of the model that is asked.
        version: its version; ``None`` leaves it to the server.
        inputs: tensors to send, each with ``name``, ``datatype``, ``shape`` and ``data``.
        outputs: tensors that must come back, each with ``name`` and what of the others is compared.
        tolerance: how far a number may be off, absolutely or relative to it.
    """

    model: str
    version: int | None
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]
    tolerance: float = _TOLERANCE

    @classmethod
    def from_inventory(cls, data: object, where: str) -> GoldenCase:
        """Read one item of ``golden``.

        Raises:
            EdgeError: everything that is wrong in it.
        """
        fields = Fields(data, where=where, known=("model", "version", "inputs", "outputs", "tolerance"))
        inputs = fields.build_list("inputs", lambda item, at, _: _tensor(item, at, whole=True), at_least=1)
        outputs = fields.build_list("outputs", lambda item, at, _: _tensor(item, at, whole=False), at_least=1)
        case = cls(
            model=fields.read("model", text),
            version=fields.read("version", integer(1, 2**31 - 1), optional=True),
            inputs=tuple(tensor for _, tensor in inputs),
            outputs=tuple(tensor for _, tensor in outputs),
            tolerance=fields.read("tolerance", _tolerance, default=_TOLERANCE),
        )
        fields.raise_if_any()
        return case

    def question(self) -> dict[str, Any]:
        """Return the case as the module ``inference_probe`` takes it."""
        return {
            "model": self.model,
            "version": None if self.version is None else str(self.version),
            "inputs": [dict(tensor) for tensor in self.inputs],
            "outputs": [dict(tensor) for tensor in self.outputs],
            "tolerance": self.tolerance,
        }


def _tensor(data: object, where: str, *, whole: bool) -> dict[str, Any]:
    fields = Fields(data, where=where, known=("name", "datatype", "shape", "data"))
    tensor: dict[str, Any] = {"name": fields.read("name", text)}
    for key, parse in (("datatype", choice(*_DATATYPES)), ("shape", _shape), ("data", _values)):
        if whole or fields.given(key):
            tensor[key] = fields.read(key, parse)
    fields.raise_if_any()
    return tensor


def _shape(value: object) -> list[int]:
    if not is_list(value) or not all(isinstance(size, int) and size >= 0 for size in value):
        raise UnfitError("is no shape", expected="a list of whole numbers, such as [1, 3, 224, 224]")
    return list(value)


def _values(value: object) -> list[Any]:
    if not is_list(value):
        raise UnfitError("is no tensor's content", expected="a list of its values, flat or nested")
    return list(value)


def _tolerance(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise UnfitError("is no tolerance", expected="a number from 0, such as 1.0e-5")
    return float(value)

"""What a model takes and gives: the named tensors of an ONNX graph, in the protocol's terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference_server.datatypes import BY_ONNX, Datatype
from inference_server.errors import mismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = -1


class UnsupportedModelError(Exception):
    """A model or its configuration that this server cannot serve; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output: name, datatype and shape, in which -1 is a variable dimension.

    onnxruntime reports an empty shape both for a scalar and for a tensor of unknown rank, so an empty shape is not
    checked here; the model itself refuses what it cannot use.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    def as_metadata(self) -> dict[str, Any]:
        """Return the entry of the model metadata response ($metadata_tensor)."""
        return {"name": self.name, "datatype": self.datatype.name, "shape": [*self.shape]}

    def require(self, shape: tuple[int, ...], where: str) -> None:
        """Raise RequestError unless a tensor of ``shape`` may be given for this input."""
        if not self.shape:
            return
        if len(shape) != len(self.shape) or any(
            wanted not in (VARIABLE, given) for given, wanted in zip(shape, self.shape, strict=True)
        ):
            expected = f"{[*self.shape]}" + (" (-1: any length)" if VARIABLE in self.shape else "")
            raise mismatch(where, str([*shape]), expected)


@dataclass(frozen=True, slots=True)
class Signature:
    """All inputs and outputs of a model, by name and in the model's order.

    ``max_batch_size`` limits the first dimension of every input; 0 means no limit (Triton's config.pbtxt).
    """

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    max_batch_size: int = 0


def tensor_specs(arguments: Sequence[Any], direction: str) -> dict[str, TensorSpec]:
    """Return the specs of onnxruntime's ``NodeArg`` objects.

    Raises:
        UnsupportedModelError: an argument is not a tensor of a datatype that the protocol knows.
    """
    specs: dict[str, TensorSpec] = {}
    for argument in arguments:
        datatype = BY_ONNX.get(argument.type)
        if datatype is None:
            hint = (
                "export the model without ZipMap (skl2onnx: options={'zipmap': False})"
                if argument.type.startswith("seq(map")
                else "export the model with a Cast to a supported type"
            )
            raise UnsupportedModelError(
                f"{direction} {argument.name!r} is a {argument.type}, which the protocol cannot carry; {hint}"
            )
        shape = tuple(dim if isinstance(dim, int) and dim >= 0 else VARIABLE for dim in argument.shape)
        specs[argument.name] = TensorSpec(argument.name, datatype, shape)
    return specs

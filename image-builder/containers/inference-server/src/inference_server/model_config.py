"""Triton's ``config.pbtxt``: what this server honours, what it can leave out, and what it must refuse.

Field names and meanings: triton-inference-server/common, protobuf/model_config.proto.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from inference_server.datatypes import BY_NAME, Datatype
from inference_server.signature import VARIABLE, Signature, TensorSpec, UnsupportedModelError
from inference_server.textproto import Message, Symbol, TextprotoError, parse
from inference_server.version_policy import VersionPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME: Final = "config.pbtxt"
DEFAULT_MODEL_FILE: Final = "model.onnx"
#: About speed, placement or monitoring: the answers are the same without them. Logged once at load.
IGNORED: Final = frozenset({
    "dynamic_batching", "instance_group", "metric_tags", "model_metrics", "model_warmup", "optimization", "parameters",
    "response_cache", "runtime",
})  # fmt: skip
_HONOURED: Final = frozenset({
    "backend", "default_model_filename", "input", "max_batch_size", "name", "output", "platform", "version_policy",
})  # fmt: skip
_TENSOR_FIELDS: Final = frozenset(["name", "data_type", "dims"])
_TENSOR_IGNORED: Final = frozenset(["format", "label_filename"])
_DATATYPES: Final = {f"TYPE_{'STRING' if name == 'BYTES' else name}": datatype for name, datatype in BY_NAME.items()}
_PLATFORMS: Final = frozenset(["", "onnxruntime_onnx"])
_BACKENDS: Final = frozenset(["", "onnxruntime"])


@dataclass(frozen=True, slots=True)
class DeclaredTensor:
    """An ``input`` or ``output`` of the configuration; None where it says nothing."""

    name: str
    datatype: Datatype | None
    dims: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The honoured part of a configuration, and the names of the fields left out."""

    version_policy: VersionPolicy = field(default_factory=VersionPolicy)
    max_batch_size: int = 0
    model_file: str = DEFAULT_MODEL_FILE
    inputs: tuple[DeclaredTensor, ...] = ()
    outputs: tuple[DeclaredTensor, ...] = ()
    ignored: tuple[str, ...] = ()

    def apply(self, signature: Signature) -> Signature:
        """Return ``signature`` narrowed to what the configuration declares.

        Raises:
            UnsupportedModelError: the configuration contradicts the model; names every contradiction.
        """
        problems: list[str] = []
        batched = self.max_batch_size > 0
        inputs = _narrow(signature.inputs, self.inputs, "input", problems, batched=batched)
        outputs = _narrow(signature.outputs, self.outputs, "output", problems, batched=batched)
        if batched:
            problems += [
                f"max_batch_size: {self.max_batch_size} needs a variable first dimension, but input {spec.name!r} "
                f"has shape {[*spec.shape]}; expected 0"
                for spec in inputs.values()
                if not spec.shape or spec.shape[0] != VARIABLE
            ]
        _refuse(problems)
        return Signature(inputs, outputs, self.max_batch_size)


def load(folder: Path) -> ModelConfig:
    """Return the configuration of the model in ``folder``; Triton's defaults when there is no file.

    Raises:
        UnsupportedModelError: the file cannot be read, is broken, or asks for what this server does not do.
    """
    try:
        text = (folder / FILE_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ModelConfig()
    except (OSError, UnicodeDecodeError) as error:
        raise UnsupportedModelError(f"{FILE_NAME}: cannot be read: {error}") from None
    try:
        message = parse(text)
    except TextprotoError as error:
        raise UnsupportedModelError(f"{FILE_NAME}: {error}") from None
    return _config(message, folder.name)


def _config(message: Message, model: str) -> ModelConfig:
    problems = [
        f"line {message.lines[name]}: {name} is not supported by this server; remove it or use Triton"
        for name in message.fields
        if name not in _HONOURED | IGNORED
    ]
    expected = {"name": {"", model}, "platform": _PLATFORMS, "backend": _BACKENDS}
    for name, allowed in expected.items():
        value = _scalar(message, name, str, "", problems)
        if value not in allowed:
            problems.append(f"{_at(message, name)}: found {value!r}; expected {max(allowed)!r}")
    model_file = _scalar(message, "default_model_filename", str, DEFAULT_MODEL_FILE, problems) or DEFAULT_MODEL_FILE
    if "/" in model_file or model_file in {".", ".."}:
        problems.append(
            f"{_at(message, 'default_model_filename')}: found {model_file!r}; expected a file name without a folder"
        )
    batch = _scalar(message, "max_batch_size", int, 0, problems)
    if batch < 0:
        problems.append(f"{_at(message, 'max_batch_size')}: found {batch}; expected 0 or more")
    config = ModelConfig(
        version_policy=_version_policy(message, problems),
        max_batch_size=max(batch, 0),
        model_file=model_file,
        inputs=_declared(message, "input", problems),
        outputs=_declared(message, "output", problems),
        ignored=tuple(name for name in message.fields if name in IGNORED),
    )
    _refuse(problems)
    return config


def _refuse(problems: list[str]) -> None:
    if problems:
        raise UnsupportedModelError(f"{FILE_NAME}: " + "; ".join(problems))


def _at(message: Message, name: str) -> str:
    return f"line {message.lines.get(name, message.line)}: {name}"


def _scalar(message: Message, name: str, kind: type, default: Any, problems: list[str]) -> Any:
    values = message.fields.get(name)
    if not values:
        return default
    value = values[-1]  # the last one wins, as in every protobuf parser
    if type(value) is not kind:
        problems.append(f"{_at(message, name)}: found {_text(value)}; expected {_KINDS[kind]}")
        return default
    return value


_KINDS: Final = {str: "a string", int: "a whole number"}


def _text(value: object) -> str:
    if isinstance(value, Symbol):
        return value.name
    return "a message" if isinstance(value, Message) else repr(value)


def _version_policy(message: Message, problems: list[str]) -> VersionPolicy:
    values = message.fields.get("version_policy")
    if not values:
        return VersionPolicy()
    policy, where = values[-1], _at(message, "version_policy")
    choices = policy.fields if isinstance(policy, Message) else {}
    if len(choices) == 1:
        choice, given = next(iter(choices.items()))
        body = given[-1]
        if isinstance(body, Message):
            if choice == "all":
                return VersionPolicy(latest=None)
            if choice == "latest":
                number = _scalar(body, "num_versions", int, 1, problems)
                if number >= 1:
                    return VersionPolicy(latest=number)
            if choice == "specific":
                versions = body.fields.get("versions", [])
                numbers = tuple(version for version in versions if type(version) is int and version >= 1)
                if numbers and len(numbers) == len(versions):
                    return VersionPolicy(latest=None, specific=numbers)
    problems.append(
        f"{where}: expected one of latest {{ num_versions: N }}, specific {{ versions: [N] }}, all {{ }}; N from 1"
    )
    return VersionPolicy()


def _declared(message: Message, key: str, problems: list[str]) -> tuple[DeclaredTensor, ...]:
    tensors: list[DeclaredTensor] = []
    for tensor in message.fields.get(key, []):
        if not isinstance(tensor, Message):
            problems.append(f"{_at(message, key)}: found {_text(tensor)}; expected a message")
            continue
        problems += [
            f"line {tensor.lines[name]}: {key}.{name} is not supported by this server"
            for name in tensor.fields
            if name not in _TENSOR_FIELDS | _TENSOR_IGNORED
        ]
        declared = _declared_tensor(tensor, key, problems)
        if any(declared.name == other.name for other in tensors):
            problems.append(f"line {tensor.line}: {key} {declared.name!r} is declared twice")
        tensors.append(declared)
    return tuple(tensors)


def _declared_tensor(tensor: Message, key: str, problems: list[str]) -> DeclaredTensor:
    datatype = None
    for value in tensor.fields.get("data_type", [])[-1:]:
        name = value.name if isinstance(value, Symbol) else ""
        datatype = _DATATYPES.get(name)
        if datatype is None:
            known = ", ".join(_DATATYPES)
            problems.append(f"{_at(tensor, 'data_type')}: found {_text(value)}; expected one of {known}")
    dims: list[int] = []
    for dim in tensor.fields.get("dims", []):
        if type(dim) is int and dim >= VARIABLE:
            dims.append(dim)
        else:
            problems.append(f"{_at(tensor, 'dims')}: {key}: found {_text(dim)}; expected -1 or more")
    return DeclaredTensor(
        _scalar(tensor, "name", str, "", problems), datatype, tuple(dims) if "dims" in tensor.fields else None
    )


def _narrow(
    specs: Mapping[str, TensorSpec],
    declared: tuple[DeclaredTensor, ...],
    key: str,
    problems: list[str],
    *,
    batched: bool,
) -> dict[str, TensorSpec]:
    """Return ``specs`` with variable dimensions fixed where ``declared`` fixes them."""
    narrowed = dict(specs)
    for tensor in declared:
        spec = specs.get(tensor.name)
        if spec is None:
            problems.append(f"{key} {tensor.name!r} is not in the model; expected one of {', '.join(specs)}")
            continue
        if tensor.datatype not in (None, spec.datatype):
            problems.append(f"{key} {tensor.name!r}: data_type differs from the model's {spec.datatype.name}")
        if tensor.dims is None or not spec.shape:
            continue
        # model_config.proto: with max_batch_size > 0 the batch dimension is not part of dims.
        dims = ((VARIABLE,) if batched else ()) + tensor.dims
        if len(dims) != len(spec.shape) or any(
            VARIABLE not in (wanted, has) and wanted != has for wanted, has in zip(dims, spec.shape, strict=True)
        ):
            problems.append(f"{key} {tensor.name!r}: dims {[*dims]} contradict the model's shape {[*spec.shape]}")
            continue
        fixed = tuple(has if wanted == VARIABLE else wanted for wanted, has in zip(dims, spec.shape, strict=True))
        narrowed[tensor.name] = replace(spec, shape=fixed)
    return narrowed

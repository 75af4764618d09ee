"""One version of a model, loaded: an onnxruntime session that all threads share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from inference_server.errors import RequestError
from inference_server.signature import Signature, UnsupportedModelError, tensor_specs

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from inference_server.model_config import ModelConfig

_FATAL = 4  # onnxruntime's severity: its own log repeats, over several lines, what its exceptions say
#: What onnxruntime raises when a kernel cannot work with the values it got: an index out of range, shapes that do not
#: broadcast. Everything else it raises while running is not the client's doing.
_REFUSALS = (ort_errors.InvalidArgument, ort_errors.Fail, ort_errors.RuntimeException, ort_errors.NotImplemented)
_TERMINATED = re.compile(r"terminate flag")
_NO_MEMORY = re.compile(r"[Ff]ailed to allocate|bad_alloc|out of memory", re.IGNORECASE)
_SOURCE_PLACE = re.compile(r"\s*/\S+\.(?:cc|h):\d+ [^\n]*?\) (?=[A-Z\[])|\S+\.(?:cc|h):\d+ ")


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How onnxruntime uses the machine."""

    intra_op_threads: int
    spinning: bool
    memory_arena: bool


class Cancellation:
    """A handle that stops one running inference at the next node of its graph."""

    __slots__ = ("options",)

    def __init__(self) -> None:
        self.options = onnxruntime.RunOptions()
        self.options.log_severity_level = _FATAL

    def cancel(self) -> None:
        """Ask onnxruntime to give up; safe from any thread, before, during and after the run."""
        self.options.terminate = True


class Model:
    """A session with its name, version and signature."""

    def __init__(self, name: str, version: int, session: Any, signature: Signature) -> None:
        self.name = name
        self.version = version
        self.version_text = str(version)
        self.signature = signature
        self._session = session

    @classmethod
    def load(cls, name: str, version: int, path: Path, config: ModelConfig, settings: SessionSettings) -> Model:
        """Load the file at ``path``; takes as long as the model is big.

        Raises:
            UnsupportedModelError: no such file, not a model, or one that cannot be served.
        """
        if not path.is_file():
            raise UnsupportedModelError(f"version {version}: no file {path.name}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = settings.intra_op_threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = settings.memory_arena
        spinning = "1" if settings.spinning else "0"
        options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
        options.add_session_config_entry("session.inter_op.allow_spinning", spinning)
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # whatever it is, the file is refused
            raise UnsupportedModelError(f"version {version}: {path.name}: {_reason(error)}") from error
        found = Signature(tensor_specs(session.get_inputs(), "input"), tensor_specs(session.get_outputs(), "output"))
        return cls(name, version, session, config.apply(found))

    def run(
        self, inputs: dict[str, np.ndarray[Any, Any]], outputs: list[str], cancellation: Cancellation
    ) -> list[np.ndarray[Any, Any]]:
        """Return the arrays of ``outputs``.

        Raises:
            RequestError: the model cannot work with these inputs, ran out of memory, or was cancelled.
        """
        try:
            results: list[np.ndarray[Any, Any]] = self._session.run(outputs, inputs, cancellation.options)
        except (*_REFUSALS, MemoryError) as error:
            raise self._refusal(error) from error
        return results

    def _refusal(self, error: Exception) -> RequestError:
        text = _reason(error)
        if _TERMINATED.search(text):
            return RequestError("the inference was stopped", status=503, kind="stopping", retry_after=1)
        if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
            return RequestError(
                f"model {self.name!r} needs more memory for this request than there is; send a smaller tensor",
                status=503,
                kind="out_of_memory",
                retry_after=1,
            )
        return RequestError(f"model {self.name!r} cannot work with these inputs: {text}", kind="model_refused_input")


def _reason(error: Exception) -> str:
    """Return onnxruntime's message on one line, without its prefix and the places in its source."""
    text = str(error)
    for mark in ("Status Message:", " : "):
        if mark in text:
            text = text.rpartition(mark)[2]
            break
    text = " ".join(_SOURCE_PLACE.sub(" ", text).split())
    return text[:400] or type(error).__name__

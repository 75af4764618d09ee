"""The client's half of the Open Inference Protocol v2 over REST: paths, and what an answer should have been."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

_SHOWN: Final = 5


def model_route(model: str, version: str | None) -> str:
    """Return the path of a model, or of one of its versions, below the server's root."""
    route = f"v2/models/{quote(model, safe='')}"
    return f"{route}/versions/{quote(version, safe='')}" if version else route


def differences(answer: object, expected: Sequence[Mapping[str, Any]], *, tolerance: float) -> list[str]:
    """Return in words how the answer of an ``infer`` request differs from the outputs that were expected.

    An expected output has ``name`` and any of ``datatype``, ``shape`` and ``data``; what it does not have is not
    compared, and outputs nobody expects are not looked at. Data may be nested lists or flat: the protocol allows both.

    Args:
        answer: the parsed JSON body.
        expected: the expected outputs.
        tolerance: how far numbers may be apart, absolutely or relative to the expected one.
    """
    outputs = answer.get("outputs") if isinstance(answer, Mapping) else None
    if not isinstance(outputs, list):
        return ["the answer has no 'outputs'"]
    by_name = {output.get("name"): output for output in outputs if isinstance(output, Mapping)}
    return [text for output in expected for text in _output_differences(by_name, output, tolerance)]


def _output_differences(
    by_name: Mapping[Any, Mapping[str, Any]], expected: Mapping[str, Any], tolerance: float
) -> Iterator[str]:
    name = expected["name"]
    found = by_name.get(name)
    if found is None:
        names = ", ".join(sorted(str(known) for known in by_name)) or "none"
        yield f"output '{name}' is missing; the answer has {names}"
        return
    for key in ("datatype", "shape"):
        if expected.get(key) is not None and found.get(key) != expected[key]:
            yield f"output '{name}' has {key} {found.get(key)}, expected {expected[key]}"
    if expected.get("data") is None:
        return
    values, wanted = list(_flat(found.get("data"))), list(_flat(expected["data"]))
    if len(values) != len(wanted):
        yield f"output '{name}' has {len(values)} values, expected {len(wanted)}"
        return
    wrong = [number for number, pair in enumerate(zip(values, wanted, strict=True)) if not _close(*pair, tolerance)]
    for number in wrong[:_SHOWN]:
        yield f"output '{name}' value {number} is {values[number]!r}, expected {wanted[number]!r}"
    if len(wrong) > _SHOWN:
        yield f"output '{name}' has {len(wrong) - _SHOWN} more wrong values"


def _flat(data: object) -> Iterator[object]:
    if isinstance(data, list | tuple):
        for item in data:
            yield from _flat(item)
    elif data is not None:
        yield data


def _close(value: object, wanted: object, tolerance: float) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        if math.isnan(wanted):
            return math.isnan(value)
        return math.isclose(value, wanted, rel_tol=tolerance, abs_tol=tolerance)
    return value == wanted

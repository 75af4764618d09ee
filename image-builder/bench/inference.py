"""The inference server against onnxruntime alone: its own bench, with a small tensor and with the site's model."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import NotMeasuredError, Row
from edgewright.paths import containers_dir
from edgewright.tools.process import ToolError, run

if TYPE_CHECKING:
    from bench.workplace import Workplace

_SECONDS = 5.0  # for each side and kind of measurement
# Read when onnxruntime is imported; the server sets it for itself.
_QUIET = {"ORT_DISABLE_TELEMETRY": "1"}
_NOTE = (
    "Whole HTTP requests on a kept-alive loopback connection, on this machine and not in an emulated one; beside it a "
    "loop of session.run on ready arrays. Throughput: as many requests at a time as the server runs."
)


def inference(place: Workplace) -> list[Row]:
    """Measure latency and throughput, with both wire forms.

    Raises:
        NotMeasuredError: onnxruntime and the server's other packages are not installed here.
    """
    place.fetch()
    try:
        run([sys.executable, "-c", "import onnx, onnxruntime, uvicorn"], env=_QUIET)
    except ToolError as error:
        raise NotMeasuredError("the server's packages are missing: pip install -e '.[server]'") from error
    source = place.site.hosts[0].variables["edge_inference_services"][0]["models"][0]
    rows: list[Row] = []
    with place.reporter.step("small tensor"):
        rows += _rows("small tensor", _measure(None), limit=1.0)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        model.symlink_to(place.store.path(place.lock.artifact(source["source"]).digest))
        with place.reporter.step(source["name"]):
            rows += _rows(source["name"], _measure(model), limit=None)
    return rows


def _measure(model: Path | None) -> dict[str, Any]:
    script = containers_dir() / "inference-server" / "bench.py"
    words = [] if model is None else ["--model", os.fspath(model)]
    said = run(
        [sys.executable, script, "--seconds", str(_SECONDS), *words],
        env=_QUIET,
    )
    figures: dict[str, Any] = json.loads(said)
    return figures


def _rows(what: str, found: dict[str, Any], *, limit: float | None) -> list[Row]:
    rows = []
    for form in ("json", "binary"):
        overhead = found[f"overhead_{form}"]["p50_ms"]
        rows.append(Row(f"Inference, {what}, {form}: added at p50", overhead, "ms", limit=limit, note=_NOTE))
        for key in ("p50", "p99"):
            ours, bare = (found[side][f"{key}_ms"] for side in (form, "bare"))
            rows.append(Row(f"Inference, {what}, {form}: {key}", ours, "ms", bare, "onnxruntime alone", note=_NOTE))
        ours, bare = (found[side]["per_second"] for side in (form, "bare"))
        figure = f"Inference, {what}, {form}: throughput"
        rows.append(Row(figure, ours, "1/s", bare, "onnxruntime alone", note=_NOTE))
    return rows

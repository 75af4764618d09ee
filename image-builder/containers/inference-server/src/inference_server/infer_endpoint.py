"""The inference path: admit, read, run in a thread, answer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from starlette.responses import Response

from inference_server.bodies import json_length, read_body
from inference_server.errors import RequestError
from inference_server.infer_request import parse
from inference_server.infer_response import InferResponse, build
from inference_server.logs import event
from inference_server.metrics import outcome_of
from inference_server.model import Cancellation, Model
from inference_server.work_queue import stopping_error

if TYPE_CHECKING:
    from starlette.requests import Request

    from inference_server.metrics import Metrics, ModelMetrics
    from inference_server.repository import Repository
    from inference_server.settings import Settings
    from inference_server.work_queue import WorkQueue


class InferEndpoint:
    """POST …/infer."""

    def __init__(self, settings: Settings, repository: Repository, queue: WorkQueue, metrics: Metrics) -> None:
        self._settings = settings
        self._repository = repository
        self._queue = queue
        self._metrics = metrics

    async def __call__(self, request: Request) -> Response:
        """Answer one request, and count it."""
        start = time.perf_counter()
        metrics, outcome = self._metrics.unknown_model, "server_error"
        name, version = request.path_params["model"], request.path_params.get("version")
        try:
            model = self._repository.find(name, version)
            metrics = self._metrics.model(model.name, model.version_text)
            result = await self._answer(request, model, metrics)
            outcome = "success"
        except RequestError as error:
            outcome = outcome_of(error)
            raise
        finally:
            seconds = time.perf_counter() - start
            metrics.outcomes[outcome].inc()
            if outcome == "success":
                metrics.request_seconds.observe(seconds)
            if self._settings.access_log:
                event("inference", model=name, version=version or "", outcome=outcome, seconds=seconds)
        if result.json_length is None:
            return Response(result.body, media_type="application/json")
        headers = {"Inference-Header-Content-Length": str(result.json_length)}
        return Response(result.body, headers=headers, media_type="application/octet-stream")

    async def _answer(self, request: Request, model: Model, metrics: ModelMetrics) -> InferResponse:
        body: bytes | None = None
        try:
            async with asyncio.timeout(self._settings.request_timeout) as deadline:
                with self._queue.admit(deadline):
                    length = json_length(request)
                    body = await read_body(request, self._settings.max_body_size)
                    cancellation = Cancellation()

                    def work(body: bytes = body) -> InferResponse:
                        return infer(model, body, length, cancellation, metrics)

                    return await self._queue.run(work, cancellation.cancel)
        except TimeoutError:
            limit = f"{self._settings.request_timeout:g} seconds"
            if self._queue.aborted:
                raise stopping_error() from None
            if body is None:
                raise RequestError(f"body: did not arrive within {limit}", status=408, kind="body_timeout") from None
            raise RequestError(
                f"the inference did not finish within {limit}", status=504, kind="inference_timeout"
            ) from None


def infer(
    model: Model, body: bytes, json_length: int | None, cancellation: Cancellation, metrics: ModelMetrics
) -> InferResponse:
    """Decode, run and encode one request; belongs in a thread, as each of the three can take long."""
    request = parse(body, json_length, model.signature)
    start = time.perf_counter()
    arrays = model.run(request.inputs, [*request.outputs], cancellation)
    metrics.inference_seconds.observe(time.perf_counter() - start)
    return build(model.name, model.version_text, request, arrays, model.signature)

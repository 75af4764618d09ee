"""The HTTP face: the protocol's paths, and one place where every error becomes an answer.

Paths and bodies: kserve/open-inference-protocol, specification/protocol/inference_rest.md and open_inference_rest.yaml;
triton-inference-server/server, docs/protocol/extension_model_repository.md.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from inference_server import SERVER_NAME, __version__
from inference_server.bodies import read_body
from inference_server.errors import RequestError, mismatch, show
from inference_server.infer_endpoint import InferEndpoint
from inference_server.infer_request import parse_object
from inference_server.logs import event
from inference_server.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from inference_server.metrics import Metrics
    from inference_server.repository import Repository
    from inference_server.settings import Settings
    from inference_server.work_queue import WorkQueue

    Endpoint = Callable[[Request], Awaitable[Response]]

#: The platform name that the protocol's model metadata section gives to ONNX models.
PLATFORM = "onnx_onnxv1"
EXTENSIONS = ("binary_tensor_data", "model_repository", "model_repository(unload_dependents)")
_CONTROL_BODY_SIZE = 2**16


class InferenceApp:
    """The application: its models, its queue, its metrics and the Starlette app over them."""

    def __init__(self, settings: Settings, repository: Repository, queue: WorkQueue, metrics: Metrics) -> None:
        self.settings = settings
        self.repository = repository
        self.queue = queue
        self.metrics = metrics
        metrics.watch(queue)
        infer = InferEndpoint(settings, repository, queue, metrics)
        self.asgi = Starlette(
            routes=self._routes(self._guard(infer)),
            exception_handlers={HTTPException: self._http_exception},  # what Starlette's router itself raises
            lifespan=self._lifespan,
        )
        self.asgi.router.redirect_slashes = False

    def _routes(self, infer: Endpoint) -> list[Route]:
        model, repository = "/v2/models/{model}", "/v2/repository"
        versioned = model + "/versions/{version}"
        table: list[tuple[str, str, Endpoint]] = [
            ("POST", f"{model}/infer", infer),
            ("POST", f"{versioned}/infer", infer),
            ("GET", "/v2/health/live", self._guard(self._live)),
            ("GET", "/v2/health/ready", self._guard(self._ready)),
            ("GET", "/v2", self._guard(self._server_metadata)),
            ("GET", "/v2/", self._guard(self._server_metadata)),
            ("GET", model, self._guard(self._model_metadata)),
            ("GET", versioned, self._guard(self._model_metadata)),
            ("GET", f"{model}/ready", self._guard(self._model_ready)),
            ("GET", f"{versioned}/ready", self._guard(self._model_ready)),
            ("POST", f"{repository}/index", self._guard(self._index)),
            ("POST", f"{repository}/models/{{model}}/load", self._guard(self._load)),
            ("POST", f"{repository}/models/{{model}}/unload", self._guard(self._unload)),
            ("GET", "/metrics", self._guard(self._metrics_text)),
        ]
        return [Route(path, endpoint, methods=[method]) for method, path, endpoint in table]

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        # Loading goes on beside serving: live answers from the first moment, ready when every model does.
        loading = asyncio.create_task(self.repository.load_all())
        try:
            yield
        finally:
            loading.cancel()
            self.repository.close()
            self.queue.close()

    def _guard(self, endpoint: Endpoint) -> Endpoint:
        """Return ``endpoint`` with every exception turned into the protocol's error answer."""

        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except RequestError as error:
                return self._error(error)
            except Exception as error:
                reference = uuid4().hex[:12]
                place = error.__traceback__
                while place is not None and place.tb_next is not None:
                    place = place.tb_next
                where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
                event("internal_error", level=logging.ERROR, reference=reference, where=where, error=repr(error))
                text = f"internal error; the server's log tells more under reference {reference}"
                return self._error(RequestError(text, status=500, kind="internal"))

        return answer

    def _error(self, error: RequestError) -> Response:
        self.metrics.errors.labels(error.kind).inc()
        event("request_refused", level=logging.DEBUG, status=error.status, kind=error.kind, error=error.message)
        response = _json({"error": error.message}, error.status)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        if error.kind in {"stopping", "body_too_large", "body_timeout", "bad_transfer"}:
            response.headers["Connection"] = "close"
        return response

    async def _http_exception(self, request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
            text = f"method: found {request.method} on {show(request.url.path)}; expected {allowed}"
            response = self._error(RequestError(text, status=405, kind="method_not_allowed"))
            response.headers["Allow"] = allowed
            return response
        path = show(request.url.path)
        text = f"path: found {path}; expected one of the Open Inference Protocol, below /v2, or /metrics"
        return self._error(RequestError(text, status=404, kind="unknown_path"))

    async def _live(self, _request: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, _request: Request) -> Response:
        # The specification's text prints {"live": …} here; its schema and KServe have {"ready": …}.
        ready = self.repository.ready and not self.queue.stopping
        return _json({"ready": ready}, 200 if ready else 503)

    async def _server_metadata(self, _request: Request) -> Response:
        return _json({"name": SERVER_NAME, "version": __version__, "extensions": [*EXTENSIONS], "transports": ["rest"]})

    async def _model_metadata(self, request: Request) -> Response:
        name, version = request.path_params["model"], request.path_params.get("version")
        model = self.repository.find(name, version)
        versions = [version] if version else [str(number) for number in sorted(self.repository.served(name))]
        return _json(
            {
                "name": name,
                "versions": versions,
                "platform": PLATFORM,
                "inputs": [spec.as_metadata() for spec in model.signature.inputs.values()],
                "outputs": [spec.as_metadata() for spec in model.signature.outputs.values()],
            }
        )

    async def _model_ready(self, request: Request) -> Response:
        name = request.path_params["model"]
        try:
            self.repository.find(name, request.path_params.get("version"))
        except RequestError as error:
            if error.kind != "model_not_ready":
                raise
            return _json({"name": name, "ready": False}, 503)
        ready = not self.queue.stopping
        return _json({"name": name, "ready": ready}, 200 if ready else 503)

    async def _index(self, request: Request) -> Response:
        document = await self._control_body(request)
        only_ready = document.get("ready", False)
        if type(only_ready) is not bool:
            raise mismatch("ready", show(only_ready), "true or false")
        return _json(await self.repository.index(only_ready=only_ready))

    async def _load(self, request: Request) -> Response:
        await self._control_parameters(request, {})
        await self.repository.load(request.path_params["model"])
        return _json({})

    async def _unload(self, request: Request) -> Response:
        # There are no ensembles here, so a model has no dependents and both values mean the same.
        await self._control_parameters(request, {"unload_dependents": bool})
        await self.repository.unload(request.path_params["model"])
        return _json({})

    async def _control_parameters(self, request: Request, known: dict[str, type]) -> None:
        if self.settings.model_control == "none":
            raise RequestError(
                "loading and unloading are switched off (INFERENCE_SERVER_MODEL_CONTROL=none)",
                status=403,
                kind="forbidden",
            )
        parameters = (await self._control_body(request)).get("parameters", {})
        if type(parameters) is not dict:
            raise mismatch("parameters", show(parameters), "an object")
        for name, value in parameters.items():
            if name not in known:
                raise RequestError(f"parameters.{name}: is not supported; expected {', '.join(known) or 'none'}")
            if type(value) is not known[name]:
                raise mismatch(f"parameters.{name}", show(value), known[name].__name__)

    async def _control_body(self, request: Request) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self.settings.request_timeout):
                body = await read_body(request, _CONTROL_BODY_SIZE)
        except TimeoutError:
            raise RequestError("body: did not arrive in time", status=408, kind="body_timeout") from None
        return parse_object(body, "body") if body.strip() else {}

    async def _metrics_text(self, _request: Request) -> Response:
        return Response(self.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _json(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")

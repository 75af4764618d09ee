"""What the server tells Prometheus about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from inference_server import __version__
from inference_server.errors import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference_server.errors import RequestError
    from inference_server.work_queue import WorkQueue

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
OUTCOMES: Final = ("success", "client_error", "server_error", "rejected", "timeout")
_REJECTED: Final = frozenset(["queue_full", "stopping", "model_not_ready"])
_BUCKETS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


def outcome_of(error: RequestError) -> str:
    """Return the ``outcome`` label of a request that ended in ``error``."""
    if error.kind in {"inference_timeout", "body_timeout"}:
        return "timeout"
    if error.kind in _REJECTED:
        return "rejected"
    return "client_error" if error.status < 500 else "server_error"


class ModelMetrics:
    """The metrics of one model version, with their labels resolved once."""

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        self.outcomes = {outcome: metrics.requests.labels(model, version, outcome) for outcome in OUTCOMES}
        self.request_seconds = metrics.request_seconds.labels(model, version)
        self.inference_seconds = metrics.inference_seconds.labels(model, version)


class Metrics:
    """All metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("model", "version")
        self.requests = Counter(
            "inference_server_requests",
            "Inference requests by outcome; model and version are empty when the request named none that is loaded.",
            (*labels, "outcome"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "inference_server_request_duration_seconds",
            "Successful inference requests from the first header byte to the finished answer, waiting included.",
            labels,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.inference_seconds = Histogram(
            "inference_server_inference_duration_seconds",
            "Time in the model itself.",
            labels,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.errors = Counter(
            "inference_server_errors", "Error answers on any path, by kind.", ("kind",), registry=self.registry
        )
        self.model_version = Gauge(
            "inference_server_model_version_loaded", "1 for each version served.", labels, registry=self.registry
        )
        self.loads = Counter(
            "inference_server_model_loads", "Loads of a model.", ("model", "outcome"), registry=self.registry
        )
        Info("inference_server_build", "This server.", registry=self.registry).info({"version": __version__})
        ProcessCollector(registry=self.registry)
        for kind in KINDS:
            self.errors.labels(kind)
        self.unknown_model = ModelMetrics(self, "", "")
        self._models: dict[tuple[str, str], ModelMetrics] = {}

    def watch(self, queue: WorkQueue) -> None:
        """Report the length of ``queue`` whenever somebody asks."""
        for name, text, source in (
            ("queue_length", "Requests admitted but not running.", lambda: queue.waiting),
            ("running", "Inferences running now.", lambda: queue.running),
            ("queue_capacity", "Requests that may wait.", lambda: queue.queue_size),
            ("concurrency", "Inferences that may run at once.", lambda: queue.concurrency),
        ):
            Gauge(f"inference_server_{name}", text, registry=self.registry).set_function(source)

    def model(self, name: str, version: str) -> ModelMetrics:
        """Return the metrics of one model version."""
        key = (name, version)
        if key not in self._models:
            self._models[key] = ModelMetrics(self, name, version)
        return self._models[key]

    def show_versions(self, name: str, before: Iterable[int], after: Iterable[int]) -> None:
        """Set the version gauge of one model to what is served now."""
        kept = set(after)
        for version in set(before) - kept:
            self.model_version.remove(name, str(version))
        for version in kept:
            self.model_version.labels(name, str(version)).set(1)

    def text(self) -> bytes:
        """Return the exposition text (content type `CONTENT_TYPE`)."""
        return generate_latest(self.registry)

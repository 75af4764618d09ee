"""The process: uvicorn with a graceful stop that clients can see coming."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import uvicorn

from inference_server import __version__, logs
from inference_server.app import InferenceApp
from inference_server.cpus import usable_cpus
from inference_server.metrics import Metrics
from inference_server.model import SessionSettings
from inference_server.repository import Repository
from inference_server.work_queue import WorkQueue

if TYPE_CHECKING:
    import socket
    from types import FrameType

    from inference_server.settings import Settings

#: Python hands its lock to another thread this often: a worker that parses JSON delays the event loop by no more.
_SWITCH_SECONDS = 0.001
#: How long finished answers may take to reach slow clients after the last inference.
_FLUSH_SECONDS = 1


class GracefulServer(uvicorn.Server):
    """On the first SIGTERM or SIGINT: ready turns 503, admitted requests finish, then the process ends with 0.

    uvicorn alone closes its port at once, so that nobody could ask whether the server is ready, and ends by the
    signal, which systemd counts as clean but Kubernetes and scripts see as 143.
    """

    def __init__(self, config: uvicorn.Config, queue: WorkQueue, stop_timeout: float) -> None:
        super().__init__(config)
        self._queue = queue
        self._stop_timeout = stop_timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port; from here on a signal means a graceful stop."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for server in self.servers if self.started else []:
            for listener in server.sockets:
                logs.event("listening", address="{}:{}".format(*listener.getsockname()[:2]))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Take a signal; the second one ends the waiting."""
        if self._loop is None or self._stop is not None:
            self.should_exit = self.force_exit = True
        else:
            self._loop.call_soon_threadsafe(self._begin_stop, sig)

    def _begin_stop(self, sig: int) -> None:
        if self._stop is None:
            self._stop = asyncio.get_running_loop().create_task(self._drain(sig))

    async def _drain(self, sig: int) -> None:
        logs.event("stopping", signal=sig, running=self._queue.running, waiting=self._queue.waiting)
        try:
            if not await self._queue.stop(self._stop_timeout):
                logs.event("requests_cut", level=logging.WARNING, count=self._queue.abort(), seconds=self._stop_timeout)
        finally:
            self.should_exit = True


def serve(settings: Settings) -> NoReturn:
    """Serve until a signal comes, then end the process with 0."""
    logs.configure(settings.log_level)
    sys.setswitchinterval(_SWITCH_SECONDS)
    cpus = usable_cpus()
    threads = settings.intra_op_threads or cpus
    queue = WorkQueue(settings.concurrency or cpus, settings.queue_size)
    metrics = Metrics()
    sessions = SessionSettings(threads, settings.spinning, settings.memory_arena)
    repository = Repository(settings.model_repository, sessions, metrics)
    app = InferenceApp(settings, repository, queue, metrics)
    config = uvicorn.Config(
        app.asgi,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=settings.keep_alive_timeout,
        timeout_graceful_shutdown=_FLUSH_SECONDS,
    )
    server = GracefulServer(config, queue, settings.stop_timeout)
    logs.event(
        "starting", version=__version__, cpus=cpus, intra_op_threads=threads, concurrency=queue.concurrency,
        models=settings.model_repository,
    )  # fmt: skip
    server.run()
    logs.event("stopped", unfinished=queue.running)
    sys.stderr.flush()
    # Python would wait for its threads, and neither one long kernel nor the load of a model can be stopped. Every
    # answer is sent and nothing is left to write, so the process can end here.
    os._exit(0)

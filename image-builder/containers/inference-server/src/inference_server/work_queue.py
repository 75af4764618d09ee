"""Admission, waiting and running: a bounded number of inferences in threads, a bounded number waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from inference_server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Result = TypeVar("_Result")


def stopping_error() -> RequestError:
    """Return the answer to requests that come, or are still unfinished, when the server stops."""
    return RequestError("the server is stopping; try again", status=503, kind="stopping", retry_after=1)


class WorkQueue:
    """Lets ``concurrency`` pieces of work run and ``queue_size`` more wait; refuses the next one at once.

    A request is admitted before its body is read, so that the memory of unread bodies is bounded too. All methods
    belong to the event loop's thread.
    """

    def __init__(self, concurrency: int, queue_size: int) -> None:
        self.concurrency = concurrency
        self.queue_size = queue_size
        self._executor = ThreadPoolExecutor(concurrency, thread_name_prefix="inference")
        self._free = concurrency
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._admitted: set[asyncio.Timeout] = set()
        self._stopping = False
        self._aborted = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """How many threads are at work, those of abandoned requests included."""
        return self.concurrency - self._free

    @property
    def waiting(self) -> int:
        """How many admitted requests are not running: their body is coming in or they wait for a thread."""
        return max(0, len(self._admitted) - self.running)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    @property
    def aborted(self) -> bool:
        """Whether `abort` was called: deadlines that expire now do so because the server stops."""
        return self._aborted

    @contextmanager
    def admit(self, deadline: asyncio.Timeout) -> Iterator[None]:
        """Hold a place in the queue; `abort` will make ``deadline`` expire.

        Raises:
            RequestError: 503, the queue is full or the server is stopping.
        """
        if self._stopping:
            raise stopping_error()
        if len(self._admitted) >= self.concurrency + self.queue_size:
            raise RequestError(
                f"the queue is full: {self.concurrency} running and {self.queue_size} waiting; try again",
                status=503,
                kind="queue_full",
                retry_after=1,
            )
        self._admitted.add(deadline)
        self._idle.clear()
        try:
            yield
        finally:
            self._admitted.discard(deadline)
            if not self._admitted:
                self._idle.set()

    async def run(self, work: Callable[[], _Result], cancel: Callable[[], None]) -> _Result:
        """Run ``work`` in a thread when one is free; call ``cancel`` when this coroutine is cancelled meanwhile."""
        await self._acquire()
        try:
            job = self._executor.submit(work)
        except BaseException:
            self._release()
            raise
        try:
            result = await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            # The thread cannot be killed: its place is free again only when the work notices the cancellation.
            cancel()
            self._release_after(job)
            raise
        except BaseException:
            self._release()
            raise
        self._release()
        return result

    async def stop(self, timeout: float) -> bool:
        """Admit nothing more and wait; return whether every admitted request was finished in ``timeout`` seconds."""
        self._stopping = True
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def abort(self) -> int:
        """End every admitted request with a 503, at once; return how many there were."""
        self._aborted = True
        loop = asyncio.get_running_loop()
        for deadline in self._admitted:
            deadline.reschedule(loop.time())
        return len(self._admitted)

    def close(self) -> None:
        """Give the threads back; those still at work end with the process."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _acquire(self) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._release()  # the turn came in the same moment: pass it on
            elif turn in self._waiting:  # `_release` may already have dropped it
                self._waiting.remove(turn)
            raise

    def _release(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _release_after(self, job: Future[_Result]) -> None:
        loop = asyncio.get_running_loop()

        def finished(_job: Future[_Result]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._release)

        job.add_done_callback(finished)

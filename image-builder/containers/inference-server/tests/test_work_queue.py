"""The queue under cancellations at every possible moment."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import pytest
from inference_server.errors import RequestError
from inference_server.work_queue import WorkQueue


async def _one(queue: WorkQueue, generator: random.Random) -> str:
    """Run something short with a deadline that is about as short."""
    try:
        async with asyncio.timeout(generator.choice([0.0005, 0.002, 0.005, 0.05])) as deadline:
            with queue.admit(deadline):
                seconds = generator.choice([0, 0.0005, 0.001, 0.003])
                await queue.run(lambda: time.sleep(seconds), lambda: None)
    except TimeoutError:
        return "timeout"
    except RequestError as error:
        return error.kind
    return "done"


@pytest.mark.parametrize("seed", range(5))
def test_deadlines_at_any_moment_lose_no_place_and_break_nothing(seed: int) -> None:
    generator = random.Random(seed)  # noqa: S311 - a test

    async def storm() -> Counter[str]:
        queue = WorkQueue(2, 30)
        outcomes: Counter[str] = Counter()
        for _ in range(20):
            outcomes.update(await asyncio.gather(*(_one(queue, generator) for _ in range(40))))
        async with asyncio.timeout(5):
            while queue.running:
                await asyncio.sleep(0.001)
        assert queue.waiting == 0
        # Both places are still there: two jobs that wait for each other can only end side by side.
        meeting = asyncio.Barrier(2)
        loop = asyncio.get_running_loop()

        def meet() -> None:
            asyncio.run_coroutine_threadsafe(meeting.wait(), loop).result(5)

        await asyncio.gather(*(queue.run(meet, lambda: None) for _ in range(2)))
        queue.close()
        return outcomes

    outcomes = asyncio.run(storm())
    assert set(outcomes) == {"done", "timeout", "queue_full"}

"""The loop that delivers alerts: it ends when it is told to, whatever happens at that moment."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from services.alerts.delivery import Attempt
from services.alerts.handlers import Sending
from services.alerts.worker import Deliverer

TURNS_MAX = 100


class NothingDue:
    """A queue in which nothing waits."""

    def __init__(self) -> None:
        self.asked = 0

    async def claim(self, limit: int) -> Sequence[Attempt]:
        self.asked += 1
        return ()


@pytest.mark.parametrize("turns", range(4))
async def test_it_ends_when_it_is_cancelled_just_as_it_is_woken(turns: int) -> None:
    """An attempt ends and SIGTERM comes in one turn of the event loop, or a few turns apart."""
    queue: Any = NothingDue()
    deliverer = Deliverer(queue, None, Sending(deadline_s=1.0, pauses_s=()), concurrency_max=1)  # type: ignore[arg-type]
    running = asyncio.create_task(deliverer.run())
    for _ in range(TURNS_MAX):
        await asyncio.sleep(0)
    assert queue.asked == 1  # and it waits to be woken
    deliverer.wake()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    for _ in range(TURNS_MAX):
        await asyncio.sleep(0)
    ended, asked = running.cancelled(), queue.asked
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert ended, f"it went on after it was cancelled, and asked {asked} times"

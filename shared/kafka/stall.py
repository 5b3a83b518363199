"""Whether a stream worker stands still: there is something to do, the broker answers, and nothing is confirmed.

A restart helps a worker that hangs. It does not help when the broker is away, so what waits counts only as far as the
broker has just told it. One partition that stands still among others that move is for the lag exporter's alarm: a
worker that empties a large partition first may leave another alone for long, and is healthy.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.logs import get_log

log = get_log()

STALLED_AFTER_S = 120.0
LOOK_PAUSE_MAX_S = 5.0
LOOK_ANSWER_S = 5.0

Offsets = Mapping[TopicPartition, int]


@dataclass(frozen=True)
class Look:
    """What this worker has confirmed (the next offset), and how many records wait unconfirmed, by its partitions."""

    confirmed: Offsets = field(default_factory=dict)
    waiting: Offsets = field(default_factory=dict)


@dataclass(frozen=True)
class Standstill:
    """The last look, and for how long something had waited by then with nothing being confirmed."""

    looked_at: float = -math.inf
    look: Look | None = None
    lasts_s: float = 0.0


def after_look(before: Standstill, look: Look | None, *, at: float, step_max_s: float) -> Standstill:
    """The standstill as of this look; `look` is None when the broker did not answer.

    Time counts from a look that saw something wait to the next one that does, and only up to `step_max_s`: a process
    that was paused has not stood still.
    """
    now = Standstill(looked_at=at, look=look)
    if look is None or before.look is None or not look.waiting or not before.look.waiting:
        return now
    if any(before.look.confirmed.get(part) != offset for part, offset in look.confirmed.items()):
        return now
    return replace(now, lasts_s=before.lasts_s + min(at - before.looked_at, step_max_s))


class Stall:
    """Watches one loop, and tells liveness when it has stood still for too long."""

    def __init__(self, after_s: float = STALLED_AFTER_S) -> None:
        self._after_s = after_s
        self._pause_s = min(LOOK_PAUSE_MAX_S, after_s / 10)
        self._standstill = Standstill()

    def problem(self) -> str | None:
        """Why the process must be restarted; None when it works, has nothing to do, or cannot know."""
        still = self._standstill
        if still.look is None or still.lasts_s < self._after_s:
            return None
        waiting = still.look.waiting
        return (
            f"{sum(waiting.values())} records wait in {len(waiting)} partitions of this worker,"
            f" and nothing was confirmed for {still.lasts_s:.0f} s"
        )

    @asynccontextmanager
    async def watching(self, look: Callable[[], Awaitable[Look]]) -> AsyncIterator[None]:
        """Look from time to time, as long as the block lasts."""
        task = asyncio.create_task(self._watch(look))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._standstill = Standstill()

    async def _watch(self, look: Callable[[], Awaitable[Look]]) -> None:
        while True:
            seen = await _answered(look)
            self._standstill = after_look(
                self._standstill, seen, at=time.monotonic(), step_max_s=self._pause_s + LOOK_ANSWER_S
            )
            await asyncio.sleep(self._pause_s)


async def ask_ends(consumer: AIOKafkaConsumer, besides: Collection[TopicPartition]) -> tuple[Offsets, Offsets]:
    """Where this consumer's partitions and those `besides` end, and its positions; KafkaError when nobody answers.

    The broker answers behind the fetch that is under way, so what the worker has done by then is asked afterwards.
    """
    partitions = {*consumer.assignment(), *besides}
    ends: Offsets = await consumer.end_offsets(list(partitions)) if partitions else {}
    return ends, {part: await consumer.position(part) for part in consumer.assignment() if part in ends}


def seen(confirmed: Offsets, ends: Offsets, positions: Offsets, in_hand: Offsets) -> Look:
    """What a look sees. `in_hand`: the first unconfirmed offset of each partition of which something was taken.

    Where nothing was taken, the position says how far the worker is, also over the gaps that compaction leaves.
    """
    reached = {**positions, **in_hand}
    waiting = {part: end - reached[part] for part, end in ends.items() if part in reached and reached[part] < end}
    return Look(dict(confirmed), waiting)


async def _answered(look: Callable[[], Awaitable[Look]]) -> Look | None:
    try:
        async with asyncio.timeout(LOOK_ANSWER_S):
            return await look()
    except (KafkaError, TimeoutError):
        return None
    except Exception as error:
        # Looking must never be what ends a worker.
        log.warning("stall_unknown", error=f"{type(error).__name__}: {error}")
        return None

"""Liveness of the two loops on a real broker: one that hangs is found, one that works or has nothing to do is not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from shared.kafka import Record
from shared.kafka.consuming import GroupConsumer, HandleBatch
from shared.kafka.faust_worker import consume_with_faust
from shared.kafka.stall import Stall
from tests.conftest import Parts
from tests.integration.test_faust_worker import committed, make_topic, numbered, produce, until

AFTER_S = 1.0
LONGER_S = 3 * AFTER_S

Loop = Callable[[Parts, str, HandleBatch, Stall], "asyncio.Task[None]"]


def with_faust(stack: Parts, topic: str, handle: HandleBatch, stall: Stall) -> "asyncio.Task[None]":
    return asyncio.create_task(
        consume_with_faust(
            stack.kafka_settings, group=f"group-{topic}", topic=topic, handle_batch=handle, batch_max=5, stall=stall
        )
    )


def with_group_consumer(stack: Parts, topic: str, handle: HandleBatch, stall: Stall) -> "asyncio.Task[None]":
    consumer = GroupConsumer(stack.kafka_settings, group=f"group-{topic}", topics=[topic], batch_max=5, stall=stall)
    return asyncio.create_task(consumer.run(handle))


both_loops = pytest.mark.parametrize("loop", [with_faust, with_group_consumer])


@asynccontextmanager
async def running(loop: Loop, stack: Parts, topic: str, handle: HandleBatch) -> AsyncIterator[Stall]:
    stall = Stall(AFTER_S)
    task = loop(stack, topic, handle, stall)
    try:
        yield stall
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert stall.problem() is None


async def stays_alive(stall: Stall) -> None:
    until_s = asyncio.get_running_loop().time() + LONGER_S
    while asyncio.get_running_loop().time() < until_s:
        assert stall.problem() is None
        await asyncio.sleep(0.05)


@both_loops
async def test_a_handler_that_hangs_is_found_and_one_that_goes_on_is_alive_again(stack: Parts, loop: Loop) -> None:
    topic = await make_topic(stack.kafka_settings)
    await produce(stack.kafka_settings, topic, numbered(0, 30))
    released = asyncio.Event()
    handled: list[Record] = []

    async def hangs(records: Sequence[Record]) -> None:
        await released.wait()
        handled.extend(records)

    async with running(loop, stack, topic, hangs) as stall:
        await until(lambda: stall.problem() is not None)
        assert "30 records wait in 2 partitions of this worker, and nothing was confirmed for " in str(stall.problem())
        released.set()
        await until(lambda: stall.problem() is None and len(handled) == 30)


@both_loops
async def test_a_slow_handler_that_confirms_now_and_then_is_alive(stack: Parts, loop: Loop) -> None:
    topic = await make_topic(stack.kafka_settings)
    await produce(stack.kafka_settings, topic, numbered(0, 200))
    handled: list[Record] = []

    async def works(records: Sequence[Record]) -> None:
        await asyncio.sleep(0.1)
        handled.extend(records)

    # Longer than Faust's second between two confirmations.
    stall = Stall(2.5)
    task = loop(stack, topic, works, stall)
    try:
        await until(lambda: bool(handled))
        await stays_alive(stall)
        assert 0 < len(handled) < 200
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@both_loops
async def test_without_lag_a_worker_is_alive_however_long_nothing_comes(stack: Parts, loop: Loop) -> None:
    topic = await make_topic(stack.kafka_settings)
    await produce(stack.kafka_settings, topic, numbered(0, 12))
    handled: list[Record] = []

    async def works(records: Sequence[Record]) -> None:
        handled.extend(records)

    async with running(loop, stack, topic, works) as stall:
        await until(lambda: len(handled) == 12)
        while sum((await committed(stack.kafka_settings, topic)).values()) < 12:
            await asyncio.sleep(0.1)
        # Faust confirms once a second, later than the limit of this test.
        await until(lambda: stall.problem() is None)
        await stays_alive(stall)


@both_loops
async def test_a_worker_whose_partitions_went_to_another_is_alive(stack: Parts, loop: Loop) -> None:
    topic = await make_topic(stack.kafka_settings)
    hanging = asyncio.Event()

    async def hangs(records: Sequence[Record]) -> None:
        await hanging.wait()

    # Three members for two partitions: one has nothing to do, though its topic has lag.
    async with (
        running(loop, stack, topic, hangs) as first,
        running(loop, stack, topic, hangs) as second,
        running(loop, stack, topic, hangs) as third,
    ):
        await asyncio.sleep(6)
        await produce(stack.kafka_settings, topic, numbered(0, 30))
        stalls = (first, second, third)
        await until(lambda: sum(each.problem() is not None for each in stalls) == 2)
        assert sum(each.problem() is None for each in stalls) == 1
        hanging.set()

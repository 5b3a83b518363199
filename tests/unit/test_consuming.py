"""The consumer loop against a broker that assigns at the worst moments."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from shared.kafka import Record, consuming
from shared.kafka.consuming import GroupConsumer
from shared.settings import KafkaSettings

PART = TopicPartition("usage.v1", 1)


def message(offset: int) -> Any:
    return ConsumerRecord(PART.topic, PART.partition, offset, int(time.time() * 1000), 0, b"k", b"v", None, 1, 1, ())


class AssignsWhileFetching:
    """A consumer of aiokafka whose partition is assigned to it while records of it are on their way."""

    def __init__(self, **_options: Any) -> None:
        self.committed: list[Mapping[TopicPartition, int]] = []
        self.fetches = 0
        self.ours = True
        self.done = asyncio.Event()

    def subscribe(self, _topics: Sequence[str], *, listener: Any) -> None:
        self.listener = listener

    def assignment(self) -> set[TopicPartition]:
        return {PART} if self.ours else set()

    def seek(self, _part: TopicPartition, offset: int) -> None:
        self.sought = offset

    async def start(self) -> None:
        await self.listener.on_partitions_assigned([PART])

    async def stop(self) -> None:
        pass

    async def end_offsets(self, parts: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, 313)

    async def position(self, _part: TopicPartition) -> int:
        return 313

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not offsets:
            raise ValueError(offsets)  # as aiokafka does
        self.committed.append(offsets)

    async def getmany(self, **_options: Any) -> dict[TopicPartition, list[Any]]:
        self.fetches += 1
        if self.fetches == 1:
            await self.listener.on_partitions_assigned([PART])
            return {PART: [message(offset) for offset in range(self.sought, 313)]}
        if self.fetches > 2:
            self.done.set()
            await asyncio.sleep(60)
        return {}


class RevokedBeforeFetching(AssignsWhileFetching):
    """Its partition goes to another worker before it has fetched anything, and comes back with nothing new."""

    async def start(self) -> None:
        await super().start()
        self.ours = False

    async def getmany(self, **_options: Any) -> dict[TopicPartition, list[Any]]:
        self.fetches += 1
        if self.fetches == 1:
            self.ours = True
            await self.listener.on_partitions_assigned([PART])
        elif self.fetches > 2:
            self.done.set()
            await asyncio.sleep(60)
        return {}


@pytest.mark.parametrize(
    ("kind", "confirmed"),
    [(AssignsWhileFetching, [309, 313]), (RevokedBeforeFetching, [309])],
    ids=["assigned", "revoked"],
)
async def test_what_is_confirmed_is_what_is_stored_and_never_goes_back(
    monkeypatch: pytest.MonkeyPatch, kind: type[AssignsWhileFetching], confirmed: list[int]
) -> None:
    made: list[AssignsWhileFetching] = []

    def make(**options: Any) -> AssignsWhileFetching:
        made.append(kind(**options))
        return made[-1]

    monkeypatch.setattr(consuming, "AIOKafkaConsumer", make)
    next_offset = 309

    async def stored(_parts: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return {("usage.v1", 1): next_offset}

    async def handle(records: Sequence[Record]) -> None:
        nonlocal next_offset
        next_offset = records[-1].offset + 1

    consumer = GroupConsumer(KafkaSettings(kafka="x:1"), group="royalty", topics=["usage.v1"], stored_offsets=stored)
    running = asyncio.create_task(consumer.run(handle))
    try:
        async with asyncio.timeout(5):
            while not made:
                await asyncio.sleep(0)
            await made[0].done.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [offsets[PART] for offsets in made[0].committed] == confirmed

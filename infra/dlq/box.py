"""The dead-letter topics themselves: read to their end, and added to."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.dlq.letters import DLQ, Folding, Kept, Letter
from shared.kafka import KafkaAddress, connection
from shared.kafka.deadletters import Resolution, resolution_headers, unpacked
from shared.kafka.producer import SteadyProducer

STALLED_S = 30.0


class LetterBox:
    """The dead letters of these source topics, within an `async with`."""

    def __init__(self, address: KafkaAddress, topics: Sequence[str], *, partitions: int) -> None:
        self._address = address
        self._parts = [TopicPartition(f"{topic}{DLQ}", number) for topic in topics for number in range(partitions)]
        self._consumer: Any = None
        self._producer: SteadyProducer | None = None

    async def __aenter__(self) -> Self:
        """Connect; KafkaError when that cannot be."""
        self._consumer = AIOKafkaConsumer(**connection(self._address), enable_auto_commit=False)
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()
        if self._producer is not None:
            await self._producer.stop()

    async def letters(self) -> list[Letter]:
        """Every letter up to now. TimeoutError when the broker stops answering."""
        missing = {part.topic for part in self._parts} - await self._consumer.topics()
        if missing:
            raise KafkaError(f"topics missing: {', '.join(sorted(missing))}; run `twintally topics apply`")
        self._consumer.assign(self._parts)
        await self._consumer.seek_to_beginning(*self._parts)
        ends = await self._consumer.end_offsets(self._parts)
        folding = Folding()
        while any([await self._consumer.position(part) < end for part, end in ends.items()]):
            async with asyncio.timeout(STALLED_S):
                while not (fetched := await self._consumer.getmany(timeout_ms=500)):
                    pass
            for messages in fetched.values():
                for message in messages:
                    folding.add(_kept(message))
        return folding.letters()

    async def value_of(self, letter: Letter) -> bytes | None:
        """The bytes of a letter, as its consumer met them. LookupError when they are kept no longer."""
        kept = letter.kept
        part = TopicPartition(kept.topic, kept.partition)
        self._consumer.assign([part])
        async with asyncio.timeout(STALLED_S):
            begins = await self._consumer.beginning_offsets([part])
            if begins[part] > kept.offset:
                raise LookupError(f"{letter.short}: its bytes are kept no longer")
            self._consumer.seek(part, kept.offset)
            message = await self._consumer.getone()
        return unpacked(message.value, kept.headers)

    async def resolve(self, letter: Letter, resolution: Resolution, *, by: str) -> None:
        """Say what became of a letter; NotSent when that is not stored."""
        self._producer = self._producer or SteadyProducer(self._address)
        headers = resolution_headers(letter.id, resolution, by=by, at=datetime.now(UTC))
        await self._producer.send(letter.kept.topic, key=letter.kept.key, value=None, headers=headers)


def _kept(message: Any) -> Kept:
    return Kept(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        at=datetime.fromtimestamp(message.timestamp / 1000, UTC),
        key=message.key,
        size=None if message.value is None else len(message.value),
        headers=dict(message.headers or ()),
    )

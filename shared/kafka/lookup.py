"""Lookup data: topics that each worker reads whole, over all partitions, without a consumer group."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.kafka.client import KafkaAddress, connection
from shared.kafka.records import Record
from shared.logs import get_log

log = get_log()

Learn = Callable[[Sequence[Record]], Awaitable[None]]


class LookupReader:
    """Reads compacted topics from their beginning and follows them for ever.

    A group would give each worker its share only. Positions move after `learn` has returned, so whoever compares
    them with end offsets knows what has been learnt, not what was fetched. `learn` sees records more than once.
    """

    def __init__(self, address: KafkaAddress, topics: Sequence[str], learn: Learn, *, batch_max: int = 500) -> None:
        self._address = address
        self._topics = tuple(topics)
        self._learn = learn
        self._batch_max = batch_max
        self._first_ends: dict[TopicPartition, int] | None = None
        self._positions: dict[TopicPartition, int] = {}

    async def run(self) -> None:
        """Read until cancelled; what `learn` raises ends it, a broker that is away does not."""
        while True:
            try:
                await self._read()
            except KafkaError as error:
                log.warning("lookup_reader_restarts", topics=self._topics, error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(1.0)

    def caught_up(self) -> bool:
        """Has everything been learnt that was there when reading began?"""
        ends = self._first_ends
        return ends is not None and all(self._positions.get(part, 0) >= end for part, end in ends.items())

    def has_learnt(self, end_offsets: Mapping[str, Mapping[int, int]]) -> bool:
        """Has everything below these offsets been learnt, for the topics that this reader reads?"""
        return all(
            self._positions.get(TopicPartition(topic, partition), 0) >= end
            for topic in self._topics
            for partition, end in end_offsets.get(topic, {}).items()
        )

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(**connection(self._address), enable_auto_commit=False, auto_offset_reset="earliest")
        try:
            await consumer.start()
            partitions = await self._partitions(consumer)
            consumer.assign(partitions)
            await self._start_from(consumer, partitions)
            if self._first_ends is None:
                self._first_ends = await consumer.end_offsets(partitions)
            while True:
                fetched = await consumer.getmany(timeout_ms=200, max_records=self._batch_max)
                records = [Record.of(message) for messages in fetched.values() for message in messages]
                if records:
                    await self._learn(records)
                for partition in partitions:
                    # Compaction leaves gaps: the position, not the last record, says how far we are.
                    self._positions[partition] = await consumer.position(partition)
        finally:
            await consumer.stop()

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        await consumer._client.set_topics(self._topics)
        found = [
            TopicPartition(topic, partition)
            for topic in self._topics
            for partition in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        if {part.topic for part in found} != set(self._topics):
            missing = sorted(set(self._topics) - {part.topic for part in found})
            log.warning("lookup_topics_missing", topics=missing, remedy="twintally topics apply")
            raise KafkaError(f"topics missing: {missing}")
        return found

    async def _start_from(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        beginnings = await consumer.beginning_offsets(list(partitions))
        for partition in partitions:
            consumer.seek(partition, max(self._positions.get(partition, 0), beginnings[partition]))

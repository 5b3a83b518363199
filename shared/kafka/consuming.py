"""The aiokafka consumer loop: take a batch, store its effect, then confirm."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, RebalanceInProgressError

from shared.kafka.client import KafkaAddress, connection
from shared.kafka.passing import PASSING_FAULTS
from shared.kafka.records import Record
from shared.kafka.spans import processing
from shared.kafka.stall import Look, Stall, ask_ends, seen
from shared.logs import get_log

log = get_log()

HandleBatch = Callable[[Sequence[Record]], Awaitable[None]]
StoredOffsets = Callable[[Sequence[tuple[str, int]]], Awaitable[Mapping[tuple[str, int], int]]]
LEFT_UNCONFIRMED = 70


class Fenced(Exception):  # noqa: N818 - another worker owns the partition now; not an error
    """Another worker has moved a stored offset: this batch was rolled back, read again from what is stored."""


class GroupConsumer:
    """A member of a consumer group that confirms only what has been stored.

    With `stored_offsets` (topic, partition -> next offset) the truth about progress lies in the database: on every
    assignment the consumer seeks there, and Kafka's own commit only feeds lag displays. It is made to agree then too:
    a process killed between the two would otherwise show lag until the partition's next record, which may never come.
    """

    def __init__(
        self,
        address: KafkaAddress,
        *,
        group: str,
        topics: Sequence[str],
        stored_offsets: StoredOffsets | None = None,
        batch_max: int = 200,
        stall: Stall | None = None,
    ) -> None:
        self._address = address
        self._group = group
        self._topics = tuple(topics)
        self._stored_offsets = stored_offsets
        self._batch_max = batch_max
        self._stall = stall or Stall()
        self._confirmed: dict[TopicPartition, int] = {}
        # The first offset of each batch that was taken and is not confirmed yet.
        self._in_hand: dict[TopicPartition, int] = {}
        # What the database says was done, and Kafka may not know.
        self._stored: dict[TopicPartition, int] = {}

    async def run(self, handle_batch: HandleBatch) -> None:
        """Consume until cancelled. When a batch can be neither stored nor dead-lettered the process leaves with 70."""
        while True:
            try:
                await self._consume(handle_batch)
            except PASSING_FAULTS as error:
                log.warning("consumer_restarts", group=self._group, error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(1.0)

    async def _consume(self, handle_batch: HandleBatch) -> None:
        consumer = AIOKafkaConsumer(
            **connection(self._address),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=10_000,
            heartbeat_interval_ms=3_000,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        consumer.subscribe(self._topics, listener=_OnAssignment(lambda parts: self._seek_to_stored(consumer, parts)))
        try:
            # Starting waits for an assignment. A consumer given up meanwhile must leave the group too, or it would go
            # on as a member that holds partitions and reads nothing.
            await consumer.start()
            async with self._stall.watching(lambda: self._look(consumer)):
                while True:
                    await self._work_next(consumer, handle_batch)
        finally:
            # Its error must not take the place of a cancellation.
            with contextlib.suppress(KafkaError):
                await consumer.stop()

    async def _look(self, consumer: AIOKafkaConsumer) -> Look:
        ends, positions = await ask_ends(consumer, self._in_hand)
        return seen(self._confirmed, ends, positions, self._in_hand)

    async def _work_next(self, consumer: AIOKafkaConsumer, handle_batch: HandleBatch) -> None:
        ours = {part: offset for part, offset in self._stored.items() if part in consumer.assignment()}
        self._stored = {}
        if ours:
            await _confirm(consumer, ours)
        fetched = await consumer.getmany(timeout_ms=500, max_records=self._batch_max)
        self._in_hand = {partition: messages[0].offset for partition, messages in fetched.items()}
        for partition, messages in fetched.items():
            await self._work(consumer, partition, [Record.of(message) for message in messages], handle_batch)
            del self._in_hand[partition]

    async def _work(
        self,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        records: Sequence[Record],
        handle_batch: HandleBatch,
    ) -> None:
        try:
            with processing(records, group=self._group):
                await handle_batch(records)
        except Fenced:
            log.warning("fenced", partition=partition.partition)
            await self._seek_to_stored(consumer, [partition])
            return
        except Exception:
            log.critical("leaving_unconfirmed", exc_info=True)
            os._exit(LEFT_UNCONFIRMED)
        # What was stored when the partition was assigned may be older than this batch, and would be confirmed after it.
        self._stored.pop(partition, None)
        done = {partition: records[-1].offset + 1}
        if await _confirm(consumer, done):
            self._confirmed |= done

    async def _seek_to_stored(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        if self._stored_offsets is None or not partitions:
            return
        stored = await self._stored_offsets([(part.topic, part.partition) for part in partitions])
        for part in partitions:
            self._stored[part] = stored.get((part.topic, part.partition), 0)
            consumer.seek(part, self._stored[part])


async def _confirm(consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> bool:
    """Tell Kafka that everything before these offsets is stored; False when it was not ours to tell any more."""
    try:
        await consumer.commit(dict(offsets))
    except (CommitFailedError, IllegalStateError, RebalanceInProgressError):
        # The partition went to another worker, which repeats the batch; twice equals once.
        log.info("commit_skipped", partitions=sorted(part.partition for part in offsets))
        return False
    return True


class _OnAssignment(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, seek: Callable[[Sequence[TopicPartition]], Awaitable[None]]) -> None:
        self._seek = seek

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Nothing: a batch in hand is stored or fenced, and not confirmed any more."""

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Go on from where the database says."""
        await self._seek(assigned)

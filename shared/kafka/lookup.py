"""Lookup data: topics that each worker reads whole, over all partitions, without a consumer group."""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.kafka.batches import Patience, work_batch
from shared.kafka.client import KafkaAddress, connection
from shared.kafka.deadletters import DeadLetters
from shared.kafka.passing import PASSING_FAULTS
from shared.kafka.records import Record
from shared.logs import get_log

log = get_log()

Learn = Callable[[Sequence[Record]], Awaitable[None]]

LOOK_PAUSE_S = 1.0
LOOK_ANSWER_S = 3.0
BEHIND_S_MAX = 10.0
REMEMBERED_MAX = 10_000
USUAL_PATIENCE = Patience()


def learning(learn: Learn, dead_letters: DeadLetters, patience: Patience = USUAL_PATIENCE) -> Learn:
    """`learn` as a reader should call it: a record that it raises for becomes a dead letter, the others are learnt."""
    once = KeptOnce(dead_letters)

    async def learnt(records: Sequence[Record]) -> None:
        await work_batch(records, learn, once, patience)

    return learnt


class KeptOnce:
    """Dead letters of a reader that repeats its batch while a part is away: a record is kept once per process."""

    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters
        self._kept: set[tuple[str, int, int]] = set()

    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        """Keep the record, unless this process has."""
        place = (record.topic, record.partition, record.offset)
        if place in self._kept:
            return
        await self._dead_letters.keep(record, error=error, attempts=attempts)
        # Forgetting costs a copy, which is the same letter.
        if len(self._kept) >= REMEMBERED_MAX:
            self._kept.clear()
        self._kept.add(place)


class LookupReader:
    """Reads compacted topics from their beginning and follows them for ever.

    A group would give each worker its share only. Positions move after `learn` has returned, so whoever compares
    them with end offsets knows what has been learnt, not what was fetched. `learn` sees records more than once; with
    `learning` around it, a record that it cannot learn becomes a dead letter.
    """

    def __init__(self, address: KafkaAddress, topics: Sequence[str], learn: Learn, *, batch_max: int = 500) -> None:
        self._address = address
        self._topics = tuple(topics)
        self._learn = learn
        self._batch_max = batch_max
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._looked_at = -math.inf
        self._learnt_until = -math.inf

    async def run(self) -> None:
        """Read until cancelled; a fault of `learn`'s own ends it, a broker or database that is away does not."""
        while True:
            try:
                await self._read()
            except PASSING_FAULTS as error:
                log.warning("lookup_reader_restarts", topics=self._topics, error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(1.0)

    def behind_s(self) -> float:
        """How long ago everything was learnt that the topics held then; infinite before the first time."""
        return time.monotonic() - self._learnt_until

    def caught_up(self, within_s: float = BEHIND_S_MAX) -> bool:
        """Has everything been learnt that the topics held `within_s` ago? Not while the broker is away for longer."""
        return self.behind_s() <= within_s

    async def until_caught_up(self) -> None:
        """Return once everything has been learnt."""
        while not self.caught_up():
            await asyncio.sleep(0.1)

    def problem(self) -> str | None:
        """Why what has been learnt may be incomplete, for readiness; None when it is whole."""
        if self.caught_up():
            return None
        return f"{', '.join(self._topics)}: not read to the end; is Kafka reachable?"

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
            while True:
                fetched = await consumer.getmany(timeout_ms=200, max_records=self._batch_max)
                records = [Record.of(message) for messages in fetched.values() for message in messages]
                if records:
                    await self._learn(records)
                for partition in partitions:
                    # Compaction leaves gaps: the position, not the last record, says how far we are.
                    self._positions[partition] = await consumer.position(partition)
                await self._hold_against_ends(consumer, partitions)
        finally:
            # Its error must not take the place of a cancellation.
            with contextlib.suppress(KafkaError):
                await consumer.stop()

    async def _hold_against_ends(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        # Newer ends are asked for when the last ones are reached: otherwise a busy topic, always a little ahead, would
        # never count as read.
        if self._has_reached_ends() and time.monotonic() - self._looked_at >= LOOK_PAUSE_S:
            await self._look(consumer, partitions)
        if self._has_reached_ends():
            self._learnt_until = self._looked_at

    def _has_reached_ends(self) -> bool:
        return all(self._positions.get(part, 0) >= end for part, end in self._ends.items())

    async def _look(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        asked_at = time.monotonic()
        # A broker that does not answer leaves the last look as it is, which grows old.
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(LOOK_ANSWER_S):
                self._ends = await consumer.end_offsets(list(partitions))
                self._looked_at = asked_at

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

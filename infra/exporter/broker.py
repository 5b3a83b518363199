"""Asks the broker how far each consumer group is, without being a member of any."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from infra.exporter.lag import Progress, Seen, reached
from shared.kafka import KafkaAddress, connection

REQUEST_MS = 5_000
# For the times of the oldest records; a partition whose last records were compacted away has none to give.
RECORDS_WITHIN_S = 2.0
# One record of each partition is enough; the broker gives at least one batch.
FETCH_BYTES = 16 * 1024


class Broker:
    """Looks with one admin client and one consumer without a group, which are made anew after a fault."""

    def __init__(self, address: KafkaAddress, groups: Mapping[str, Sequence[str]], letters: Sequence[str]) -> None:
        self._address = address
        self._groups = groups
        self._letters = tuple(letters)
        self._admin: Any = None
        self._consumer: Any = None
        self._known: list[Progress] = []

    async def look(self) -> Seen:
        """How far everything is now; KafkaError, OSError when the broker does not tell."""
        await self._connect()
        parts = await self._partitions()
        ends = await self._consumer.end_offsets(parts)
        begins = await self._consumer.beginning_offsets(parts)
        progress = []
        for group, topics in self._groups.items():
            committed = await self._admin.list_consumer_group_offsets(group)
            for part in (part for part in parts if part.topic in topics):
                told = committed[part].offset if part in committed else None
                confirmed = reached(told, begin=begins[part], end=ends[part])
                progress.append(Progress(group, part, confirmed, ends[part]))
        letters = dict.fromkeys(self._letters, 0)
        for part in (part for part in parts if part.topic in letters):
            letters[part.topic] += ends[part] - begins[part]
        return Seen(tuple(await self._with_times(progress)), letters)

    async def close(self) -> None:
        """Drop the connections; the next look makes new ones."""
        admin, consumer = self._admin, self._consumer
        self._admin = self._consumer = None
        if admin is not None:
            await admin.close()
        if consumer is not None:
            await consumer.stop()

    async def _connect(self) -> None:
        if self._consumer is not None:
            return
        self._admin = AIOKafkaAdminClient(**connection(self._address), request_timeout_ms=REQUEST_MS)
        await self._admin.start()
        self._consumer = AIOKafkaConsumer(
            **connection(self._address),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=REQUEST_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        await self._consumer.start()

    async def _partitions(self) -> list[TopicPartition]:
        wanted = [*{topic for topics in self._groups.values() for topic in topics}, *self._letters]
        told = await self._admin.describe_topics(wanted)
        missing = sorted(topic["topic"] for topic in told if topic["error_code"])
        if missing:
            raise KafkaError(f"topics missing: {', '.join(missing)}; run `twintally topics apply`")
        return [TopicPartition(topic["topic"], each["partition"]) for topic in told for each in topic["partitions"]]

    async def _with_times(self, progress: Sequence[Progress]) -> list[Progress]:
        """With the times of the oldest records; where nothing was confirmed since the last look, it is the same one."""
        known = {(each.part, each.group, each.confirmed): each.oldest_ms for each in self._known}
        timed = [replace(each, oldest_ms=known.get((each.part, each.group, each.confirmed))) for each in progress]
        unknown = {each.part: each.confirmed for each in timed if each.lag and each.oldest_ms is None}
        times = await self._times(unknown)
        self._known = [each if each.oldest_ms else replace(each, oldest_ms=times.get(each.part)) for each in timed]
        return self._known

    async def _times(self, wanted: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """The time of the first record at or behind each of these offsets, in milliseconds, where there is one."""
        found: dict[TopicPartition, int] = {}
        if not wanted:
            return found
        consumer = self._consumer
        consumer.assign(list(wanted))
        for part, offset in wanted.items():
            consumer.seek(part, offset)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECORDS_WITHIN_S):
                while left := [part for part in wanted if part not in found]:
                    fetched = await consumer.getmany(*left, timeout_ms=200)
                    found |= {part: messages[0].timestamp for part, messages in fetched.items()}
        consumer.unsubscribe()
        return found

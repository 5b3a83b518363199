"""How far the ledger has come in each partition: rows beside the ledger's own, moved in the same transactions."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from shared.database import Connection, Database, every
from shared.kafka import Record
from shared.kafka.consuming import Fenced

Partition = tuple[str, int]


class StoredOffsets:
    """The next offset per partition, moved by compare-and-set.

    A move expects the value that this process last read or wrote. Whoever was paused while its partition went to
    another worker expects what is no longer stored, and is fenced: its transaction rolls back. Two workers that both
    believe to own a partition wait for each other at the row, and one of them is fenced.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._expected: dict[Partition, int] = {}
        self._surprises: dict[Partition, tuple[int, int]] = {}

    async def read(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """What is stored for these partitions, 0 for new ones."""
        # Forgotten first: when reading fails, the next batch is fenced and leads here again.
        for partition in partitions:
            self._expected.pop(partition, None)
        topics, numbers = [topic for topic, _ in partitions], [number for _, number in partitions]
        async with self._database.transaction() as connection:
            await connection.execute(
                "insert into offsets (topic, partition, next_offset)"
                " select topic, partition, 0 from unnest(%s::text[], %s::integer[]) as new (topic, partition)"
                # In one order: two workers at a first start cannot wait for each other.
                " order by topic, partition on conflict do nothing",
                (topics, numbers),
            )
            rows = await every(
                connection,
                "select topic, partition, next_offset from offsets"
                " join unnest(%s::text[], %s::integer[]) as asked (topic, partition) using (topic, partition)",
                (topics, numbers),
            )
        found = {(row["topic"], row["partition"]): int(row["next_offset"]) for row in rows}
        self._expected.update(found)
        return found

    @asynccontextmanager
    async def moved_past(self, records: Sequence[Record]) -> AsyncIterator[Connection]:
        """A transaction that moves the offset of one partition past these records; Fenced when it cannot.

        The row is moved, and so locked, before anything else: a fenced worker does no work.
        """
        partition = (records[0].topic, records[0].partition)
        expected = self._expected_before(partition, records[0].offset)
        then = records[-1].offset + 1
        async with self._database.transaction() as connection:
            moved = await connection.execute(
                "update offsets set next_offset = %s, moved_at = clock_timestamp()"
                " where topic = %s and partition = %s and next_offset = %s",
                (then, *partition, expected),
            )
            if moved.rowcount != 1:
                raise Fenced(f"{partition}: the stored offset is no longer {expected}")
            yield connection
        # After the commit: if its outcome is unknown, the old value stays expected and the next move is fenced.
        self._expected[partition] = then

    @asynccontextmanager
    async def unmoved(self) -> AsyncIterator[Connection]:
        """A transaction that moves no offset: for what came back from the dead letters, long after its place."""
        async with self._database.transaction() as connection:
            yield connection

    def _expected_before(self, partition: Partition, first_offset: int) -> int:
        """The value to compare with, once the batch is known to begin there.

        A consumer may hand out records that it had fetched before it was told where to begin. So a batch that begins
        elsewhere is fenced, which seeks to what is stored. Only when the same surprise comes again is it real: records
        missing from the topic (compaction, transactions), or a topic made anew below the stored offset.
        """
        expected = self._expected.get(partition)
        if expected is None:
            raise Fenced(f"{partition}: what is stored has not been read")
        surprise = (expected, first_offset)
        if first_offset != expected and self._surprises.get(partition) != surprise:
            self._surprises[partition] = surprise
            raise Fenced(f"{partition}: the batch begins at {first_offset}, stored is {expected}")
        return expected

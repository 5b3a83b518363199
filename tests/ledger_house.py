"""Royalty behind judging: what judging publishes goes through workers that share partitions, into a real ledger."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.royalty.offsets import StoredOffsets
from services.royalty.store import open_first_period
from services.royalty.worker import UsageWorker
from shared.database import Database, every
from shared.kafka import Record
from shared.kafka.batches import Patience
from shared.kafka.consuming import Fenced
from tests.conftest import Parts

PARTITIONS = 2


class NoLetters:
    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        raise AssertionError(f"not expected: {error!r}") from error


class Stream:
    """usage.v1 as a relay fills it from judging's outbox: in order per key, and often more than once."""

    def __init__(self, judging: Database, prefix: str, chance: random.Random) -> None:
        self._judging = judging
        self._prefix = prefix
        self._chance = chance
        self._marked: set[int] = set()
        # Partitions that no other stream has, whatever the chance of this one.
        first = random.Random(prefix).randrange(1_000, 2**30)
        self.partitions: dict[int, list[Record]] = {first + number: [] for number in range(PARTITIONS)}

    async def relay(self, *, crashes: float = 0.3) -> None:
        """Send what waits; after a crash before the mark, what was sent last is sent again."""
        async with self._judging.transaction() as connection:
            rows = await every(
                connection,
                "select position, message_key, value from outbox"
                " where topic = 'usage.v1' and message_key like %s order by position",
                (f"{self._prefix}-%",),
            )
        waiting = [row for row in rows if row["position"] not in self._marked]
        for row in waiting:
            key, numbers = row["message_key"].encode(), sorted(self.partitions)
            number = numbers[sum(key) % PARTITIONS]
            log = self.partitions[number]
            log.append(Record("usage.v1", number, len(log), key, bytes(row["value"])))
        self._marked |= {row["position"] for row in waiting}
        if self._chance.random() < crashes:
            self._marked -= {row["position"] for row in rows[-8:]}


class Bookkeeper:
    """One royalty process that now and then believes to own each partition, like any other."""

    def __init__(self, royalty: Database, chance: random.Random) -> None:
        self._offsets = StoredOffsets(royalty)
        self._worker = UsageWorker(
            self._offsets, NoLetters(), booked=lambda: None, patience=Patience(first_pause_s=0.01)
        )
        self._chance = chance

    async def once(self, stream: Stream) -> bool:
        """Book a batch of some partition; False when that had nothing new."""
        number = self._chance.choice(sorted(stream.partitions))
        at = (await self._offsets.read([("usage.v1", number)]))["usage.v1", number]
        batch = stream.partitions[number][at : at + self._chance.randint(1, 5)]
        # Whoever waits here may find that another has booked the batch meanwhile.
        await asyncio.sleep(self._chance.random() * 0.005)
        try:
            if batch:
                await self._worker.handle(batch)
        except Fenced:
            pass
        return bool(batch)

    async def book_to_the_end(self, stream: Stream) -> None:
        """Book until every partition has nothing new for a while."""
        idle = 0
        while idle < 20:
            idle = 0 if await self.once(stream) else idle + 1


@asynccontextmanager
async def a_ledger(stack: Parts) -> AsyncIterator[Database]:
    database = Database(stack.database_for("royalty_worker"), "royalty")
    await database.open()
    try:
        await open_first_period(database, "2026-11", time_zone="UTC")
        yield database
    finally:
        await database.close()


async def balances(royalty: Database, prefix: str) -> dict[str, Counter[str]]:
    """By use, what each ledger account holds of it in the end; the prefix of the names is left out."""
    async with royalty.transaction() as connection:
        rows = await every(
            connection,
            "select use_id, ledger_account, entries.currency, sum(minor)::bigint as minor"
            " from entries join transactions using (transaction_id)"
            " where use_id like %s group by use_id, ledger_account, entries.currency having sum(minor) <> 0",
            (f"{prefix}-%",),
        )
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        account = f"{row['ledger_account']} {row['currency']}".replace(prefix, "NAME")
        found[row["use_id"].removeprefix(prefix)][account] = row["minor"]
    return dict(found)

"""The relay: takes the outbox of one service to Kafka, in order per message key."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import psycopg_pool
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from psycopg.rows import DictRow

from shared.database import Connection, Database, every, one
from shared.events import Topic, Watermark
from shared.events.topics import CLOCK
from shared.kafka import KafkaAddress, connection
from shared.kafka.producer import NotSent, SteadyProducer
from shared.logs import get_log
from shared.tracing import in_headers

log = get_log()

BATCH_MAX = 500
# A batch lies in memory, and again in the producer, until it is acknowledged.
BATCH_BYTES_MAX = 8 * 1024 * 1024
IDLE_PAUSE_S = 0.05
WATERMARK_PAUSE_S = 1.0
KEEP_SENT = "1 day"

# Live rows go first, and with each the older bulk rows of its key; what room is left goes to bulk rows. Each part reads
# an index in its order and stops at the size of a batch: what a batch costs does not grow with the backlog. A batch
# also ends with the row that fills its bytes; `waiting` counts the rows that the batch could have held without that.
UNSENT = f"""
with live as (
    select position, topic, message_key from outbox where sent_at is null and not bulk
    order by position limit {BATCH_MAX}
), of_live_keys as (
    select older.position
    from (select topic, message_key, max(position) as newest from live group by topic, message_key) as keys
    cross join lateral (
        select position from outbox
        where sent_at is null and bulk and (topic, message_key, position)
            between (keys.topic, keys.message_key, 0) and (keys.topic, keys.message_key, keys.newest)
        order by topic, message_key, position limit {BATCH_MAX}
    ) as older
), bulk as (
    select position from outbox where sent_at is null and bulk order by position limit {BATCH_MAX}
), chosen as (
    select position, min(place) as place from (
        select position, 0 as place from live
        union all select position, 0 from of_live_keys
        union all select position, 1 from bulk
    ) as candidates
    group by position order by place, position limit {BATCH_MAX}
), sized as (
    select place, position, topic, message_key, value, traceparent, count(*) over () as waiting,
        sum(octet_length(value)) over (order by place, position) - octet_length(value) as bytes_before
    from chosen cross join lateral (
        select topic, message_key, value, traceparent from outbox where outbox.position = chosen.position limit 1
    ) as row
)
select position, topic, message_key, value, traceparent, waiting from sized where bytes_before < {BATCH_BYTES_MAX}
order by place, position
"""  # noqa: S608 - constants

# Whoever lost the lock in the middle of a batch cannot know what of it came after newer events of the same keys. Their
# newest events are sent once more, so that they are the last again. What another process has sent since the batch began
# is all that can have been overtaken.
SEND_AGAIN = """
update outbox set sent_at = null where position in (
    select max(position) from outbox
    join unnest(%s::text[], %s::text[]) as doubted (topic, message_key) using (topic, message_key)
    where sent_at >= %s group by topic, message_key
)
"""

# The lock goes to another process when its holder is paused, or its machine gone: it asks something several times a
# second, and a batch is sent or given up within 16 s.
NOTICED_WHEN_GONE = (
    "set idle_session_timeout = '30s'; set tcp_keepalives_idle = 10;"
    " set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3"
)
AS_USUAL = (
    "reset enable_seqscan; reset enable_bitmapscan; reset enable_sort; reset jit; reset idle_session_timeout;"
    " reset tcp_keepalives_idle; reset tcp_keepalives_interval; reset tcp_keepalives_count"
)
WATERMARK_S_MAX = 10.0

# The planner knows the outbox as it was when last analyzed: all sent. For a sudden backlog it would gather and sort all
# of it, or look for the rows of a key among all bulk ones; any index seems good where nothing is expected. So only
# reading in order is allowed, and the rows of a key are asked for in an order that one index has. The costs of what is
# forbidden must not look like work that compiling would save.
INDEXES_IN_ORDER = "set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off; set jit = off"


class Relay:
    """Publishes a service's outbox. Of all processes of the service, the one that holds the lock relays.

    The lock lives on the connection that marks rows as sent: who has lost the lock cannot mark. Rows are chosen by
    an unsent flag, never by a remembered position, because transactions commit out of order. A row is marked after
    its acknowledgement: a crash in between sends it again, and every key ends with its highest revision again. Before
    the lock is given back the producer is closed; when it was lost, the newest events of the batch's keys go again.
    """

    def __init__(
        self, database: Database, address: KafkaAddress, *, topics: tuple[Topic, ...], watermark: bool = False
    ) -> None:
        self._database = database
        self._address = address
        self._topics = tuple(topic.name for topic in topics)
        self._watermark = watermark
        self._producer = SteadyProducer(address)
        self._woken = asyncio.Event()
        self._doubted: set[tuple[str, str]] = set()
        self._doubted_since: datetime | None = None

    def wake(self) -> None:
        """Look at the outbox now; for whoever has just committed an event."""
        self._woken.set()

    async def run(self) -> None:
        """Relay until cancelled; faults of the database or the broker are waited out."""
        while True:
            try:
                async with self._database.dedicated() as connection:
                    await self._send_doubted_again(connection)
                    await self._hold_lock_and_relay(connection)
            except (psycopg.Error, psycopg_pool.PoolTimeout, NotSent, KafkaError, TimeoutError) as error:
                log.warning("relay_restarts", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.5)

    async def _send_doubted_again(self, connection: Connection) -> None:
        if not self._doubted:
            return
        topics, keys = zip(*sorted(self._doubted), strict=True)
        again = await connection.execute(SEND_AGAIN, (list(topics), list(keys), self._doubted_since))
        log.info("relay_sends_again", keys=len(keys), events=again.rowcount)
        self._certain()

    def _certain(self) -> None:
        self._doubted.clear()
        self._doubted_since = None

    async def _hold_lock_and_relay(self, connection: Connection) -> None:
        while not await _try_lock(connection, self._database.schema):
            await asyncio.sleep(1.0)
        log.info("relay_holds_lock", schema=self._database.schema)
        ticker = _Ticker(WATERMARK_PAUSE_S)
        ends: AIOKafkaConsumer | None = None
        await connection.execute(f"{NOTICED_WHEN_GONE}; {INDEXES_IN_ORDER}")
        try:
            while True:
                began = await _now(connection)
                batch = await self._send_batch(connection, began)
                # Nothing left behind: all that was committed before `began` is in Kafka now.
                if batch.was_the_last and ticker.due():
                    ends = ends or await self._ends_reader()
                    async with asyncio.timeout(WATERMARK_S_MAX):
                        await self._tell_watermark(ends, began)
                    await connection.execute("delete from outbox where sent_at < now() - %s::interval", (KEEP_SENT,))
                if batch.sent == 0:
                    await self._rest()
        finally:
            # What it still sends must have arrived before another process sends newer events.
            await self._producer.stop()
            # A connection may be dead and not know it: its error must not take the place of a cancellation.
            with contextlib.suppress(psycopg.Error):
                if not connection.closed:
                    await connection.execute(AS_USUAL)
            with contextlib.suppress(KafkaError):
                if ends is not None:
                    await ends.stop()

    async def _send_batch(self, connection: Connection, began: datetime) -> "_Batch":
        rows = await every(connection, UNSENT)
        if not rows:
            return _Batch(sent=0, waiting=0)
        self._doubted.update((row["topic"], row["message_key"]) for row in rows)
        self._doubted_since = self._doubted_since or began
        await self._producer.send_all([_record(row) for row in rows])
        await connection.execute(
            "update outbox set sent_at = clock_timestamp() where position = any(%s)",
            ([row["position"] for row in rows],),
        )
        self._certain()
        return _Batch(sent=len(rows), waiting=rows[0]["waiting"])

    async def _tell_watermark(self, ends: AIOKafkaConsumer, committed_before: datetime) -> None:
        if not self._watermark:
            return
        offsets: dict[str, dict[int, int]] = {}
        for topic in self._topics:
            partitions = [TopicPartition(topic, number) for number in await self._producer.partitions_of(topic)]
            found = await ends.end_offsets(partitions)
            offsets[topic] = {part.partition: end for part, end in found.items()}
        event = Watermark(
            service=self._database.schema,
            occurred_at=committed_before,
            revision=int(committed_before.timestamp() * 1000),
            end_offsets=offsets,
        )
        await self._producer.send(CLOCK.name, key=event.message_key().encode(), value=event.encode())

    async def _ends_reader(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(**connection(self._address), enable_auto_commit=False)
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _rest(self) -> None:
        self._woken.clear()
        try:
            async with asyncio.timeout(IDLE_PAUSE_S):
                await self._woken.wait()
        except TimeoutError:
            pass


@dataclass(frozen=True)
class _Batch:
    """How many rows were sent, of how many that the batch could have held."""

    sent: int
    waiting: int

    @property
    def was_the_last(self) -> bool:
        return self.sent == self.waiting < BATCH_MAX


class _Ticker:
    """Says at most once per period that it is time."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._next = 0.0

    def due(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now < self._next:
            return False
        self._next = now + self._period_s
        return True


def _record(row: DictRow) -> tuple[str, bytes, bytes, Any]:
    return row["topic"], row["message_key"].encode(), bytes(row["value"]), in_headers(row["traceparent"])


async def _try_lock(connection: Connection, schema: str) -> bool:
    row = await one(connection, "select pg_try_advisory_lock(hashtextextended(%s, 0)) as held", (f"relay:{schema}",))
    return bool(row and row["held"])


async def _now(connection: Connection) -> datetime:
    row = await one(connection, "select clock_timestamp() as now")
    if row is None:
        raise psycopg.InterfaceError("the database did not tell the time")
    moment: datetime = row["now"]
    return moment

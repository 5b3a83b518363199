"""Store and publish are one, on real PostgreSQL and Kafka."""

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from shared.database import Connection, Database, every
from shared.events import ConsentState, Watermark, read_event
from shared.events.topics import CLOCK, CONSENTS
from shared.kafka import Record
from shared.outbox import Relay, ensure_state
from shared.outbox.relay import BATCH_BYTES_MAX, BATCH_MAX, INDEXES_IN_ORDER, UNSENT
from shared.outbox.store import EventTooLarge
from tests.builders import NOON, a_consent, a_sighting, a_use_seen, a_version_seen
from tests.conftest import Parts
from tests.streams import read_all


@pytest.fixture
async def database(stack: Parts) -> AsyncIterator[Database]:
    database = Database(stack.database_for("matching_worker"), "matching")
    await database.open()
    yield database
    await database.close()


@asynccontextmanager
async def relaying(stack: Parts, database: Database) -> AsyncIterator[Relay]:
    relay = Relay(database, stack.kafka_settings, topics=(CONSENTS,), watermark=True)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def tell(connection: Connection, consent_id: str, **changes: Any) -> ConsentState | None:
    return await ensure_state(
        connection, lambda revision: a_consent(revision=revision, consent_id=consent_id, **changes)
    )


async def until_sent(database: Database) -> None:
    async with asyncio.timeout(30):
        while True:
            async with database.transaction() as connection:
                if not await every(connection, "select from outbox where sent_at is null"):
                    return
            await asyncio.sleep(0.05)


async def records_of(stack: Parts, consent_id: str) -> list[Record]:
    return [
        record for record in await read_all(stack.kafka_settings, CONSENTS.name) if record.key == consent_id.encode()
    ]


async def test_a_revision_grows_when_the_content_changed_and_only_then(database: Database) -> None:
    name = uuid.uuid4().hex
    async with database.transaction() as connection:
        first = await tell(connection, name)
        again = await tell(connection, name)
        withdrawn = await tell(connection, name, withdrawn_at=NOON)
    assert (first and first.revision, again, withdrawn and withdrawn.revision) == (1, None, 2)


async def test_what_was_rolled_back_is_never_published(stack: Parts, database: Database) -> None:
    kept, undone = uuid.uuid4().hex, uuid.uuid4().hex
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with database.transaction() as connection:
            await tell(connection, undone)
            raise ZeroDivisionError
    async with database.transaction() as connection:
        await tell(connection, kept)
    async with relaying(stack, database):
        await until_sent(database)
    assert len(await records_of(stack, kept)) == 1
    assert await records_of(stack, undone) == []


async def test_a_key_ends_with_its_highest_revision_though_transactions_commit_out_of_order(
    stack: Parts, database: Database
) -> None:
    names = [uuid.uuid4().hex for _ in range(5)]

    async def change(name: str, number: int) -> None:
        await asyncio.sleep(0.01 * (number % 3))
        async with database.transaction() as connection:
            await tell(connection, name, talent_id=f"t{number}")

    async with relaying(stack, database):
        await asyncio.gather(*(change(name, number) for name in names for number in range(8)))
        await until_sent(database)
    for name in names:
        revisions = [read_event(CONSENTS.name, r.key, r.value).revision for r in await records_of(stack, name)]  # type: ignore[attr-defined]
        assert revisions == sorted(revisions)
        assert revisions[-1] == 8


async def test_an_event_that_no_topic_would_take_is_refused_before_it_blocks_the_others(database: Database) -> None:
    name = uuid.uuid4().hex
    huge = a_use_seen(use_id=name, versions=(a_version_seen(sightings=(a_sighting(),) * 12_000),))
    with pytest.raises(EventTooLarge, match=name):
        async with database.transaction() as connection:
            await ensure_state(connection, lambda revision: huge.model_copy(update={"revision": revision}))
    async with database.transaction() as connection:
        assert await every(connection, "select from outbox where message_key = %s", (name,)) == []


async def test_two_relays_take_turns_and_the_second_goes_on_when_the_first_is_gone(
    stack: Parts, database: Database
) -> None:
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    async with relaying(stack, database):
        async with relaying(stack, database):
            async with database.transaction() as connection:
                await tell(connection, first)
            await until_sent(database)
        async with database.transaction() as connection:
            await tell(connection, second)
        await until_sent(database)
    for name in (first, second):
        assert len(await records_of(stack, name)) == 1


async def test_a_live_row_overtakes_bulk_ones_but_not_those_of_its_own_key(stack: Parts, database: Database) -> None:
    bulky, lively = f"bulk-{uuid.uuid4().hex}", f"live-{uuid.uuid4().hex}"
    async with database.transaction() as connection:
        await ensure_state(connection, lambda revision: a_consent(revision=revision, consent_id=bulky), bulk=True)
        await ensure_state(connection, lambda revision: a_consent(revision=revision, consent_id=lively), bulk=True)
        await tell(connection, lively, withdrawn_at=NOON)
    async with database.transaction() as connection:
        rows = await every(connection, UNSENT)
    assert [row["message_key"] for row in rows] == [lively, lively, bulky]
    async with relaying(stack, database):
        await until_sent(database)


Row = tuple[str, bool]  # the message key, and whether it is bulk


async def insert(connection: Connection, rows: Sequence[Row], *, value_bytes: int = 10) -> None:
    await connection.execute(
        "insert into outbox (topic, message_key, event_id, value, bulk)"
        " select 'consents.v1', message_key, gen_random_uuid(), convert_to(repeat('x', %s), 'UTF8'), bulk"
        " from unnest(%s::text[], %s::boolean[]) with ordinality as new (message_key, bulk, place) order by place",
        (value_bytes, [key for key, _ in rows], [bulk for _, bulk in rows]),
    )


@asynccontextmanager
async def undone(database: Database) -> AsyncIterator[Connection]:
    """A transaction whose rows no relay ever sees."""
    async with database.transaction() as connection:
        yield connection
        raise psycopg.Rollback


def scanned(plan: dict[str, Any]) -> Iterator[float]:
    """Rows that each scan of the table has read, also those that a filter threw away."""
    if plan.get("Relation Name") == "outbox":
        yield (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    for part in plan.get("Plans", ()):
        yield from scanned(part)


@pytest.fixture
async def owner(stack: Parts) -> AsyncIterator[Database]:
    """Who alone may analyze the table."""
    database = Database(SecretStr(stack.database), "matching")
    await database.open()
    yield database
    await database.close()


# None: never analyzed. Else so many rows, all sent, as on most days.
@pytest.mark.parametrize("analyzed", [None, 0, 3_000])
async def test_what_a_batch_reads_does_not_grow_with_the_backlog(owner: Database, analyzed: int | None) -> None:
    backlog = [(f"key-{number}", True) for number in range(20_000)]
    async with undone(owner) as connection:
        if analyzed is not None:
            await insert(connection, [(f"key-{number}", number % 2 == 0) for number in range(analyzed)])
            await connection.execute("update outbox set sent_at = now()")
            await connection.execute("analyze outbox")
        await insert(connection, [*backlog, *((f"key-{number}", False) for number in range(0, 20_000, 100))])
        await connection.execute(INDEXES_IN_ORDER)
        row = (await every(connection, f"explain (analyze, format json) {UNSENT}"))[0]["QUERY PLAN"]
        plan = row if isinstance(row, list) else json.loads(row)
        rows = await every(connection, UNSENT)
    assert [len(rows), rows[0]["message_key"]] == [BATCH_MAX, "key-0"]
    assert sum(scanned(plan[0]["Plan"])) < 6 * BATCH_MAX


@pytest.mark.parametrize("seed", range(4))
async def test_every_key_is_sent_in_order_and_bulk_rows_that_no_live_one_needs_go_last(
    database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    keys = [f"key-{number}" for number in range(chance.choice((5, 200)))]
    live = chance.choice((0.05, 0.5))
    waiting = [(chance.choice(keys), chance.random() > live) for _ in range(1_800)]
    sent: list[int] = []
    async with undone(database) as connection:
        await insert(connection, waiting)
        bulk = {
            row["position"]: (row["message_key"], row["bulk"])
            for row in await every(connection, "select position, message_key, bulk from outbox where sent_at is null")
        }
        while rows := await every(connection, UNSENT):
            positions = [row["position"] for row in rows]
            assert len(positions) == rows[0]["waiting"] == min(BATCH_MAX, len(bulk) - len(sent))
            last_live = {key: position for position, (key, is_bulk) in sorted(bulk.items()) if not is_bulk}
            can_wait = [bulk[each][1] and last_live.get(bulk[each][0], 0) < each for each in positions]
            assert can_wait == sorted(can_wait)
            sent += positions
            await connection.execute("update outbox set sent_at = now() where position = any(%s)", (positions,))
    assert sorted(sent) == sorted(bulk)
    for key in keys:
        of_key = [position for position in sent if bulk[position][0] == key]
        assert of_key == sorted(of_key)


async def test_a_batch_ends_where_its_bytes_do_and_says_that_more_waits(database: Database) -> None:
    async with undone(database) as connection:
        await insert(
            connection, [(f"key-{number}", False) for number in range(7)], value_bytes=BATCH_BYTES_MAX // 3 + 1
        )
        rows = await every(connection, UNSENT)
        assert [(row["message_key"], row["waiting"]) for row in rows] == [(f"key-{number}", 7) for number in range(3)]
        await connection.execute("update outbox set sent_at = now()")
        await insert(connection, [("alone", True)], value_bytes=2 * BATCH_BYTES_MAX)
        assert [row["message_key"] for row in await every(connection, UNSENT)] == ["alone"]


async def test_a_watermark_promises_only_what_is_in_kafka(stack: Parts, database: Database) -> None:
    name = uuid.uuid4().hex
    async with relaying(stack, database):
        async with database.transaction() as connection:
            await tell(connection, name)
        await until_sent(database)
        await asyncio.sleep(2.5)
    marks = [
        read_event(CLOCK.name, record.key, record.value) for record in await read_all(stack.kafka_settings, CLOCK.name)
    ]
    last = max((mark for mark in marks if isinstance(mark, Watermark)), key=lambda mark: mark.revision)
    [record] = await records_of(stack, name)
    assert last.end_offsets[CONSENTS.name][record.partition] > record.offset
    assert len(last.end_offsets[CONSENTS.name]) == 12


async def test_who_lost_the_lock_in_a_batch_sends_the_newest_events_once_more(stack: Parts, database: Database) -> None:
    """Its batch arrives after what the next holder has sent: the key must still end with its highest revision."""
    name = uuid.uuid4().hex
    async with database.transaction() as connection:
        await tell(connection, name, talent_id="t1")
    sleeper = Relay(database, stack.kafka_settings, topics=(CONSENTS,))
    send_all, slept = sleeper._producer.send_all, asyncio.Event()

    async def sleep_then_send(records: Any) -> None:
        if not slept.is_set():
            await end_session_of_holder(database)
            async with database.transaction() as connection:
                await tell(connection, name, talent_id="t2")
            async with relaying(stack, database):
                await until_sent(database)
            slept.set()
        await send_all(records)

    sleeper._producer.send_all = sleep_then_send  # type: ignore[method-assign]
    task = asyncio.create_task(sleeper.run())
    await asyncio.wait_for(slept.wait(), 60)
    async with asyncio.timeout(60):
        while (revisions := await revisions_of(stack, name))[-1] != 2 or len(revisions) < 4:
            await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert revisions == [1, 2, 1, 2]


async def revisions_of(stack: Parts, name: str) -> list[int]:
    found = [read_event(CONSENTS.name, record.key, record.value) for record in await records_of(stack, name)]
    return [state.revision for state in found if isinstance(state, ConsentState)]


async def end_session_of_holder(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted"
            " and ((classid::bigint << 32) | objid::bigint) = hashtextextended(%s, 0)",
            (f"relay:{database.schema}",),
        )


async def test_a_relay_ends_when_it_is_told_to_though_its_connection_died_unnoticed(
    stack: Parts, database: Database
) -> None:
    async with relaying(stack, database):
        await until_sent(database)
        await asyncio.sleep(0.3)
        await end_session_of_holder(database)
    # `relaying` waits for its end.

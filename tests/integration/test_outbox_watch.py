"""What is seen of an outbox from the database, whatever the relay does."""

import json
import math
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from shared.database import Connection, Database, every
from shared.metrics import OutboxGauges
from shared.outbox.watch import BY_INDEX, COUNTED_MAX, OUTBOX, OutboxWatch
from tests.conftest import Parts
from tests.integration.test_outbox import scanned, undone

SCHEMA = "alerts"


@pytest.fixture
async def database(stack: Parts) -> AsyncIterator[Database]:
    database = Database(stack.database_for(f"{SCHEMA}_worker"), SCHEMA)
    await database.open()
    async with database.transaction() as connection:
        await connection.execute("delete from outbox")
    yield database
    await database.close()


async def store(connection: Connection, count: int, *, bulk: bool = False, age_s: float = 0) -> None:
    await connection.execute(
        "insert into outbox (topic, message_key, event_id, value, bulk, stored_at)"
        " select 'cases.v1', 'key-' || number, gen_random_uuid(), 'x', %s, now() - make_interval(secs => %s)"
        " from generate_series(1, %s) as number",
        (bulk, age_s, count),
    )


async def test_without_a_relay_the_oldest_event_grows_old_and_all_are_counted(database: Database) -> None:
    watch = OutboxWatch(database)
    assert math.isnan(watch.oldest_unsent_s)
    await watch.look()
    assert (watch.oldest_unsent_s, watch.unsent) == (0, 0)
    async with database.transaction() as connection:
        await store(connection, 2, bulk=True, age_s=100)
        await store(connection, 3, age_s=20)
    await watch.look()
    assert 100 <= watch.oldest_unsent_s < 110
    assert watch.unsent == 5
    async with database.transaction() as connection:
        await connection.execute("update outbox set sent_at = now() where bulk")
    await watch.look()
    assert 20 <= watch.oldest_unsent_s < 30
    assert watch.unsent == 3
    assert watch.relay() is None


async def test_a_process_that_holds_the_lock_and_sends_nothing_hides_nothing(database: Database) -> None:
    watch = OutboxWatch(database)
    async with database.transaction() as connection:
        await store(connection, 1, age_s=50)
    async with database.dedicated() as stuck:
        await stuck.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (f"relay:{SCHEMA}",))
        await watch.look()
    assert "an event waits for 5" in (watch.relay() or "")
    assert "its relay runs" in (watch.relay() or "")
    assert 50 <= watch.oldest_unsent_s < 60
    assert watch.unsent == 1


async def test_what_a_look_reads_does_not_grow_with_the_backlog(database: Database) -> None:
    async with undone(database) as connection:
        await store(connection, 3 * COUNTED_MAX)
        await store(connection, 3 * COUNTED_MAX, bulk=True)
        await connection.execute(BY_INDEX)
        [row] = await every(connection, f"explain (analyze, format json) {OUTBOX}", (f"relay:{SCHEMA}",))
        plan = row["QUERY PLAN"] if isinstance(row["QUERY PLAN"], list) else json.loads(row["QUERY PLAN"])
        [seen] = await every(connection, OUTBOX, (f"relay:{SCHEMA}",))
    assert seen["unsent"] == 2 * COUNTED_MAX
    assert sum(scanned(plan[0]["Plan"])) == 2 * COUNTED_MAX + 3


async def test_the_gauges_show_it_and_nothing_while_the_database_is_away(stack: Parts, database: Database) -> None:
    gauges = OutboxGauges("shown")
    watch = OutboxWatch(database)
    gauges.follow(watch)
    async with database.transaction() as connection:
        await store(connection, 4, age_s=30)
    await watch.look()
    assert REGISTRY.get_sample_value("twintally_shown_outbox_unsent") == 4
    assert 30 <= (REGISTRY.get_sample_value("twintally_shown_outbox_oldest_unsent_seconds") or 0) < 40
    closed = OutboxWatch(Database(stack.database_for(f"{SCHEMA}_worker"), SCHEMA))
    gauges.follow(closed)
    await closed.look()
    assert math.isnan(REGISTRY.get_sample_value("twintally_shown_outbox_unsent") or 0)
    for gauge in (gauges._oldest_s, gauges._unsent):
        REGISTRY.unregister(gauge)

"""Store and publish are one, on real PostgreSQL and Kafka."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.database import Connection, Database, every
from shared.events import ConsentState, Watermark, read_event
from shared.events.topics import CLOCK, CONSENTS
from shared.kafka import Record
from shared.outbox import Relay, ensure_state
from shared.outbox.store import EventTooLarge
from tests.builders import NOON, a_consent, a_sighting, a_use_seen, a_version_seen
from tests.conftest import Parts
from tests.integration.test_kafka_clients import read_all


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
    from shared.outbox.relay import UNSENT

    async with database.transaction() as connection:
        rows = await every(connection, UNSENT)
    assert [row["message_key"] for row in rows] == [lively, lively, bulky]
    async with relaying(stack, database):
        await until_sent(database)


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

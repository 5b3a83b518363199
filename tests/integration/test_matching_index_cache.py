"""A restart with a saved index: nothing is built again, and references.v1 has the last word."""

import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.matching.index_cache import FILE, IndexCache
from services.matching.recognition import ReferenceIndex
from services.matching.references import LiveReferences
from shared.database import Database
from shared.events import encoded_bytes
from shared.kafka import Record
from tests.builders import a_reference
from tests.conftest import Parts
from tests.integration.test_matching_store import a_fingerprint


@pytest.fixture
async def database(stack: Parts) -> AsyncIterator[Database]:
    database = Database(stack.database_for("matching_worker"), "matching")
    await database.open()
    yield database
    await database.close()


class Worker:
    """A process, from its start on."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.index = ReferenceIndex()
        self.built: list[str] = []
        add_all = self.index.add_all

        def counted(registrations) -> None:
            several = list(registrations)
            self.built += [one.reference_id for one in several]
            add_all(several)

        self.index.add_all = counted  # type: ignore[method-assign]
        self.cache = IndexCache(self.index, str(folder))
        self.cache.load()
        self.references = LiveReferences(self.index, database, ThreadPoolExecutor(1), cache=self.cache)

    async def reads(self, *records: Record) -> None:
        """The topic whole, in batches of one."""
        await self.references.begin()
        for record in records:
            await self.references.learn([record])
        await self.references.until_whole(_at_once)


async def _at_once() -> None:
    return


def a_record(name: str, revision: int = 1, status: str = "active") -> Record:
    state = a_reference(
        reference_id=name, revision=revision, status=status, fingerprint=encoded_bytes(a_fingerprint().to_bytes())
    )
    return Record("references.v1", 0, revision, name.encode(), state.encode())


@pytest.fixture
def names() -> list[str]:
    return [f"{uuid.uuid4()}-{letter}" for letter in "abc"]


async def test_after_a_restart_only_what_changed_is_built_and_what_is_gone_is_found_no_more(database, names, tmp_path):
    first = Worker(database, tmp_path)
    await first.reads(*map(a_record, names))
    assert first.built == names
    first.cache.save()
    second = Worker(database, tmp_path)
    assert len(second.index) == 3
    await second.reads(a_record(names[0]), a_record(names[1], revision=2))
    assert second.built == [names[1]]
    assert sorted(second.index.reference_ids()) == sorted(names[:2])
    second.cache.save()
    third = Worker(database, tmp_path)
    await third.reads(a_record(names[0]), a_record(names[1], revision=2))
    assert third.built == []
    assert len(third.index) == 2


async def test_withdrawals_and_tombstones_reach_a_loaded_index(database, names, tmp_path):
    first = Worker(database, tmp_path)
    await first.reads(*map(a_record, names))
    first.cache.save()
    second = Worker(database, tmp_path)
    tombstone = Record("references.v1", 0, 9, names[1].encode(), None)
    await second.reads(*map(a_record, names), a_record(names[0], revision=2, status="withdrawn"), tombstone)
    assert second.index.reference_ids() == [names[2]]


async def test_a_damaged_file_is_left_aside_and_replaced(database, names, tmp_path):
    first = Worker(database, tmp_path)
    await first.reads(a_record(names[0]))
    first.cache.save()
    (tmp_path / FILE).write_bytes(b"something else")
    second = Worker(database, tmp_path)
    await second.reads(a_record(names[0]))
    assert second.built == [names[0]]
    second.cache.save()
    assert len(Worker(database, tmp_path).index) == 1


async def test_what_the_schema_does_not_know_is_learnt_anew(database, names, tmp_path):
    first = Worker(database, tmp_path)
    await first.reads(a_record(names[0]))
    first.cache.save()
    async with database.transaction() as connection:
        await connection.execute("delete from reference_owners where reference_id = %s", (names[0],))
    second = Worker(database, tmp_path)
    await second.reads(a_record(names[0]))
    assert second.built == [names[0]]

"""Evidence of late matches on real PostgreSQL: every source is asked, nothing of ours is held against an image."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from obstore.store import MemoryStore

from services.matching.domain import PostKey
from services.matching.evidence_store import PAGE, SOURCES_MAX, EvidenceStore
from services.matching.hosts import FAILURES_MAX, Hosts
from services.matching.late_evidence import GIVEN_UP_DAYS, LateEvidence
from services.matching.late_store import LateStore
from services.matching.media import ItemAt, Searched
from services.matching.store import MatchingStore
from shared.database import Database, every
from shared.events import MediaItem
from shared.ids import digest_of
from shared.objects import Evidence, StoreAway, Uploads
from shared.safe_http import Fetched, Refused, Unreachable
from tests.builders import a_post, a_published
from tests.conftest import Parts


class Web:
    """Stands for image hosts: what lies at an address, or what asking for it raises; 404 anywhere else."""

    def __init__(self) -> None:
        self.shown: dict[str, bytes | Exception] = {}
        self.asked: list[str] = []

    async def get(self, url: str, *, deadline_s: float, bytes_max: int) -> Fetched:
        self.asked.append(url)
        found = self.shown.get(url)
        if isinstance(found, Exception):
            raise found
        return Fetched(404, "", b"") if found is None else Fetched(200, "image/jpeg", found)


class House:
    """An image of its own that was recognised late, and what gets its evidence."""

    def __init__(self, database: Database) -> None:
        self.database, self.web = database, Web()
        self.missing, self.evidence = EvidenceStore(database), Evidence(MemoryStore())
        self.hosts = Hosts()
        self.getting = self.another(self.evidence)
        self.name = uuid.uuid4().hex
        self.image, self.digest = self.name.encode(), digest_of(self.name.encode())

    def another(self, evidence: Any, uploads: Any = None) -> LateEvidence:
        return LateEvidence(
            self.missing,
            self.web,  # type: ignore[arg-type]
            uploads or Uploads(MemoryStore()),
            evidence,
            hosts=self.hosts,
            fetch_s=5.0,
            attempts_max=2,
        )

    async def published(
        self, sources: int, *, image: bytes | None = None, host: str = "", uploaded: bool = False
    ) -> list[str]:
        """Publish the image in so many posts, each at an address and host of its own; returns the addresses."""
        store = MatchingStore(self.database, attempts_max=3)
        digest, urls = digest_of(image or self.image), []
        for number in range(sources):
            url = f"https://{host or f'{self.name}-{number}.example'}/{digest[-8:]}-{number}.jpg"
            item = MediaItem(upload_sha256="0" * 64) if uploaded else MediaItem(url=url)
            fact = a_published(post_id=f"{self.name}-{digest[-8:]}-{number}", post=a_post(media=(item,)))
            key = PostKey.of(fact)
            async with store.posts([key]) as transaction:
                await transaction.add_facts([fact])
                await transaction.add_outcome(ItemAt(str(fact.event_id()), 0), key, url, Searched(digest, ()))
            urls.append(url)
        await self.rows("insert into missing_evidence (media_digest) values (%s) returning 1", digest)
        return urls

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        async with self.database.transaction() as connection:
            return await every(connection, query, arguments)

    async def row(self, digest: str = "") -> Any:
        rows = await self.rows("select * from missing_evidence where media_digest = %s", digest or self.digest)
        return rows[0] if rows else None


@pytest.fixture
async def house(stack: Parts) -> AsyncIterator[House]:
    database = Database(stack.database_for("matching_worker"), "matching")
    await database.open()
    async with database.transaction() as connection:
        await connection.execute("delete from missing_evidence")
    yield House(database)
    await database.close()


async def test_every_source_is_asked_before_an_image_is_given_up(house: House) -> None:
    """And no attempt asks more of them than its share, nor one twice before all were asked."""
    urls = await house.published(3 * SOURCES_MAX + 2)
    while (await house.row())["gave_up"] is None:
        before = len(house.web.asked)
        await house.getting.get(house.digest)
        assert len(house.web.asked) - before <= SOURCES_MAX
        assert (await house.row())["attempts"] < 10
    assert sorted(house.web.asked[: len(urls)]) == sorted(urls)


async def test_the_last_of_many_sources_gives_the_image(house: House) -> None:
    urls = await house.published(3 * SOURCES_MAX)
    for number in range(3):
        if number == 2:
            [*_, source] = await house.missing.sources(house.digest)
            house.web.shown[str(source.media.url)] = house.image
        await house.getting.get(house.digest)
    assert await house.evidence.read(house.digest) == house.image
    assert sorted(house.web.asked) == sorted(urls)
    assert await house.row() is None


async def test_few_sources_are_asked_as_often_as_attempts_are_given(house: House) -> None:
    [url] = await house.published(1)
    for _ in range(2):
        assert (await house.row())["gave_up"] is None
        await house.getting.get(house.digest)
    assert (await house.row())["gave_up"] == "ValueError: the host answered 404"
    assert house.web.asked == [url, url]


async def test_a_reason_that_no_text_can_hold_spends_its_attempt(house: House) -> None:
    [url] = await house.published(1)
    house.web.shown = {url: ValueError("a name with \0 and \ud800")}
    for _ in range(2):
        await house.getting.get(house.digest)
    assert (await house.row())["gave_up"] == "ValueError: a name with  and ?"


class Away:
    """A store that does not answer."""

    async def has(self, digest: str) -> bool:
        raise StoreAway("the store is away")

    async def read(self, platform: str, sha256: str) -> bytes:
        raise StoreAway("the store is away")


async def test_an_outage_of_our_own_parts_is_no_attempt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.published(1, uploaded=True)
    for away in (house.another(Away()), house.another(house.evidence, Away())) * 3:
        assert await away.work_one_claim() is False
        await house.rows("update missing_evidence set leased_until = null returning 1")
    assert house.web.asked == []
    assert (await house.row())["attempts"] == 0

    async def no_sources(digest: str) -> Sequence[Any]:
        raise ConnectionError("the database is away")

    monkeypatch.setattr(house.missing, "sources", no_sources)
    assert await house.getting.work_one_claim() is False
    assert (await house.row())["attempts"] == 0


async def test_a_host_that_is_left_alone_is_not_asked_and_no_attempt_is_spent(house: House) -> None:
    """The limits are those of the stream: what it learnt of a host holds here too."""
    [url] = await house.published(1)
    for _ in range(FAILURES_MAX):
        with contextlib.suppress(Unreachable):
            async with house.hosts.visit(url):
                raise Unreachable("too slow")
    await house.getting.get(house.digest)
    row = await house.row()
    assert (house.web.asked, row["attempts"], row["gave_up"], row["leased_until"]) == ([], 0, None, None)


async def test_what_we_refuse_does_not_make_a_host_rest(house: House) -> None:
    urls = await house.published(FAILURES_MAX, host=f"{house.name}.example")
    house.web.shown = dict.fromkeys(urls, Refused("too large"))
    await house.getting.get(house.digest)
    async with house.hosts.visit(urls[0]):
        pass
    assert len(house.web.asked) == FAILURES_MAX


async def test_an_image_that_provokes_what_nobody_expects_keeps_the_others_from_nothing(house: House) -> None:
    [url] = await house.published(1)
    other = b"other" + house.image
    [good] = await house.published(1, image=other)
    house.web.shown = {url: RuntimeError("nobody expects this"), good: other}
    with running(house.getting):
        async with asyncio.timeout(10):
            while await house.row(digest_of(other)) is not None:
                await asyncio.sleep(0.05)
    assert await house.evidence.read(digest_of(other)) == other
    row = await house.row()
    assert (row["attempts"], row["gave_up"]) == (1, None)
    await house.getting.get(house.digest)
    assert (await house.row())["gave_up"] == "RuntimeError: nobody expects this"


async def test_a_fault_of_one_row_ends_neither_the_loop_nor_its_retries(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of a source this time: of what is kept about the image."""
    await house.published(1)
    other = b"other" + house.image
    [good] = await house.published(1, image=other)
    house.web.shown = {good: other}
    sources = house.missing.sources

    async def faulty(digest: str) -> Any:
        if digest == house.digest:
            raise RuntimeError("a row that nobody expects")
        return await sources(digest)

    monkeypatch.setattr(house.missing, "sources", faulty)
    with running(house.getting) as task:
        async with asyncio.timeout(10):
            while await house.row(digest_of(other)) is not None or (await house.row())["attempts"] == 0:
                await asyncio.sleep(0.05)
        assert not task.done()
    await house.getting.get(house.digest)
    assert (await house.row())["gave_up"] == "RuntimeError: a row that nobody expects"


async def test_what_was_given_up_is_done_with_when_its_evidence_is_there(house: House) -> None:
    """As when the image is published again, fetched, and kept by the stream."""
    await house.published(1)
    assert await house.missing.try_again(house.digest, "404", attempts_max=1) is False
    await house.getting.look_over()
    assert (await house.row())["gave_up"] == "404"
    await house.evidence.keep(house.image)
    with running(house.another(house.evidence)):
        async with asyncio.timeout(10):
            while await house.row() is not None:
                await asyncio.sleep(0.05)


async def test_the_many_that_were_given_up_hold_up_no_image_that_is_due(house: House) -> None:
    await house.rows(
        "insert into missing_evidence (media_digest, gave_up)"
        " select %s || number, '404' from generate_series(1, %s) number returning 1",
        f"sha256:{house.name}-",
        3 * PAGE,
    )
    looked = list[str]()

    class Slow(Evidence):
        async def has(self, digest: str) -> bool:
            looked.append(digest)
            await asyncio.sleep(0.01)
            return await super().has(digest)

    with running(house.another(Slow(MemoryStore()))):
        async with asyncio.timeout(20):
            while not looked:
                await asyncio.sleep(0)
            [url] = await house.published(1)
            while url not in house.web.asked:
                await asyncio.sleep(0.01)
            before = looked.index(house.digest)
            assert before <= PAGE
            while len(set(looked)) <= 3 * PAGE:
                await asyncio.sleep(0.05)


async def test_an_image_that_was_given_up_holds_its_picture_for_a_year_and_no_longer(house: House) -> None:
    await house.published(1)
    await house.rows(
        "insert into queries (media_digest, livemode, fingerprint, searched_at)"
        " values (%s, true, '', now() - interval '300 days') returning 1",
        house.digest,
    )
    assert await house.missing.try_again(house.digest, "404", attempts_max=1) is False
    for days, left in ((GIVEN_UP_DAYS - 1, 1), (GIVEN_UP_DAYS + 1, 0)):
        await house.rows("update missing_evidence set next_at = now() - make_interval(days => %s) returning 1", days)
        await house.getting.look_over()
        while await LateStore(house.database).purge(14):
            pass
        kept = await house.rows("select number from queries where media_digest = %s", house.digest)
        assert len(kept) == left


@contextlib.contextmanager
def running(getting: LateEvidence) -> Any:
    task = asyncio.get_running_loop().create_task(getting.run())
    try:
        yield task
    finally:
        task.cancel()

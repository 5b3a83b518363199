"""Matching's handlers on real PostgreSQL; images are looked at by a stand-in that knows addresses."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.matching.domain import PostKey, Seen
from services.matching.handlers import on_facts, on_fetched
from services.matching.media import Later, MediaOutcome, Searched, Unusable
from services.matching.metrics import SIGHTINGS
from services.matching.recognition import ReferenceIndex
from services.matching.references import LiveReferences
from services.matching.store import MatchingStore
from services.matching.views import MediaViews, PostViews
from services.matching.worker import PostsWorker
from shared.access import Caller
from shared.database import Database, every
from shared.events import MediaItem, PostFact, UseSeen, encoded_bytes, read_event
from shared.fingerprints import Fingerprint, Picture, fingerprint_reference
from shared.ids import digest_of
from shared.kafka import Record
from shared.outbox import Relay
from tests.builders import (
    IDENTITY,
    NOON,
    ONE_HOUR,
    a_deleted,
    a_measured,
    a_post,
    a_published,
    a_reference,
    an_edited,
)
from tests.conftest import Parts

TWIN, PLAIN, SLOW, BROKEN = (f"https://images.example/{name}" for name in ("twin", "plain", "slow", "broken"))
SHARED = "https://images.example/shared"


class Album:
    """Knows what the image at an address shows."""

    def __init__(self, agency_id: str) -> None:
        self.agency_id = agency_id
        self.looked: list[str] = []
        self.slow = True
        self.reference_id = f"ref-{agency_id}"
        self.digest = digest_of(agency_id.encode())

    async def look(self, url: str, *, livemode: bool, deadline_s: float) -> MediaOutcome:
        self.looked.append(url)
        await asyncio.sleep(0)
        if url == BROKEN:
            return Unusable("undecodable", "truncated")
        if url == SLOW and self.slow:
            return Later("no answer within 1 s")
        if url == PLAIN:
            return Searched(digest_of(b"plain"), ())
        if url.startswith(SHARED):
            return Searched(digest_of(url.encode()), (replace(self.seen, media_digest=digest_of(url.encode())),))
        return Searched(self.digest, (self.seen,))

    @property
    def seen(self) -> Seen:
        return Seen(
            self.reference_id, "twin-1", self.digest, 0.9, (0.0, 0.0, 9.0, 9.0), IDENTITY, "whole picture", "tf1"
        )


class House:
    """The store, an album, and a name of its own for posts."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = MatchingStore(database, attempts_max=3)
        self.name = uuid.uuid4().hex
        self.album = Album(f"agency-{self.name}")

    async def know_reference(self) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(
                "insert into reference_owners values (%s, 'twin-1', %s, 1)",
                (self.album.reference_id, self.album.agency_id),
            )

    async def learn(self, *facts: PostFact) -> None:
        await on_facts(facts, self.store, self.album, deadline_s=1.0)

    async def published(self, post_id: str) -> UseSeen | None:
        """The last state of the post's only use, without what repetition may change."""
        async with self.database.transaction() as connection:
            rows = await every(
                connection,
                "select message_key, value from outbox where topic = 'sightings.v1' order by position",
            )
        states = [read_event("sightings.v1", row["message_key"].encode(), bytes(row["value"])) for row in rows]
        mine = [state for state in states if isinstance(state, UseSeen) and state.post_id == post_id]
        assert [state.revision for state in mine] == list(range(1, len(mine) + 1))
        return mine[-1].model_copy(update={"revision": 1, "use_id": "", "post_id": ""}) if mine else None


@pytest.fixture
async def house(stack: Parts) -> AsyncIterator[House]:
    database = Database(stack.database_for("matching_worker"), "matching")
    await database.open()
    house = House(database)
    await house.know_reference()
    yield house
    await database.close()


def shows(*urls: str) -> Any:
    return a_post(media=tuple(MediaItem(url=url) for url in urls))


def a_fingerprint() -> Fingerprint:
    noise = np.kron(np.random.default_rng(0).integers(0, 255, (48, 64)), np.ones((6, 6))).astype(np.uint8)
    made = fingerprint_reference(Picture(noise, noise.shape[1], noise.shape[0], "PNG"))
    assert isinstance(made, Fingerprint)
    return made


def a_story(post_id: str) -> list[PostFact]:
    return [
        a_published(post_id=post_id, post=shows(TWIN, PLAIN, BROKEN)),
        an_edited(post_id=post_id, post=shows(PLAIN)),
        an_edited(post_id=post_id, post=shows(TWIN), occurred_at=NOON + 2 * ONE_HOUR),
        a_measured(post_id=post_id),
        a_deleted(post_id=post_id),
    ]


async def test_every_order_and_repetition_of_the_facts_ends_in_the_same_state(house: House) -> None:
    finals = set()
    for seed in range(6):
        post_id = f"{house.name}-{seed}"
        facts = a_story(post_id) * 2
        chance = random.Random(seed)
        chance.shuffle(facts)
        while facts:
            some = [facts.pop() for _ in range(min(len(facts), chance.randint(1, 4)))]
            await house.learn(*some)
        final = await house.published(post_id)
        assert final is not None
        finals.add(final.model_dump_json(exclude={"versions": {"__all__": {"event_id", "sightings"}}}))
    assert len(finals) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_a_post_told_live_and_as_backfill_is_live_whichever_copy_came_first(house: House, seed: int) -> None:
    post_id = f"{house.name}-told-{seed}"
    story = a_story(post_id)
    flags = {"backfill": True, "time_doubtful": True}
    copies = [*(fact.model_copy(update=flags) for fact in story), *story]
    chance = random.Random(seed)
    chance.shuffle(copies)
    while copies:
        await house.learn(*[copies.pop() for _ in range(min(len(copies), chance.randint(1, 4)))])
    final = await house.published(post_id)
    assert final is not None
    assert (final.backfill, final.time_doubtful) == (False, False)


async def test_workers_that_see_the_same_images_in_other_orders_do_not_wait_for_each_other(house: House) -> None:
    urls = [f"{SHARED}/{house.name}/{number}" for number in range(20)]
    posts = [
        a_published(post_id=f"{house.name}-{number}", post=shows(*random.Random(number).sample(urls, k=20)))
        for number in range(8)
    ]
    await asyncio.gather(*(house.learn(post) for post in posts))
    for post in posts:
        final = await house.published(post.post_id)
        assert final is not None
        assert len(final.versions[0].sightings) == 20


class KeptLetters:
    """Dead letters in a list."""

    def __init__(self) -> None:
        self.kept: list[Record] = []

    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        self.kept.append(record)


async def test_a_null_among_facts_is_poison_and_the_others_go_on(stack: Parts, house: House) -> None:
    letters = KeptLetters()
    relay = Relay(house.database, stack.kafka_settings, topics=())
    worker = PostsWorker(house.store, house.album, relay, letters, fetch_s=1.0)
    fact = a_published(post_id=house.name, post=shows(TWIN))
    null = Record("posts.v1", 0, 0, b"instagram:p1", None)
    await worker.handle_batch([null, Record("posts.v1", 0, 1, fact.message_key().encode(), fact.encode())])
    assert letters.kept == [null]
    assert await house.published(house.name) is not None


async def test_a_reference_is_gone_with_its_tombstone(house: House) -> None:
    index = ReferenceIndex()
    fingerprint = encoded_bytes(a_fingerprint().to_bytes())
    name = house.name
    known = [a_reference(reference_id=name, revision=revision, fingerprint=fingerprint) for revision in (1, 3)]
    records = [Record("references.v1", 0, at, name.encode(), state.encode()) for at, state in enumerate(known)]
    tombstone = Record("references.v1", 0, 9, name.encode(), None)
    with ThreadPoolExecutor(1) as executor:
        references = LiveReferences(index, house.database, executor)
        await references.learn([records[0]])
        assert len(index) == 1
        await references.learn([tombstone])
        assert len(index) == 0
        await references.learn([records[0]])
        assert len(index) == 0
        await references.learn([tombstone, records[1]])
        assert len(index) == 1


async def test_two_workers_on_one_post_at_once_end_in_the_same_state_too(house: House) -> None:
    post_id = f"{house.name}-both"
    await asyncio.gather(*(house.learn(fact) for fact in a_story(post_id) * 3))
    final = await house.published(post_id)
    assert final is not None
    assert (len(final.versions), final.started_at, final.ended_at) == (2, NOON, a_deleted().occurred_at)


async def test_an_image_that_is_known_is_not_looked_at_again(house: House) -> None:
    fact = a_published(post_id=house.name, post=shows(TWIN, PLAIN))
    await house.learn(fact)
    await house.learn(fact)
    assert sorted(house.album.looked) == sorted([TWIN, PLAIN])


async def test_a_stalled_image_waits_in_the_table_and_the_stream_goes_on(house: House) -> None:
    fact = a_published(post_id=house.name, post=shows(SLOW, PLAIN))
    await house.learn(fact)
    assert await house.published(house.name) is None
    [pending] = await pending_of(house, fact)
    house.album.slow = False
    outcome = await house.album.look(pending["url"], livemode=True, deadline_s=1)
    at = next(iter(await house.store.known_items([item_of(fact)])))
    await on_fetched(at, PostKey.of(fact), pending["url"], outcome, house.store)
    assert await house.published(house.name) is not None
    assert await pending_of(house, fact) == []


async def test_an_image_that_never_comes_is_unfetchable_with_its_reason(house: House) -> None:
    fact = a_published(post_id=house.name, post=shows(SLOW))
    await house.learn(fact)
    for _ in range(2):
        await on_fetched(item_of(fact), PostKey.of(fact), SLOW, Later("no answer within 15 s"), house.store)
    async with house.database.transaction() as connection:
        [media] = await every(connection, "select outcome, reason from media where event_id = %s", (fact.event_id(),))
    assert media == {"outcome": "unfetchable", "reason": "no answer within 15 s"}
    assert await pending_of(house, fact) == []


async def test_a_host_that_rests_spends_no_attempt(house: House) -> None:
    fact = a_published(post_id=house.name, post=shows(SLOW))
    await house.learn(fact)
    for _ in range(5):
        await on_fetched(item_of(fact), PostKey.of(fact), SLOW, Later("left alone", asked=False), house.store)
    [pending] = await pending_of(house, fact)
    assert pending["attempts"] == 1


async def test_an_image_that_was_found_after_all_replaces_its_unfetchable(house: House) -> None:
    fact = a_published(post_id=house.name, post=shows(SLOW))
    await house.learn(fact)
    gone, found = Unusable("unfetchable", "404"), Searched(house.album.digest, (house.album.seen,))
    for outcome in (gone, found, gone, Later("late")):
        await on_fetched(item_of(fact), PostKey.of(fact), SLOW, outcome, house.store)
    assert await house.published(house.name) is not None
    assert await pending_of(house, fact) == []


async def test_a_stored_fact_that_no_longer_reads_does_not_condemn_the_others(house: House) -> None:
    await house.learn(a_published(post_id=house.name, post=shows(TWIN)))
    async with house.database.transaction() as connection:
        await connection.execute(
            "insert into facts (event_id, platform, post_id, livemode, value) values (%s, 'instagram', %s, true, %s)",
            (uuid.uuid4(), house.name, b"no event"),
        )
    await house.learn(a_deleted(post_id=house.name))
    final = await house.published(house.name)
    assert final is not None
    assert final.ended_at == a_deleted().occurred_at


async def test_two_claims_never_take_the_same_fetch(house: House) -> None:
    facts = [a_published(post_id=f"{house.name}-{number}", post=shows(SLOW)) for number in range(6)]
    await house.learn(*facts)
    async with house.database.transaction() as connection:
        await connection.execute("update pending_fetches set next_at = now()")
    claims = await asyncio.gather(*(house.store.claim(lease_s=60, most=4) for _ in range(3)))
    taken = [pending.at for claim in claims for pending in claim]
    assert len(taken) == len(set(taken)) >= 6


async def test_what_waits_is_as_old_as_its_first_try_however_often_it_was_tried_since(house: House) -> None:
    fact = a_published(post_id=house.name, post=shows(SLOW))
    await house.learn(fact)
    async with house.database.transaction() as connection:
        await connection.execute(
            "update pending_fetches set waits_since = now() - interval '1 hour' where event_id = %s", (fact.event_id(),)
        )
    await on_fetched(item_of(fact), PostKey.of(fact), SLOW, Later("no answer", asked=False), house.store)
    waiting = await house.store.waiting()
    assert waiting.count >= 1
    assert waiting.oldest_s >= 3_600


async def test_a_sighting_counts_once_however_often_it_is_stored(house: House) -> None:
    before = SIGHTINGS._value.get()
    await house.learn(a_published(post_id=house.name, post=shows(TWIN)))
    await house.learn(a_published(post_id=f"{house.name}-again", post=shows(TWIN)))
    assert SIGHTINGS._value.get() - before == 1


async def test_an_agency_sees_the_images_of_its_own_twins_only(stack: Parts, house: House) -> None:
    await house.learn(a_published(post_id=house.name, post=shows(TWIN)))
    database = Database(stack.database_for("matching_api"), "matching")
    await database.open()
    views = MediaViews(database)
    own = Caller("k", "agency", house.album.agency_id, livemode=True)
    assert await views.may_see(own, house.album.digest)
    for stranger in (
        Caller("k", "agency", "another", livemode=True),
        Caller("k", "agency", None, livemode=True),
        Caller("k", "agency", house.album.agency_id, livemode=False),
        Caller("k", "talent", house.album.agency_id, livemode=True),
    ):
        assert not await views.may_see(stranger, house.album.digest)
    await database.close()


async def test_an_operator_sees_everything_of_a_post_and_nobody_else_anything(stack: Parts, house: House) -> None:
    fact = a_published(post_id=house.name, post=shows(TWIN, SLOW, BROKEN, PLAIN))
    await house.learn(fact)
    database = Database(stack.database_for("matching_api"), "matching")
    await database.open()
    views = PostViews(database)
    operator = Caller("k", "operator", None, livemode=True)
    found = await views.post(operator, fact.platform, house.name)
    assert found is not None
    assert [(told.event_id, told.stored_at is None) for told in found.facts] == [(str(fact.event_id()), False)]
    items = found.versions[0].media
    assert [item.state for item in items] == ["matched", "pending", "undecodable", "unmatched"]
    assert items[0].sightings[0].reference_id == house.album.reference_id
    assert (items[1].attempts, items[1].reason, items[1].next_try_at is None) == (1, "no answer within 1 s", False)
    assert items[2].reason == "truncated"
    [use] = found.uses
    assert (use.twin_id, use.revision, len(use.states), use.states[0].sent_at) == ("twin-1", 1, 1, None)
    assert await views.post_of(operator, fact.event_id()) == found
    assert await views.post(operator, fact.platform, "another") is None
    assert await views.post_of(operator, uuid.uuid4()) is None
    for stranger in (
        Caller("k", "operator", None, livemode=False),
        Caller("k", "agency", house.album.agency_id, livemode=True),
        Caller("k", "platform", fact.platform, livemode=True),
        Caller("k", "finance", None, livemode=True),
    ):
        assert await views.post(stranger, fact.platform, house.name) is None
        assert await views.post_of(stranger, fact.event_id()) is None
    await database.close()


async def test_a_stored_fact_that_no_longer_reads_is_named_in_its_post(stack: Parts, house: House) -> None:
    fact = a_published(post_id=house.name, post=shows(TWIN))
    await house.learn(fact)
    async with house.database.transaction() as connection:
        await connection.execute("update facts set value = 'no event' where event_id = %s", (fact.event_id(),))
    database = Database(stack.database_for("matching_api"), "matching")
    await database.open()
    found = await PostViews(database).post(Caller("k", "operator", None, livemode=True), fact.platform, house.name)
    await database.close()
    assert found is not None
    assert (found.unreadable_facts, found.facts, found.uses) == ((str(fact.event_id()),), (), ())


async def pending_of(house: House, fact: PostFact) -> Sequence[Any]:
    async with house.database.transaction() as connection:
        return await every(connection, "select * from pending_fetches where event_id = %s", (fact.event_id(),))


def item_of(fact: PostFact) -> Any:
    from services.matching.media import ItemAt

    return ItemAt(str(fact.event_id()), 0)

"""A reference that is registered before, during or after a post: the same use, whichever came first.

Two workers of one process on real PostgreSQL, each with an index of its own, which learns when the test says so.
"""

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from obstore.store import MemoryStore
from PIL import Image

from services.matching import late
from services.matching.addition_store import LOCK_SHARED, announce, keep_query
from services.matching.additions import Addition, Knowledge, Moment
from services.matching.disclosure import Disclosures
from services.matching.domain import PostKey
from services.matching.evidence_store import EvidenceStore
from services.matching.handlers import on_facts, on_fetched
from services.matching.hosts import Hosts
from services.matching.late import LateSearches
from services.matching.late_evidence import LateEvidence
from services.matching.late_store import LateStore, StoredQuery
from services.matching.looking import search_image
from services.matching.media import ItemAt, Later, MediaOutcome, Query
from services.matching.recognition import ReferenceIndex
from services.matching.references import LiveReferences
from services.matching.store import MatchingStore
from shared.database import Database, every
from shared.events import (
    Disclosure,
    MediaItem,
    PostContent,
    PostFact,
    PostPublished,
    ReferenceState,
    Unreadable,
    UseSeen,
    encoded_bytes,
    read_event,
)
from shared.fingerprints import Fingerprint, Picture, decode, fingerprint_reference
from shared.ids import digest_of, use_id
from shared.kafka import Record
from shared.objects import Evidence, Uploads
from shared.outbox import Relay
from shared.safe_http import AllowedAddresses, SafeHttp
from tests.builders import NOON, ONE_HOUR, a_post, a_published, a_reference, an_edited
from tests.conftest import Parts
from tests.system.pictures import cropped, draw, jpeg
from tests.system.world import ImageHost

FIELDS_OF_ITS_OWN = {"use_id", "post_id", "revision"}


def fingerprint_of(image: bytes) -> str:
    picture = decode(image)
    assert isinstance(picture, Picture)
    made = fingerprint_reference(picture)
    assert isinstance(made, Fingerprint)
    return encoded_bytes(made.to_bytes())


class Worker:
    """One matching worker: its own index, its share of the common tables; images come from a dictionary."""

    def __init__(
        self, database: Database, stack: Parts, executor: ThreadPoolExecutor, images: dict[str, bytes]
    ) -> None:
        self.index, self.knowledge = ReferenceIndex(), Knowledge()
        self.references = LiveReferences(self.index, database, executor, self.knowledge)
        self.store = MatchingStore(database, attempts_max=3, knowledge=self.knowledge)
        self.late = LateStore(database)
        self.searches_with = partial(
            LateSearches,
            self.late,
            self.store,
            self.index,
            self.knowledge,
            Relay(database, stack.kafka_settings, topics=()),
            executor,
            index_whole=asyncio.Event().wait,
            query_days=14,
        )
        self.searches = self.searches_with()
        self.images = images
        self.gate: asyncio.Event | None = None
        self.slow = False
        self.chance = random.Random(0)

    async def learn(self, state: ReferenceState) -> None:
        """The worker reads a record of references.v1."""
        await self.references.learn([Record("references.v1", 0, 0, state.reference_id.encode(), state.encode())])

    async def forget(self, state: ReferenceState) -> None:
        """The worker reads a tombstone."""
        await self.references.learn([Record("references.v1", 0, 0, state.reference_id.encode(), None)])

    async def start(self, *states: ReferenceState) -> None:
        """The worker reads references.v1 whole, where these lie."""
        await self.references.begin()
        for state in states:
            await self.learn(state)
        await self.whole()

    async def whole(self) -> None:
        """The worker has read references.v1 to its end."""
        await self.references.until_whole(partial(asyncio.sleep, 0))

    async def see(self, *facts: PostFact) -> None:
        """The worker takes facts of posts."""
        await on_facts(facts, self.store, self, deadline_s=1.0)

    async def look(self, url: str, *, livemode: bool, deadline_s: float) -> MediaOutcome:
        if self.slow:
            return Later("no answer within 1 s")
        outcome = search_image(self.images[url], self.index, livemode, Disclosures(), self.knowledge.now())
        await asyncio.sleep(self.chance.random() * 0.1)
        if self.gate is not None:
            await self.gate.wait()
        return outcome

    async def look_at_upload(self, platform: str, sha256: str, *, livemode: bool) -> Any:
        raise AssertionError("no uploads here")

    async def work(self) -> int:
        """Work the claims that there are; how many."""
        done = 0
        while await self.searches.work_one_claim():
            done += 1
        return done


class House:
    """Two workers, a picture, and names of its own."""

    def __init__(self, database: Database, stack: Parts, executor: ThreadPoolExecutor) -> None:
        self.database = database
        self.name = uuid.uuid4().hex
        seed = int(self.name[:6], 16)
        self.original = draw(seed, (400, 500))
        self.image = jpeg(cropped(self.original), quality=70)
        self.url = f"https://images.example/{self.name}.jpg"
        self.images = {self.url: self.image}
        self._worker = partial(Worker, database, stack, executor, self.images)
        self.workers = [self.another_worker() for _ in range(2)]
        self.fingerprint = fingerprint_of(jpeg(self.original))

    def another_worker(self) -> Worker:
        """A process that starts, with an empty index."""
        return self._worker()

    def reference(self, name: str = "ref", **changes: Any) -> ReferenceState:
        made = {"reference_id": f"{self.name}-{name}", "twin_id": f"{self.name}-twin", "fingerprint": self.fingerprint}
        return a_reference(**{**made, **changes})

    def publish(self, original: Image.Image, share: float) -> PostContent:
        """A post with an image of its own, cropped from a picture."""
        url = f"https://images.example/{self.name}-{len(self.images)}.jpg"
        self.images[url] = jpeg(cropped(original, share), quality=70)
        return a_post(media=(MediaItem(url=url),))

    def post(self, name: str = "post", **changes: Any) -> PostPublished:
        content = a_post(media=(MediaItem(url=self.url),))
        return a_published(**{"post_id": f"{self.name}-{name}", "post": content, **changes})

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        async with self.database.transaction() as connection:
            return await every(connection, query, arguments)

    async def additions(self) -> list[tuple[str, int]]:
        """References that may be found, by their names here, with their revisions."""
        rows = await self.rows(
            "select reference_id, revision from reference_owners where addition is not null order by 1"
        )
        return [(row["reference_id"].removeprefix(f"{self.name}-"), row["revision"]) for row in rows]

    async def later(self) -> None:
        """Pauses and leases of late searches are over."""
        await self.rows("update late_searches set leased_until = now() - interval '1 second' returning job")

    async def uses(self, name: str = "post") -> list[UseSeen]:
        """Each state of the post's uses, as they were published."""
        rows = await self.rows("select message_key, value from outbox where topic = 'sightings.v1' order by position")
        states = [read_event("sightings.v1", row["message_key"].encode(), bytes(row["value"])) for row in rows]
        return [use for use in states if isinstance(use, UseSeen) and use.post_id == f"{self.name}-{name}"]


@pytest.fixture
async def house(stack: Parts) -> AsyncIterator[House]:
    database = Database(stack.database_for("matching_worker"), "matching")
    await database.open()
    with ThreadPoolExecutor(2) as executor:
        async with database.transaction() as connection:
            # What earlier tests left: the indexes of these workers do not know their references.
            await connection.execute("delete from late_searches")
            await connection.execute("delete from queries")
            await connection.execute("update reference_owners set addition = null")
        yield House(database, stack, executor)
    await database.close()


def told(use: UseSeen) -> dict[str, Any]:
    """What a use says, but for the names that each test gives its posts and references."""
    whole = use.model_dump(mode="json", exclude=FIELDS_OF_ITS_OWN)
    for version in whole["versions"]:
        del version["event_id"]
        for sighting in version["sightings"]:
            del sighting["sighting_id"], sighting["media_digest"], sighting["media_url"]
    return whole


def other_file(image: bytes, comment: str) -> bytes:
    """A JPEG of the same pixels and another digest."""
    told = comment.encode()
    return image[:2] + b"\xff\xfe" + (len(told) + 2).to_bytes(2, "big") + told + image[2:]


def with_source_type(image: bytes, term: str) -> bytes:
    """A JPEG whose XMP has IPTC's DigitalSourceType."""
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/{term}"/></rdf:RDF></x:xmpmeta>'
    )
    segment = b"http://ns.adobe.com/xap/1.0/\0" + packet.encode()
    return image[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + image[2:]


async def test_a_reference_before_during_and_after_the_post_makes_the_same_use(house: House) -> None:
    """Three posts of the same pixels in three files, so that each sighting is made anew; one reference among others."""
    state, (one, other) = house.reference(), house.workers
    for worker in house.workers:
        for seed in range(3):
            print_ = fingerprint_of(jpeg(draw(seed, (400, 500))))
            await worker.learn(house.reference(f"other-{seed}", twin_id=f"twin-{seed}", fingerprint=print_))
    posts = {}
    for name in ("after", "during", "before"):
        url = f"https://images.example/{house.name}-{name}.jpg"
        image = with_source_type(other_file(house.image, name), "compositeWithTrainedAlgorithmicMedia")
        house.images[url] = image
        posts[name] = house.post(name, post=a_post(media=(MediaItem(url=url),), ai_label_shown=True))
    # After: searched and stored by one worker, the reference is worked by the other.
    await one.see(posts["after"])
    assert await house.uses("after") == []
    # During: the host is slow, and the reference comes while the fetch waits.
    one.slow = True
    await one.see(posts["during"])
    await other.learn(state)
    assert await other.work() == 1
    one.slow = False
    await one.learn(state)
    url = posts["during"].post.media[0].url
    outcome = await one.look(url, livemode=True, deadline_s=1.0)
    at = ItemAt(str(posts["during"].event_id()), 0)
    await on_fetched(at, PostKey.of(posts["during"]), url, outcome, one.store)
    # Before: every index knows it.
    await other.see(posts["before"])
    assert await one.work() + await other.work() == 0
    found = {name: await house.uses(name) for name in posts}
    [before] = found["before"]
    for name, uses in found.items():
        [use] = uses
        [sighting] = use.versions[0].sightings
        assert sighting.media_digest == digest_of(house.images[f"https://images.example/{house.name}-{name}.jpg"])
        told_by_file = Disclosure(c2pa="absent", xmp_source_type="compositeWithTrainedAlgorithmicMedia")
        assert (sighting.disclosure, sighting.platform_label) == (told_by_file, True)
        assert sighting.covered_share is not None
        assert sighting.reference_id == state.reference_id
        assert use.use_id == use_id(platform=use.platform, post_id=use.post_id, twin_id=use.twin_id, livemode=True)
        assert told(use) == told(before)
        assert use.revision == 1


async def test_a_search_that_began_before_its_index_knew_is_made_good_when_it_commits(house: House) -> None:
    """The other worker has worked the reference to its end by then, over queries without this one."""
    state, (one, other) = house.reference(), house.workers
    await one.see(house.post("earlier", post=house.publish(house.original, 0.9)))
    one.gate = asyncio.Event()
    seeing = asyncio.create_task(one.see(house.post()))
    await asyncio.sleep(0.2)
    await other.learn(state)
    assert await other.work() == 1
    # Even when its own index learns it meanwhile: the search that is under way did not know it.
    await one.learn(state)
    one.gate.set()
    await seeing
    await other.work()
    [use] = await house.uses()
    assert use.versions[0].sightings[0].reference_id == state.reference_id


async def test_a_worker_that_never_learns_a_reference_loses_nothing(house: House) -> None:
    one, other = house.workers
    await other.learn(house.reference())
    await one.see(house.post())
    assert await house.uses() == []
    assert await one.work() == 0
    assert await other.work() == 1
    assert len(await house.uses()) == 1


@pytest.mark.parametrize("seed", range(12))
async def test_no_interleaving_of_two_workers_misses_a_reference(house: House, seed: int) -> None:
    """Posts, the learning of references and late searches at once, in orders that chance chooses."""
    chance = random.Random(seed)
    originals = [house.original, draw(seed, (400, 500))]
    references = [
        house.reference(f"ref-{number}", fingerprint=fingerprint_of(jpeg(original)))
        for number, original in enumerate(originals)
    ]
    posts = [house.post(f"post-{n}", post=house.publish(originals[n % 2], 0.7 + n / 40)) for n in range(6)]

    async def later(work: Any) -> None:
        await asyncio.sleep(chance.random() * 0.3)
        await work

    tasks: list[Any] = [chance.choice(house.workers).see(post) for post in posts]
    tasks += [worker.learn(state) for worker in house.workers for state in references]
    tasks += [worker.work() for worker in house.workers * 3]
    await asyncio.gather(*map(later, tasks))
    for worker in house.workers:
        await worker.work()
    for number in range(6):
        use = (await house.uses(f"post-{number}"))[-1]
        [sighting] = use.versions[0].sightings
        assert sighting.reference_id == references[number % 2].reference_id


async def test_exactly_one_worker_works_a_reference_and_another_takes_over_when_it_dies(house: House) -> None:
    one, other = house.workers
    await one.see(house.post())
    for worker in house.workers:
        await worker.learn(house.reference())
    claimed = await one.late.claim(one.knowledge, lease_s=60, most=10)
    assert claimed is not None
    assert list(claimed.revisions) == [house.reference().reference_id]
    assert await other.work() == 0
    await house.rows("update late_searches set leased_until = now() - interval '1 second' returning job")
    assert await other.work() == 1
    assert len(await house.uses()) == 1
    # The first one lives after all: it holds nothing any more, and doing its work again changes nothing.
    assert await one.late.advance(claimed, claimed.last_number + 1, lease_s=60) is None
    assert len(await house.uses()) == 1


async def test_an_addition_waits_for_outcomes_that_have_read_the_additions(house: House) -> None:
    """So its late search sees them; a worker that reads what is known already waits for nobody."""
    one, other = house.workers
    async with house.database.transaction() as connection:
        await connection.execute(LOCK_SHARED)
        learning = asyncio.create_task(other.learn(house.reference()))
        await asyncio.sleep(0.3)
        assert not learning.done()
    await learning
    async with house.database.transaction() as connection:
        await connection.execute(LOCK_SHARED)
        await asyncio.wait_for(one.learn(house.reference()), 5)


async def test_a_worker_that_starts_makes_no_search_of_what_was_worked(house: House, stack: Parts) -> None:
    one, other = house.workers
    await one.see(house.post())
    await one.learn(house.reference())
    assert await one.work() == 1
    await other.learn(house.reference())
    assert await house.rows("select job from late_searches") == []
    await other.learn(house.reference(revision=2))
    assert len(await house.rows("select job from late_searches")) == 1
    await one.learn(house.reference(revision=2))
    assert len(await house.rows("select job from late_searches")) == 1


async def test_what_no_worker_knows_holds_up_nothing(house: House) -> None:
    one, other = house.workers
    await one.see(house.post())
    await house.rows(
        "insert into late_searches (reference_id, revision, livemode, next_number, last_number)"
        " select 'unreadable', 1, true, number, number from generate_series(1, 1500) number returning 1"
    )
    await other.learn(house.reference())
    assert await other.work() == 1
    assert len(await house.uses()) == 1


async def test_workers_that_learn_a_revision_at_the_same_moment_make_one_search_of_it(house: House) -> None:
    one, _ = house.workers
    await one.see(house.post())
    for revision in range(1, 9):
        await asyncio.gather(*(worker.learn(house.reference(revision=revision)) for worker in house.workers))
        assert await house.rows("select revision from late_searches") == [{"revision": revision}]


async def test_a_withdrawn_reference_finds_nothing_later(house: House) -> None:
    one, other = house.workers
    await one.see(house.post())
    await other.learn(house.reference())
    withdrawn = house.reference(revision=2, status="withdrawn", fingerprint="")
    await one.learn(withdrawn)
    assert await other.work() == 0
    await other.learn(withdrawn)
    await one.see(house.post("next"))
    assert await one.work() + await other.work() == 0
    assert await house.uses() == await house.uses("next") == []


async def test_an_old_withdrawal_that_a_starting_worker_reads_takes_no_newer_search_away(house: House) -> None:
    one, other = house.workers
    await one.see(house.post())
    await one.learn(house.reference(revision=3))
    await other.learn(house.reference(revision=2, status="withdrawn", fingerprint=""))
    await other.learn(house.reference(revision=3))
    assert await other.work() == 1
    assert len(await house.uses()) == 1


async def test_a_sandbox_reference_finds_no_live_post_and_the_reverse(house: House) -> None:
    one, other = house.workers
    await one.see(house.post("live"), house.post("sandbox", livemode=False))
    await other.learn(house.reference("sandbox", livemode=False))
    await other.work()
    assert await house.uses("live") == []
    [use] = await house.uses("sandbox")
    assert not use.livemode
    await other.learn(house.reference("live"))
    await other.work()
    assert len(await house.uses("live")) == 1
    assert len(await house.uses("sandbox")) == 1


async def test_every_version_and_post_with_the_image_gets_its_use(house: House) -> None:
    one, other = house.workers
    posts = [house.post(f"many-{number}") for number in range(60)]
    edited = an_edited(post_id=posts[0].post_id, post=a_post(media=(MediaItem(url=house.url),)))
    await one.see(*posts[:30])
    await one.see(*posts[30:], edited)
    await other.learn(house.reference())
    assert await other.work() == 1
    [first] = await house.uses("many-0")
    assert [version.shown_from for version in first.versions] == [NOON, NOON + ONE_HOUR]
    for number in range(1, 60):
        assert len(await house.uses(f"many-{number}")) == 1
    states = await house.rows("select distinct outcome from media where post_id like %s", f"{house.name}-many-%")
    assert states == [{"outcome": "matched"}]


async def test_queries_are_dropped_after_their_days_and_all_with_none(house: House) -> None:
    one, _ = house.workers
    await one.see(house.post())
    digest = digest_of(house.image)
    stored = "select number from queries where media_digest = %s"
    assert len(await house.rows(stored, digest)) == 1
    await one.late.purge(14)
    assert len(await house.rows(stored, digest)) == 1
    await house.rows(
        "update queries set searched_at = now() - interval '14 days' where media_digest = %s returning 1", digest
    )
    while await one.late.purge(14):
        pass
    assert await house.rows(stored, digest) == []
    await one.see(house.post("again"))
    while await one.late.purge(0):
        pass
    assert await house.rows(stored, digest) == []
    await one.learn(house.reference())
    assert await one.work() == 0


async def test_the_image_of_a_late_match_becomes_evidence_when_it_is_still_there(house: House) -> None:
    one, other = house.workers
    digest, missing, evidence = digest_of(house.image), EvidenceStore(house.database), Evidence(MemoryStore())
    with ImageHost.serving() as host:
        url = host.show("late.jpg", house.image)
        house.images[url] = house.image
        await one.see(house.post(post=a_post(media=(MediaItem(url=url),))))
        await other.learn(house.reference())
        await other.work()
        http = SafeHttp(AllowedAddresses.parse(host.address))
        getting = LateEvidence(
            missing, http, Uploads(MemoryStore()), evidence, hosts=Hosts(), fetch_s=5.0, attempts_max=2
        )
        host.show("late.jpg", b"another image")
        await getting.get(digest)
        assert not await evidence.has(digest)
        host.show("late.jpg", house.image)
        await getting.get(digest)
        await http.aclose()
    assert await evidence.read(digest) == house.image
    assert await house.rows("select * from missing_evidence where media_digest = %s", digest) == []


async def test_the_picture_of_a_late_match_whose_image_is_gone_is_not_purged(house: House) -> None:
    one, other = house.workers
    digest, missing = digest_of(house.image), EvidenceStore(house.database)
    await one.see(house.post())
    await other.learn(house.reference())
    await other.work()
    assert digest in await missing.claim(lease_s=60, most=1000)
    assert await missing.try_again(digest, "the host answered 404", attempts_max=1) is False
    assert digest not in await missing.claim(lease_s=60, most=1000)
    while await one.late.purge(0):
        pass
    assert len(await house.rows("select number from queries where media_digest = %s", digest)) == 1
    assert len(await house.uses()) == 1


async def test_a_reference_withdrawn_while_its_matches_are_stored_accuses_no_further_post(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "POSTS_AT_ONCE", 1)
    state, (one, other) = house.reference(), house.workers
    for name in ("first", "second"):
        await one.see(house.post(name))
    await other.learn(state)
    stored = late.on_late_match

    async def withdraw_after(*arguments: Any) -> int:
        published = await stored(*arguments)
        await one.learn(state.model_copy(update={"revision": state.revision + 1, "status": "withdrawn"}))
        return published

    monkeypatch.setattr(late, "on_late_match", withdraw_after)
    await other.work()
    assert sorted([len(await house.uses("first")), len(await house.uses("second"))]) == [0, 1]


@pytest.fixture
def additions_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many additions each look at them has read."""
    counts: list[int] = []
    lacked = Knowledge.lacked

    def counted(knowledge: Knowledge, additions: Sequence[Addition], moment: Moment) -> list[Addition]:
        counts.append(len(additions))
        return lacked(knowledge, additions, moment)

    monkeypatch.setattr(Knowledge, "lacked", counted)
    return counts


async def test_after_a_start_no_image_reads_the_additions_from_before(house: House, additions_read: list[int]) -> None:
    states = [house.reference(f"old-{number}") for number in range(5)]
    one, other = house.workers
    for state in states:
        await one.learn(state)
    await other.start(*states)
    additions_read.clear()
    await asyncio.gather(*(other.see(house.post(f"post-{number}")) for number in range(3)))
    assert additions_read == [0, 0, 0]
    assert len(await house.uses("post-0")) == 1


async def test_an_addition_that_a_worker_never_learns_is_all_that_its_images_read_again(
    house: House, additions_read: list[int]
) -> None:
    one, other = house.workers
    await one.learn(house.reference("unknown"))
    for number in range(5):
        for worker in house.workers:
            await worker.learn(house.reference(f"known-{number}"))
    await other.see(house.post("first"))
    additions_read.clear()
    await other.see(house.post("second"))
    assert additions_read == [1]


async def test_a_reference_that_nobody_can_read_any_more_costs_one_row_and_loses_nothing(house: House) -> None:
    one, other = house.workers
    state = house.reference()
    await one.learn(state)
    unreadable = Record("references.v1", 0, 0, state.reference_id.encode(), b"{}")
    await other.references.begin()
    with pytest.raises(Unreadable):
        await other.references.learn([unreadable])
    await other.whole()
    assert await house.additions() == [("ref", 1)]
    names = [f"post-{number}" for number in range(6)]
    for number, name in enumerate(names):
        await other.see(house.post(name, post=house.publish(house.original, 0.7 + number / 40)))
    assert len(await house.rows("select job from late_searches")) == 1
    assert await one.work() == 1
    for name in names:
        assert len(await house.uses(name)) == 1


async def test_images_that_are_stored_at_once_have_their_searches_and_no_two_wait(house: House) -> None:
    one, other = house.workers
    await one.learn(house.reference())
    names = [f"post-{number}" for number in range(12)]
    posts = [house.post(name, post=house.publish(house.original, 0.7 + n / 40)) for n, name in enumerate(names)]
    await asyncio.gather(*map(other.see, posts), one.work(), one.work())
    # As many as transactions held one another's row, at most.
    assert len(await house.rows("select job from late_searches")) <= 8
    await one.work()
    for name in names:
        assert len(await house.uses(name)) == 1


async def test_a_claimed_search_is_not_widened(house: House) -> None:
    """The worker that holds it has its range in hand."""
    one, other = house.workers
    await one.learn(house.reference())
    await other.see(house.post("first", post=house.publish(house.original, 0.9)))
    claimed = await one.late.claim(one.knowledge, lease_s=60, most=10)
    assert claimed is not None
    await other.see(house.post("second", post=house.publish(house.original, 0.85)))
    await one.late.finish(claimed)
    assert await one.work() == 1
    assert len(await house.uses("second")) == 1


async def test_what_the_topic_has_lost_is_no_addition_after_a_start(house: House) -> None:
    one, _ = house.workers
    await one.see(house.post())
    kept, lost = house.reference("kept"), house.reference("lost")
    await one.learn(kept)
    await one.learn(lost)
    starting = house.another_worker()
    await starting.start(kept)
    assert await house.additions() == [("kept", 1)]
    assert [row["reference_id"] for row in await house.rows("select reference_id from late_searches")] == [
        kept.reference_id
    ]
    assert starting.knowledge.now().gaps == ()


async def test_a_reference_that_another_worker_reads_during_the_start_stays(house: House) -> None:
    """Its record may lie behind the end that the starting worker has read to."""
    one, _ = house.workers
    starting = house.another_worker()
    await starting.references.begin()
    await one.learn(house.reference())
    await starting.whole()
    assert await house.additions() == [("ref", 1)]


async def test_a_tombstone_alone_ends_an_addition_with_the_start(house: House) -> None:
    one, _ = house.workers
    await one.learn(house.reference(revision=3))
    starting = house.another_worker()
    await starting.references.begin()
    await starting.forget(house.reference())
    await starting.whole()
    assert await house.additions() == []


async def test_a_tombstone_takes_nothing_newer_away_that_another_worker_has_read(house: House) -> None:
    one, _ = house.workers
    again = house.reference(revision=2)
    await one.see(house.post())
    await one.learn(again)
    starting = house.another_worker()
    await starting.references.begin()
    await starting.forget(again)
    await starting.learn(again)
    await starting.whole()
    assert await house.additions() == [("ref", 2)]
    assert await starting.work() == 1
    assert len(await house.uses()) == 1


async def test_a_tombstone_right_behind_its_state_withdraws_what_another_worker_stored(house: House) -> None:
    one, other = house.workers
    state = house.reference(revision=4)
    await one.learn(state)
    name = state.reference_id.encode()
    await other.references.learn(
        [Record("references.v1", 0, 0, name, state.encode()), Record("references.v1", 0, 1, name, None)]
    )
    assert await house.additions() == []


async def test_a_late_search_outlives_the_days_while_an_image_of_them_waits_for_it(house: House) -> None:
    one, other = house.workers
    await one.learn(house.reference())
    await other.see(house.post())
    await house.rows("update late_searches set waits_since = now() - interval '15 days' returning job")
    await one.late.purge(14)
    assert await one.work() == 1
    assert len(await house.uses()) == 1
    await house.rows(
        "insert into late_searches (reference_id, revision, livemode, next_number, last_number, waits_since)"
        " values ('unreadable', 1, true, 0, 0, now() - interval '15 days') returning job"
    )
    await one.late.purge(14)
    assert await house.rows("select job from late_searches") == []


async def test_a_claim_is_held_through_queries_that_take_long(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = house.workers
    for number in range(4):
        await one.see(house.post(f"post-{number}", post=house.publish(house.original, 0.8 + number / 40)))
    for worker in house.workers:
        await worker.learn(house.reference())
    slow = late.search_late

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.8)
        return slow(*arguments) and ()

    monkeypatch.setattr(late, "search_late", slowly)
    one.searches = one.searches_with(lease_s=1.5)
    working = asyncio.create_task(one.work())
    while not await house.rows("select job from late_searches where claim is not null"):
        await asyncio.sleep(0.05)
    taken_over = []
    while not working.done():
        taken_over.append(await other.late.claim(other.knowledge, lease_s=0.1, most=10))
        await asyncio.sleep(0.1)
    assert await working == 1
    assert len(taken_over) > 15
    assert taken_over == [None] * len(taken_over)


def failing(monkeypatch: pytest.MonkeyPatch, post_id: str, times: int) -> None:
    """Storing a late match in this post fails so many times."""
    stored, left = late.on_late_match, [times]

    async def fail(seen: Any, keys: Sequence[PostKey], store: Any) -> int:
        if post_id in {key.post_id for key in keys}:
            # Once with the others, once alone.
            if len(keys) > 1:
                raise ValueError("a post of them")
            if left[0]:
                left[0] -= 1
                raise ValueError(f"not storable: {post_id}")
        return await stored(seen, keys, store)

    monkeypatch.setattr(late, "on_late_match", fail)


async def test_a_late_match_that_fails_is_tried_again_and_stops_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = house.workers
    await one.see(house.post("good"), house.post("bad"))
    await one.see(house.post("next", post=house.publish(house.original, 0.9)))
    failing(monkeypatch, f"{house.name}-bad", times=2)
    await other.learn(house.reference())
    assert await other.work() == 1
    assert [len(await house.uses(name)) for name in ("good", "bad", "next")] == [1, 0, 1]
    [row] = await house.rows("select * from late_searches")
    assert (row["reference_id"], row["attempts"], row["given_up"]) == (house.reference().reference_id, 1, False)
    assert row["next_number"] == row["last_number"]
    assert row["reason"] == f"ValueError: not storable: {house.name}-bad"
    # Not before its pause is over.
    assert await other.work() == 0
    for _ in range(2):
        await house.later()
        assert await other.work() == 1
    assert [len(await house.uses(name)) for name in ("good", "bad", "next")] == [1, 1, 1]
    assert await house.rows("select * from late_searches") == []


async def test_a_late_match_that_fails_for_good_is_kept_for_a_person_who_releases_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = house.workers
    await one.see(house.post("bad"))
    failing(monkeypatch, f"{house.name}-bad", times=late.ATTEMPTS_MAX)
    await other.learn(house.reference())
    worked = 0
    for _ in range(late.ATTEMPTS_MAX + 3):
        worked += await other.work()
        await house.later()
    assert worked == late.ATTEMPTS_MAX
    waiting = await other.late.waiting()
    assert (waiting.count, waiting.given_up) == (0, 1)
    await house.rows(
        "update late_searches set given_up = false, attempts = 0, leased_until = null where given_up returning 1"
    )
    assert await other.work() == 1
    assert len(await house.uses("bad")) == 1
    assert (await other.late.waiting()).given_up == 0


async def test_a_query_whose_search_fails_is_tried_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = house.workers
    await one.see(house.post("bad"))
    await one.see(house.post("good", post=house.publish(house.original, 0.9)))
    search, left = late.search_late, [1]

    def fail_once(stored: StoredQuery, *others: Any) -> Any:
        if stored.media_digest == digest_of(house.image) and left[0]:
            left[0] = 0
            raise ValueError("a picture of its own")
        return search(stored, *others)

    monkeypatch.setattr(late, "search_late", fail_once)
    await other.learn(house.reference())
    assert await other.work() == 1
    assert [len(await house.uses(name)) for name in ("good", "bad")] == [1, 0]
    await house.later()
    assert await other.work() == 1
    assert [len(await house.uses(name)) for name in ("good", "bad")] == [1, 1]


async def test_a_stored_disclosure_that_cannot_be_read_holds_up_its_own_image_only(house: House) -> None:
    """As after a step back to a version that knows fewer states."""
    one, other = house.workers
    await one.see(house.post("odd"))
    await one.see(house.post("good", post=house.publish(house.original, 0.9)))
    place = "where media_digest = %s returning disclosure"
    digest = digest_of(house.image)
    await house.rows(f"""update queries set disclosure = '{{"c2pa": "of a later version"}}' {place}""", digest)
    await other.learn(house.reference())
    assert await other.work() == 1
    assert [len(await house.uses(name)) for name in ("good", "odd")] == [1, 0]
    [row] = await house.rows("select attempts, reason from late_searches")
    assert row["attempts"] == 1
    assert row["reason"].startswith("ValidationError")
    await house.rows(f"""update queries set disclosure = '{{"c2pa": "valid"}}' {place}""", digest)
    await house.later()
    assert await other.work() == 1
    [use] = await house.uses("odd")
    assert use.versions[0].sightings[0].disclosure == Disclosure(c2pa="valid")


async def test_what_waits_is_told_during_a_long_search_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = house.workers
    for number in range(4):
        await one.see(house.post(f"post-{number}", post=house.publish(house.original, 0.8 + number / 40)))
    await other.learn(house.reference())
    monkeypatch.setattr(late, "PAGE", 1)
    monkeypatch.setattr(late, "TELL_EVERY_S", 0.0)
    told_waiting: list[float] = []
    monkeypatch.setattr(late.OLDEST_LATE_S, "set", told_waiting.append)
    assert await other.work() == 1
    assert len(told_waiting) == 4
    assert told_waiting == sorted(told_waiting)
    assert told_waiting[0] > 0


async def test_an_image_that_is_published_again_while_queries_are_dropped_is_kept(house: House) -> None:
    one, other = house.workers
    await one.see(house.post())
    await house.rows("update queries set searched_at = now() - interval '15 days' returning number")
    async with house.database.transaction() as connection:
        await keep_query(
            connection, digest_of(house.image), Query(b"", other.knowledge.now()), other.knowledge, livemode=True
        )
        dropping = asyncio.create_task(one.late.purge(14))
        await asyncio.sleep(0.3)
    assert await dropping == 0
    await other.learn(house.reference())
    assert await other.work() == 1
    assert len(await house.uses()) == 1


async def test_a_claim_does_not_wait_for_a_withdrawal_and_loses_nothing_when_that_is_undone(house: House) -> None:
    one, other = house.workers
    await one.see(house.post())
    for name in ("ref", "other"):
        await other.learn(house.reference(name, twin_id=f"{house.name}-{name}"))
    claimed = await other.late.claim(other.knowledge, lease_s=60, most=10)
    assert claimed is not None
    assert len(claimed.revisions) == 2
    with contextlib.suppress(ZeroDivisionError):
        async with house.database.transaction() as connection:
            await announce(connection, [], {house.reference().reference_id: 1})
            async with asyncio.timeout(5):
                held = await other.late.advance(claimed, claimed.last_number + 1, lease_s=60)
                assert held is not None
                assert list(held.revisions) == [house.reference("other").reference_id]
            raise ZeroDivisionError
    again = await other.late.advance(held, claimed.last_number + 1, lease_s=60)
    assert again is not None
    assert again.revisions == held.revisions
    await other.late.finish(again)
    await house.later()
    assert await other.work() == 1
    assert [use.twin_id for use in await house.uses()] == [f"{house.name}-ref"]


async def test_a_match_that_a_withdrawal_held_back_is_stored_when_that_is_undone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = house.workers
    await one.see(house.post())
    for name in ("ref", "other"):
        await other.learn(house.reference(name, twin_id=f"{house.name}-{name}"))
    advance, undone = other.late.advance, list[str]()

    async def advance_beside_a_withdrawal(*arguments: Any, **named: Any) -> Any:
        if undone:
            return await advance(*arguments, **named)
        undone.append(house.reference().reference_id)
        with contextlib.suppress(ZeroDivisionError):
            async with house.database.transaction() as connection:
                await announce(connection, [], {undone[0]: 1})
                held = await advance(*arguments, **named)
                raise ZeroDivisionError
        return held

    monkeypatch.setattr(other.late, "advance", advance_beside_a_withdrawal)
    assert await other.work() == 1
    assert f"{house.name}-ref" not in {use.twin_id for use in await house.uses()}
    await house.later()
    assert await other.work() == 1
    assert f"{house.name}-ref" in {use.twin_id for use in await house.uses()}

"""A reference that is registered before, during or after a post: the same use, whichever came first."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from obstore.store import MemoryStore

from services.matching import late
from services.matching.addition_store import LOCK_SHARED
from services.matching.domain import PostKey
from services.matching.evidence_store import EvidenceStore
from services.matching.handlers import on_fetched
from services.matching.hosts import Hosts
from services.matching.late_evidence import LateEvidence
from services.matching.media import ItemAt
from shared.events import (
    Disclosure,
    MediaItem,
)
from shared.ids import digest_of, use_id
from shared.objects import Evidence, Uploads
from shared.safe_http import AllowedAddresses, SafeHttp
from tests.builders import NOON, ONE_HOUR, a_post, an_edited
from tests.conftest import Parts
from tests.late_house import House, a_late_house, fingerprint_of, other_file, told, with_source_type
from tests.system.pictures import draw, jpeg
from tests.system.world import ImageHost


@pytest.fixture
async def house(stack: Parts) -> AsyncIterator[House]:
    async with a_late_house(stack) as house:
        yield house


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

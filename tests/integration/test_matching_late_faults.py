"""Late searches that take long, fail, or meet a withdrawal: nothing is lost, nothing held up."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from services.matching import late
from services.matching.addition_store import announce, keep_query
from services.matching.domain import PostKey
from services.matching.late_store import StoredQuery
from services.matching.media import Query
from shared.events import (
    Disclosure,
)
from shared.ids import digest_of
from tests.conftest import Parts
from tests.late_house import House, a_late_house


@pytest.fixture
async def house(stack: Parts) -> AsyncIterator[House]:
    async with a_late_house(stack) as house:
        yield house


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

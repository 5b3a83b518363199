"""What workers know of references that may be found later: who reads which additions, and when one ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from services.matching.additions import Addition, Knowledge, Moment
from shared.events import (
    Unreadable,
)
from shared.kafka import Record
from tests.conftest import Parts
from tests.late_house import House, a_late_house


@pytest.fixture
async def house(stack: Parts) -> AsyncIterator[House]:
    async with a_late_house(stack) as house:
        yield house


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

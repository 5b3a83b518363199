"""Promise 4 on real PostgreSQL: the same facts and lookup data end in the same published states, and ledger."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import product

import pytest

from shared.database import Database
from shared.events import Event, StateEvent, UseSeen
from tests.builders import NOON, ONE_DAY, ONE_HOUR, a_card, a_scope, a_version, a_version_seen
from tests.conftest import Parts
from tests.judging_house import House, Names, a_house, in_batches
from tests.ledger_house import Bookkeeper, Stream, a_ledger, balances

LANDS = ("DE", "US")


@pytest.fixture
async def house(stack: Parts) -> AsyncIterator[House]:
    async with a_house(stack) as house:
        yield house


def a_story(names: Names) -> list[StateEvent]:
    """Uses and lookup data in which every kind of change matters to somebody."""
    us = a_version_seen(event_id="e2", shown_from=NOON + ONE_HOUR, territories=("US",))
    first = a_version_seen(shown_until=NOON + ONE_HOUR)
    german = a_version(scope=a_scope(territories=("DE",)))
    everywhere = a_version(version=2, effective_from=NOON - ONE_HOUR, scope=a_scope())
    second_twin = {"twin_id": names.twin_2}
    late = {"started_at": NOON + ONE_DAY, "occurred_at": NOON + ONE_DAY}
    return [
        # A use that an edit takes out of scope, until version 2 of its license.
        names.seen("use1"),
        names.seen("use1", revision=2, versions=(first, us)),
        names.seen("use1", revision=3, versions=(first, us), ended_at=NOON + ONE_DAY),
        # Uses by an account that comes to the brand, and by one that leaves it.
        names.seen("use2", versions=(a_version_seen(account="comes"),)),
        names.seen("use3", versions=(a_version_seen(account="leaves"),)),
        # Uses before and after a consent was withdrawn, and a license terminated.
        names.seen("use4", **second_twin),
        names.seen("use5", **second_twin, **late),
        # One whose edit hands it from one brand to the other; a fan's repost; one of a twin that nobody licensed.
        names.seen("use6", versions=(a_version_seen(account="acme"),)),
        names.seen("use6", revision=2, versions=(a_version_seen(account="rival"),)),
        names.seen("use7", versions=(a_version_seen(account="fan", reposts="p0"),)),
        names.seen("use8", twin_id=names.twin_3),
        names.license(versions=(german,)),
        names.license(revision=2, versions=(german, everywhere)),
        names.license(license_id=names.license_2, **second_twin),
        names.license(license_id=names.license_2, revision=2, terminated_at=NOON + ONE_HOUR, **second_twin),
        names.license(license_id=names.license_3, brand_id=names.brand_2),
        names.consent(),
        names.consent(consent_id=names.consent_2, **second_twin),
        names.consent(consent_id=names.consent_2, revision=2, withdrawn_at=NOON + 2 * ONE_HOUR, **second_twin),
        names.brand("acme", "leaves"),
        names.brand("acme", "leaves", "comes", revision=2),
        names.brand("acme", "comes", revision=3),
        names.brand("rival", party_id=names.brand_2),
        names.twin_state(),
        names.twin_state(party_id=names.twin_2),
        names.twin_state(party_id=names.twin_3, agency_id="old"),
        names.twin_state(party_id=names.twin_3, agency_id="new", revision=2),
    ]


def a_random_story(names: Names, chance: random.Random) -> list[StateEvent]:
    """Uses of two twins by four accounts, and what bears on them: every record has a few revisions, all at odds."""
    twins, brands, accounts = [names.twin, names.twin_2], [names.brand_1, names.brand_2], ["a1", "a2", "a3", "a4"]
    moments = [NOON + number * ONE_HOUR for number in range(6)]

    def revisions(make: Callable[[int], StateEvent], most: int = 4) -> list[StateEvent]:
        return [make(revision) for revision in range(1, chance.randint(1, most) + 1)]

    def a_use(use: str, twin: str) -> Callable[[int], StateEvent]:
        def make(revision: int) -> StateEvent:
            versions = tuple(
                a_version_seen(event_id=f"e{at}", account=chance.choice(accounts), territories=(chance.choice(LANDS),))
                for at in range(chance.randint(1, 2))
            )
            started, ended = sorted(chance.sample(moments, k=2))
            times = {"started_at": started, "ended_at": chance.choice((None, ended))}
            return names.seen(use, revision=revision, twin_id=twin, versions=versions, **times)

        return make

    def a_grant(license_id: str, twin: str, brand: str) -> Callable[[int], StateEvent]:
        versions = [
            a_version(
                version=number,
                effective_from=NOON + (number - 2) * ONE_HOUR,
                scope=a_scope(territories=chance.choice((None, LANDS[:1]))),
                rate_card=a_card(chance.choice((9_999, 10_001))),
            )
            for number in range(1, 5)
        ]

        def make(revision: int) -> StateEvent:
            terms = {"versions": tuple(versions[:revision]), "terminated_at": chance.choice((None, *moments))}
            return names.license(license_id=license_id, twin_id=twin, brand_id=brand, revision=revision, **terms)

        return make

    def a_permission(consent_id: str, twin: str) -> Callable[[int], StateEvent]:
        return lambda revision: names.consent(
            consent_id=consent_id, twin_id=twin, revision=revision, withdrawn_at=chance.choice((None, *moments))
        )

    def a_company(brand: str) -> Callable[[int], StateEvent]:
        return lambda revision: names.brand(*chance.sample(accounts, k=3), party_id=brand, revision=revision)

    def a_person(twin: str) -> Callable[[int], StateEvent]:
        return lambda revision: names.twin_state(
            party_id=twin, agency_id=chance.choice(("old", "new")), revision=revision
        )

    makers = [a_use(f"use{number}", chance.choice(twins)) for number in range(10)]
    makers += [
        a_grant(getattr(names, f"license_{at}"), twin, brand) for at, (twin, brand) in enumerate(product(twins, brands))
    ]
    makers += [a_permission(getattr(names, f"consent_{at}"), twin) for at, twin in enumerate(twins)]
    makers += [*map(a_company, brands), *map(a_person, twins)]
    return [state for make in makers for state in revisions(make)]


async def tell(house: House, batch: Sequence[Event]) -> None:
    await house.see(*[event for event in batch if isinstance(event, UseSeen)])
    await house.know(*[event for event in batch if isinstance(event, StateEvent) and not isinstance(event, UseSeen)])


async def told_in_order(house: House, names: Names, story: Sequence[StateEvent]) -> dict:
    await house.know(*[state for state in story if not isinstance(state, UseSeen)])
    for state in story:
        if isinstance(state, UseSeen):
            await house.see(state)
    await house.settle()
    return await house.published(names)


async def test_the_story_ends_as_it_should(house: House) -> None:
    names = Names()
    published = await told_in_order(house, names, a_story(names))
    ends = {name: envelope["data"].get("verdict", "licensed") for name, envelope in published.items()}
    assert ends == {
        "usage.v1 -use1": "licensed",
        "usage.v1 -use2": "licensed",
        "infringements.v1 -use3": "unlicensed",
        "usage.v1 -use4": "licensed",
        "infringements.v1 -use5": "out_of_scope",
        "usage.v1 -use6": "licensed",
        "infringements.v1 -use8": "unlicensed",
    }
    assert published["infringements.v1 -use8"]["data"]["agency_id"] == "new"


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_with_repeats_ends_in_the_same_published_states(house: House, seed: int) -> None:
    chance = random.Random(seed)
    names = Names()
    story = a_story(names)
    shuffled = story + chance.choices(story, k=15)
    chance.shuffle(shuffled)
    for batch in in_batches(chance, shuffled):
        house.fresh = chance.random() < 0.5
        await tell(house, batch)
        if chance.random() < 0.4:
            await house.again.once()
    house.fresh = True
    await house.settle()
    orderly = Names()
    assert await house.published(names) == await told_in_order(house, orderly, a_story(orderly))


@pytest.mark.parametrize("seed", range(16))
async def test_several_workers_at_once_end_in_the_same_published_states_and_the_same_ledger(
    stack: Parts, seed: int
) -> None:
    names, orderly = Names(), Names()
    story, in_order = (a_random_story(each, random.Random(seed)) for each in (names, orderly))
    async with AsyncExitStack() as houses:
        workers = [await houses.enter_async_context(a_house(stack)) for _ in range(2)]
        ledger = await houses.enter_async_context(a_ledger(stack))
        stream = Stream(workers[0].database, names.prefix, random.Random(seed))
        await told_by_all_at_once(story, workers, stream, ledger, seed)
        published = await workers[0].published(names)
        assert published == await told_in_order(workers[0], orderly, in_order)
        orderly_stream = Stream(workers[0].database, orderly.prefix, random.Random(seed))
        await orderly_stream.relay(crashes=0)
        await Bookkeeper(ledger, random.Random(seed)).book_to_the_end(orderly_stream)
        booked = await balances(ledger, names.prefix)
        assert booked == await balances(ledger, orderly.prefix)
    billed = {name.removeprefix("usage.v1 ") for name in published if name.startswith("usage.v1 ")}
    assert set(booked) == billed


async def told_by_all_at_once(
    story: Sequence[StateEvent], workers: Sequence[House], stream: Stream, ledger: Database, seed: int
) -> None:
    """Each worker learns the lookup data whole and most sightings, in its own order, while all else goes on."""
    finished = asyncio.Event()
    bookkeepers = [Bookkeeper(ledger, random.Random(f"books {seed} {at}")) for at in range(2)]

    async def work(house: House, chance: random.Random) -> None:
        mine = [state for state in story if not isinstance(state, UseSeen) or chance.random() < 0.7]
        mine += chance.choices(mine, k=10)
        chance.shuffle(mine)
        for batch in in_batches(chance, mine):
            house.fresh = chance.random() < 0.5
            await tell(house, batch)
        house.fresh = True

    async def until_finished(step: Callable[[], Awaitable[object]]) -> None:
        while not finished.is_set():
            await step()
            await asyncio.sleep(0)

    meanwhile = [
        *(house.again.once for house in workers),
        *(partial(bookkeeper.once, stream) for bookkeeper in bookkeepers),
        stream.relay,
    ]
    loops = [asyncio.create_task(until_finished(step)) for step in meanwhile]
    try:
        await asyncio.gather(*(work(house, random.Random(f"{seed} {at}")) for at, house in enumerate(workers)))
    finally:
        finished.set()
        await asyncio.gather(*loops)
    await workers[0].see(*[state for state in story if isinstance(state, UseSeen)])
    await asyncio.gather(*(house.settle() for house in workers))
    await stream.relay(crashes=0)
    await asyncio.gather(*(bookkeeper.book_to_the_end(stream) for bookkeeper in bookkeepers))


async def test_a_lookup_change_waits_for_the_verdict_in_hand_and_judges_it_again(house: House) -> None:
    names = Names()
    await house.know(names.consent(), names.brand("acme"), names.twin_state())
    async with house.store.judging() as room:
        held = await room.learn([names.seen()])
        learning = asyncio.create_task(house.know(names.license()))
        await asyncio.sleep(0.3)
        assert not learning.done()
        knowledge = await room.knowledge_of([each.seen for each in held])
        assert knowledge[names.use1].licenses == ()
    await learning
    await house.see(names.seen())
    await house.settle()
    assert list(await house.published(names)) == ["usage.v1 -use1"]


async def test_what_is_known_already_keeps_nobody_from_judging(house: House) -> None:
    names = Names()
    await house.know(names.license())
    async with house.store.judging(), asyncio.timeout(5):
        await house.know(names.license())


async def test_judging_goes_on_side_by_side(house: House) -> None:
    async with house.store.judging(), asyncio.timeout(5):
        await house.see(Names().seen())

"""Group commit: what is asked at the same moment is done in one go."""

import asyncio
from collections.abc import Sequence

import pytest

from services.intake import together
from services.intake.together import ROUNDS_MAX, WEIGHT_MAX, Together


class Work:
    """Answers with the number doubled, when it is let go."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.free = asyncio.Event()

    async def __call__(self, several: Sequence[int]) -> Sequence[int]:
        self.groups.append(list(several))
        await self.free.wait()
        if 13 in several:
            raise ConnectionError("thirteen")
        return [2 * each for each in several]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def each_is_one(_: int) -> int:
    return 1


async def test_one_alone_is_done_at_once() -> None:
    work = Work()
    work.free.set()
    assert await Together(work, weight=each_is_one).ask(4) == 8
    assert work.groups == [[4]]


async def test_what_comes_while_rounds_are_under_way_is_done_together_and_each_gets_its_own_answer() -> None:
    work = Work()
    asking = Together(work, weight=each_is_one)
    asked = []
    for number in range(10):
        asked.append(asyncio.create_task(asking.ask(number)))
        await settled()
    assert work.groups == [[0], [1]]
    assert len(work.groups) == ROUNDS_MAX
    work.free.set()
    assert await asyncio.gather(*asked) == [2 * number for number in range(10)]
    assert work.groups == [[0], [1], [2, 3, 4, 5, 6, 7, 8, 9]]


async def test_a_round_has_a_largest_size_and_takes_at_least_one() -> None:
    work = Work()
    work.free.set()
    asking = Together(work, weight=lambda number: number)
    largest = WEIGHT_MAX + 1
    numbers = [largest, WEIGHT_MAX - 20, 20, 21, largest]
    assert await asyncio.gather(*map(asking.ask, numbers)) == [2 * number for number in numbers]
    assert sorted(work.groups) == sorted([[largest], [WEIGHT_MAX - 20, 20], [21], [largest]])


async def test_nobody_waits_behind_a_round_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "LONG_S", 0.05)
    work = Work()
    asking = Together(work, weight=each_is_one)
    hanging = []
    for number in range(ROUNDS_MAX):
        hanging.append(asyncio.create_task(asking.ask(number)))
        await settled()
    late = asyncio.create_task(asking.ask(7))
    await settled()
    assert len(work.groups) == ROUNDS_MAX
    async with asyncio.timeout(5):
        while [7] not in work.groups:
            await asyncio.sleep(0.01)
    work.free.set()
    assert await late == 14
    assert await asyncio.gather(*hanging) == [0, 2]
    # Those that hung are counted off once, not twice.
    work.free.clear()
    more = []
    for number in range(ROUNDS_MAX + 1):
        more.append(asyncio.create_task(asking.ask(20 + number)))
        await settled()
    assert work.groups[-ROUNDS_MAX:] == [[20 + number] for number in range(ROUNDS_MAX)]
    work.free.set()
    await asyncio.gather(*more)


async def test_a_fault_reaches_all_of_its_round_and_nobody_else() -> None:
    work = Work()
    asking = Together(work, weight=each_is_one)
    asked = [asyncio.create_task(asking.ask(number)) for number in (13, 14)]
    await settled()
    work.free.set()
    for each in asked:
        with pytest.raises(ConnectionError, match="thirteen"):
            await each
    assert await asking.ask(15) == 30


async def test_who_no_longer_waits_changes_nothing_for_the_others() -> None:
    work = Work()
    asking = Together(work, weight=each_is_one)
    gone, stays = (asyncio.create_task(asking.ask(number)) for number in (1, 2))
    await settled()
    gone.cancel()
    work.free.set()
    assert await stays == 4
    with pytest.raises(asyncio.CancelledError):
        await gone

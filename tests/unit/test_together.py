"""Group commit: what is asked at the same moment is done in one go."""

import asyncio
from collections.abc import Sequence

import pytest

from services.intake.together import GROUP_MAX, ROUNDS_MAX, Together


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


async def test_one_alone_is_done_at_once() -> None:
    work = Work()
    work.free.set()
    assert await Together(work).ask(4) == 8
    assert work.groups == [[4]]


async def test_what_comes_while_rounds_are_under_way_is_done_together_and_each_gets_its_own_answer() -> None:
    work = Work()
    together = Together(work)
    asked = []
    for number in range(10):
        asked.append(asyncio.create_task(together.ask(number)))
        await settled()
    assert work.groups == [[0], [1]]
    assert len(work.groups) == ROUNDS_MAX
    work.free.set()
    assert await asyncio.gather(*asked) == [2 * number for number in range(10)]
    assert work.groups == [[0], [1], [2, 3, 4, 5, 6, 7, 8, 9]]


async def test_a_group_has_a_largest_size() -> None:
    work = Work()
    work.free.set()
    together = Together(work)
    assert len(await asyncio.gather(*(together.ask(number + 100) for number in range(2 * GROUP_MAX + 1)))) == 257
    assert max(map(len, work.groups)) == GROUP_MAX


async def test_a_fault_reaches_all_of_its_round_and_nobody_else() -> None:
    work = Work()
    together = Together(work)
    asked = [asyncio.create_task(together.ask(number)) for number in (13, 14)]
    await settled()
    work.free.set()
    for each in asked:
        with pytest.raises(ConnectionError, match="thirteen"):
            await each
    assert await together.ask(15) == 30


async def test_who_no_longer_waits_changes_nothing_for_the_others() -> None:
    work = Work()
    together = Together(work)
    gone, stays = (asyncio.create_task(together.ask(number)) for number in (1, 2))
    await settled()
    gone.cancel()
    work.free.set()
    assert await stays == 4
    with pytest.raises(asyncio.CancelledError):
        await gone

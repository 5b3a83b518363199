"""The processor time of a fetch is what its task spends, not what it waits, and metering changes nothing else."""

import asyncio
import time

import pytest

from services.matching.cpu import metered

BURNED_S = 0.05


def burn() -> None:
    end = time.thread_time() + BURNED_S
    while time.thread_time() < end:
        pass


async def test_work_before_and_after_a_wait_counts_and_the_wait_and_what_others_do_meanwhile_do_not() -> None:
    spent: list[float] = []

    async def works() -> str:
        burn()
        await asyncio.sleep(0.2)
        burn()
        return "done"

    async def other() -> None:
        await asyncio.sleep(0.1)
        burn()

    result, _ = await asyncio.gather(metered(works(), spent.append), other())
    assert result == "done"
    assert 2 * BURNED_S <= spent[0] < 2.9 * BURNED_S
    assert len(spent) == 1


async def test_a_fault_and_a_deadline_pass_through_and_are_counted() -> None:
    spent: list[float] = []
    cleaned: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("no image")

    async def stalls() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append("closed")

    with pytest.raises(ValueError, match="no image"):
        await metered(fails(), spent.append)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await metered(stalls(), spent.append)
    assert cleaned == ["closed"]
    assert len(spent) == 2

"""The processor time of a fetch is what its task spends, not what it waits, and metering changes nothing else."""

import asyncio
import io
import time

import numpy as np
import pytest
from PIL import Image
from prometheus_client import REGISTRY

from services.matching.cpu import metered
from services.matching.disclosure import Disclosures
from services.matching.looking import search_image
from services.matching.media import Searched
from services.matching.recognition import ReferenceIndex
from shared.fingerprints import Fingerprint, Picture, decode, fingerprint_reference

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


STAGES = ("decode", "describe", "search_global", "search_local")


def counted(stage: str, what: str) -> float:
    return REGISTRY.get_sample_value(f"twintally_matching_image_cpu_seconds_{what}", {"stage": stage}) or 0.0


def test_what_an_image_costs_is_counted_once_for_each_stage_the_two_searches_apart() -> None:
    noise = np.random.default_rng(7).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((600, 400), Image.Resampling.BICUBIC).save(file, "JPEG")
    picture = decode(file.getvalue())
    assert isinstance(picture, Picture)
    fingerprint = fingerprint_reference(picture)
    assert isinstance(fingerprint, Fingerprint)
    index = ReferenceIndex()
    index.add("ref", "twin", True, fingerprint)
    before = {stage: (counted(stage, "count"), counted(stage, "sum")) for stage in STAGES}
    searched = search_image(file.getvalue(), index, True, Disclosures())
    assert isinstance(searched, Searched)
    assert [seen.reference_id for seen in searched.seen] == ["ref"]
    after = {stage: (counted(stage, "count"), counted(stage, "sum")) for stage in STAGES}
    assert {stage: after[stage][0] - before[stage][0] for stage in STAGES} == dict.fromkeys(STAGES, 1)
    assert all(after[stage][1] > before[stage][1] for stage in STAGES)

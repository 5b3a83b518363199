"""From an address to an outcome: whatever a host, a URL or the evidence store does."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from obstore.store import LocalStore, MemoryStore

from services.matching.hosts import FAILURES_MAX, Hosts, Resting
from services.matching.looking import ImageLooker
from services.matching.media import Later, Unusable
from services.matching.recognition import ReferenceIndex
from services.matching.store import MatchingStore, PendingFetch, Waiting
from services.matching.worker import PendingFetches
from shared.kafka.passing import PASSING_FAULTS
from shared.objects import Evidence, StoreAway, Uploads
from shared.safe_http import SafeHttp


@pytest.mark.parametrize("url", ["http://[bad/1.jpg", "http://a℀b.com/1.jpg"])
async def test_a_url_that_cannot_be_read_is_unfetchable_and_no_fault_of_the_post(url: str) -> None:
    http = SafeHttp()
    with ThreadPoolExecutor(1) as executor:
        looker = ImageLooker(http, Uploads(MemoryStore()), ReferenceIndex(), Evidence(MemoryStore()), executor)
        outcome = await looker.look(url, livemode=True, deadline_s=1.0)
    await http.aclose()
    assert isinstance(outcome, Unusable)
    assert outcome.outcome == "unfetchable"


async def test_who_waited_for_a_place_leaves_a_host_that_meanwhile_rests() -> None:
    hosts = Hosts()
    outcomes: list[str] = []

    async def visit() -> None:
        try:
            async with hosts.visit("http://stalls.example/1.jpg"):
                await asyncio.sleep(0.01)
                raise ConnectionError
        except Resting:
            outcomes.append("rests")
        except ConnectionError:
            outcomes.append("failed")

    await asyncio.gather(*(visit() for _ in range(200)))
    assert outcomes.count("failed") <= FAILURES_MAX + 8
    assert outcomes.count("rests") >= 180


async def test_a_deadline_that_passes_counts_as_the_hosts_failure() -> None:
    hosts = Hosts()
    for _ in range(FAILURES_MAX):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), hosts.visit("http://slow.example/1.jpg"):
                await asyncio.sleep(1)
    with pytest.raises(Resting):
        async with hosts.visit("http://slow.example/2.jpg"):
            pass


def test_only_a_host_that_was_asked_spends_an_attempt() -> None:
    assert Later("no answer").asked
    assert not Later("left alone", asked=False).asked


async def test_a_store_that_is_away_is_a_passing_fault(tmp_path: object) -> None:
    folder = str(tmp_path)
    store = LocalStore(folder)
    evidence = Evidence(store, folder="evidence")
    with open(f"{folder}/evidence", "w") as file:  # noqa: ASYNC230, PTH123 - a file where its folder should be
        file.write("in the way")
    with pytest.raises(StoreAway) as away:
        await evidence.keep(b"image")
    assert isinstance(away.value, PASSING_FAULTS)


async def test_an_upload_is_read_from_the_store_and_what_is_missing_there_is_unfetchable() -> None:
    uploads = Uploads(MemoryStore())
    await uploads.keep("instagram", "a" * 64, b"no image")
    with ThreadPoolExecutor(1) as executor:
        looker = ImageLooker(SafeHttp(), uploads, ReferenceIndex(), Evidence(MemoryStore()), executor)
        read = await looker.look_at_upload("instagram", "a" * 64, livemode=True)
        missing = await looker.look_at_upload("instagram", "b" * 64, livemode=True)
        foreign = await looker.look_at_upload("tiktok", "a" * 64, livemode=True)
    assert isinstance(read, Unusable)
    assert read.outcome == "undecodable"
    assert missing == foreign == Unusable("unfetchable", "the uploaded image is not in the store")


async def test_an_upload_in_a_store_that_is_away_is_a_passing_fault(tmp_path: Path) -> None:
    tmp_path.joinpath("inbox").write_text("in the way")
    with ThreadPoolExecutor(1) as executor:
        uploads = Uploads(LocalStore(tmp_path))
        looker = ImageLooker(SafeHttp(), uploads, ReferenceIndex(), Evidence(MemoryStore()), executor)
        with pytest.raises(PASSING_FAULTS):
            await looker.look_at_upload("instagram", "a" * 64, livemode=True)


async def test_what_is_not_in_the_store_is_not_found() -> None:
    with pytest.raises(FileNotFoundError):
        await Evidence(MemoryStore()).read("sha256:" + "0" * 64)


async def test_no_image_is_fetched_again_before_the_index_is_whole() -> None:
    """It would be searched among a part of the references, and called unknown for good."""
    whole, claimed = asyncio.Event(), asyncio.Event()

    class NothingPending:
        async def claim(self, *, lease_s: float, most: int) -> list[PendingFetch]:
            claimed.set()
            return []

        async def waiting(self) -> Waiting:
            return Waiting(0, 0.0)

    store = cast(MatchingStore, NothingPending())
    fetches = PendingFetches(store, cast(Any, None), cast(Any, None), fetch_s=1.0, index_whole=whole.wait)
    task = asyncio.create_task(fetches.run())
    await asyncio.sleep(0.01)
    assert not claimed.is_set()
    whole.set()
    await asyncio.wait_for(claimed.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

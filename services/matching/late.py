"""Late searches: a reference that was added after posts were searched is held against their stored fingerprints."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from services.matching.additions import Knowledge
from services.matching.domain import PostKey, Seen
from services.matching.handlers import Store, on_late_match
from services.matching.late_store import Job, LateStore, StoredQuery
from services.matching.looking import seen_in
from services.matching.media import disclosure_of
from services.matching.metrics import (
    LATE_FAILURES,
    LATE_GIVEN_UP,
    LATE_MATCHES,
    LATE_QUERIES,
    LATE_SEARCHES,
    OLDEST_LATE_S,
    QUERIES_PURGED,
    USES,
)
from services.matching.recognition import ReferenceIndex
from services.matching.recognition.search import may_show
from services.matching.recognition.shelf import Entry, Shelf
from shared.fingerprints import Fingerprint, QueryFingerprint
from shared.kafka.passing import PASSING_FAULTS
from shared.logs import get_log
from shared.outbox import Relay

log = get_log()
R = TypeVar("R")

PAUSE_S = 0.5
REFERENCES_MAX = 64
PAGE = 32
POSTS_AT_ONCE = 50
PURGE_PAUSE_S = 3600.0
ATTEMPTS_MAX = 6
TELL_EVERY_S = 2.0


class LateSearches:
    """Works late searches, one claim after the other; several processes share them by their leases.

    A query at a time goes to the executor, where images of the stream wait their turn too: at most one of its threads
    is busy with what is late.
    """

    def __init__(
        self,
        late: LateStore,
        store: Store,
        index: ReferenceIndex,
        knowledge: Knowledge,
        relay: Relay,
        executor: Executor,
        *,
        index_whole: Callable[[], Awaitable[object]],
        query_days: int,
        lease_s: float = 60.0,
    ) -> None:
        self._late = late
        self._store = store
        self._index = index
        self._knowledge = knowledge
        self._relay = relay
        self._executor = executor
        self._index_whole = index_whole
        self._query_days = query_days
        self._lease_s = lease_s
        self._held_since = self._told_at = -math.inf

    async def run(self) -> None:
        """Claim and search until cancelled; faults of the database are waited out.

        Not before the index is whole: what the image shows is the answer of all references together.
        """
        await self._index_whole()
        while True:
            worked = False
            try:
                worked = await self.work_one_claim()
                await self._tell()
            except PASSING_FAULTS as error:
                log.warning("late_searches_wait", error=f"{type(error).__name__}: {error}")
            if not worked:
                await asyncio.sleep(PAUSE_S)

    async def purge(self) -> None:
        """Drop queries of which the days are over, at the start and every hour, until cancelled."""
        while True:
            pause = PURGE_PAUSE_S
            try:
                while gone := await self._late.purge(self._query_days):
                    QUERIES_PURGED.inc(gone)
            except PASSING_FAULTS as error:
                log.warning("purge_of_queries_waits", error=f"{type(error).__name__}: {error}")
                pause = PAUSE_S
            await asyncio.sleep(pause)

    async def work_one_claim(self) -> bool:
        """Work one claim to its end; False when there is none, or its search cannot be made.

        A claim that ends half way, by a crash or because its lease ran out, is taken up where it was last held: what
        was found before is stored, and finding it again changes nothing.
        """
        self._held_since = time.monotonic()
        claimed = await self._late.claim(self._knowledge, lease_s=self._lease_s, most=REFERENCES_MAX)
        if claimed is None:
            return False
        single = claimed.next_number == claimed.last_number
        if not single:
            log.info("late_search_starts", references=sorted(claimed.revisions), **_numbers(claimed))
        shelf = await self._on_executor(_shelf, claimed, self._index)
        job: Job | None = claimed
        seen, matched = 0, 0
        while job is not None and (page := await self._late.page(job, PAGE)):
            for query in page:
                job = await self._held(job, query.number)
                if job is None:
                    break
                job, found = await self._search(job, query, shelf)
                matched += found
                seen += 1
                LATE_QUERIES.inc()
                if job is None:
                    break
            if job is not None:
                job = await self._hold(job, page[-1].number + 1)
            await self._tell()
            if job is not None and not single:
                log.info("late_search_goes_on", queries=seen, matched=matched, **_numbers(job))
        if job is None:
            log.info("late_search_not_held", references=sorted(claimed.revisions), queries=seen)
            return True
        await self._late.finish(job)
        log.info("late_search_done", references=sorted(job.revisions), queries=seen, matched=matched)
        return True

    async def _held(self, job: Job, number: int) -> Job | None:
        """The claim, held on in time: its lease must not run out while it is worked."""
        if time.monotonic() - self._held_since < self._lease_s / 3:
            return job
        return await self._hold(job, number)

    async def _hold(self, job: Job, number: int) -> Job | None:
        """What is still held of a claim, all before this query being done."""
        # From before the statement, so that it never runs out earlier than this process thinks.
        self._held_since = time.monotonic()
        return await self._late.advance(job, number, lease_s=self._lease_s)

    async def _search(self, job: Job, stored: StoredQuery, shelf: Shelf | None) -> tuple[Job | None, int]:
        """What is still held of a claim, and how many images matched."""
        try:
            seen = await self._on_executor(search_late, stored, shelf, self._index, job)
        except PASSING_FAULTS:
            raise
        except Exception as fault:
            await self._put_aside(job, stored, job.revisions, fault)
            return job, 0
        return await self._publish(job, stored, seen) if seen else (job, 0)

    async def _publish(self, job: Job, stored: StoredQuery, seen: Sequence[Seen]) -> tuple[Job | None, int]:
        held: Job | None = job
        keys = await self._late.posts_with(stored.media_digest, livemode=job.livemode)
        published, faults = 0, list[Exception]()
        for first in range(0, len(keys), POSTS_AT_ONCE):
            # Asked before each of many posts: what was withdrawn accuses nobody.
            held = await self._hold(job, stored.number)
            if held is None:
                break
            job = held
            still = [one for one in seen if one.reference_id in job.revisions]
            if not still:
                break
            published += await self._store_match(still, keys[first : first + POSTS_AT_ONCE], faults)
        USES.inc(published)
        self._relay.wake()
        log.info("late_match", media_digest=stored.media_digest, posts=len(keys), published=published)
        if faults:
            await self._put_aside(job, stored, {one.reference_id for one in seen}, faults[0])
            return held, 0
        LATE_MATCHES.inc()
        return held, 1

    async def _store_match(self, seen: Sequence[Seen], keys: Sequence[PostKey], faults: list[Exception]) -> int:
        """Store a match in posts, those at fault left out; returns how many uses this changed."""
        try:
            return await on_late_match(seen, keys, self._store)
        except PASSING_FAULTS:
            raise
        except Exception as fault:
            if len(keys) == 1:
                faults.append(fault)
                return 0
        return sum([await self._store_match(seen, [key], faults) for key in keys])

    async def _put_aside(self, job: Job, stored: StoredQuery, references: Collection[str], fault: Exception) -> None:
        """Of its own fault: the others go on, and it is tried again some times."""
        log.error("late_match_failed", media_digest=stored.media_digest, attempts=job.attempts + 1, exc_info=fault)
        reason = f"{type(fault).__name__}: {fault}"
        again = await self._late.put_aside(job, stored.number, references, reason, attempts_max=ATTEMPTS_MAX)
        LATE_FAILURES.labels("later" if again else "gave_up").inc()

    async def _tell(self) -> None:
        if time.monotonic() - self._told_at < TELL_EVERY_S:
            return
        self._told_at = time.monotonic()
        waiting = await self._late.waiting()
        LATE_SEARCHES.set(waiting.count)
        OLDEST_LATE_S.set(waiting.oldest_s)
        LATE_GIVEN_UP.set(waiting.given_up)

    async def _on_executor(self, work: Callable[..., R], *arguments: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)


def search_late(stored: StoredQuery, shelf: Shelf | None, index: ReferenceIndex, job: Job) -> Sequence[Seen]:
    """What a stored query shows of the references of a job.

    The whole index is asked, as it was when the image was new: masks of what references share, and which picture
    explains a region, are the same as if these references had been there. `shelf` holds these alone, for a quick no.
    """
    query = QueryFingerprint.from_bytes(stored.fingerprint)
    if shelf is not None and not may_show(shelf, query):
        return ()
    disclosure = disclosure_of(stored.disclosure)
    found = seen_in(query, index, digest=stored.media_digest, livemode=job.livemode, disclosure=disclosure)
    return [seen for seen in found if seen.reference_id in job.revisions]


def _shelf(job: Job, index: ReferenceIndex) -> Shelf | None:
    if not job.fingerprints:
        return None
    try:
        entries = [Entry(name, name, Fingerprint.from_bytes(data)) for name, data in job.fingerprints.items()]
        return Shelf.of(entries, index.plan(livemode=job.livemode))
    except Exception:
        # Only the quick no is lost.
        log.exception("late_shelf_failed", references=sorted(job.revisions))
        return None


def _numbers(job: Job) -> dict[str, int]:
    return {"next_number": job.next_number, "last_number": job.last_number}

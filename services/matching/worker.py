"""Matching's edge to the stream: decode, call the handler, count, confirm."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.matching.handlers import Looker, on_facts, on_fetched
from services.matching.media import Later, MediaOutcome
from services.matching.metrics import FACTS, OLDEST_PENDING_S, PENDING, USES
from services.matching.store import MatchingStore, PendingFetch
from shared.events import PostFact, Unreadable, read_event
from shared.kafka import Record
from shared.kafka.batches import work_batch
from shared.kafka.deadletters import DeadLetters
from shared.kafka.passing import PASSING_FAULTS
from shared.logs import get_log
from shared.outbox import Relay

log = get_log()

CLAIM_MAX = 8
PENDING_PAUSE_S = 0.5


class PostsWorker:
    """Works batches of posts.v1."""

    def __init__(
        self, store: MatchingStore, looker: Looker, relay: Relay, dead_letters: DeadLetters, *, fetch_s: float
    ) -> None:
        self._store = store
        self._looker = looker
        self._relay = relay
        self._dead_letters = dead_letters
        self._fetch_s = fetch_s

    async def handle_batch(self, records: Sequence[Record]) -> None:
        """Store the batch's effect and its dead letters; what this raises means that neither was possible."""
        await work_batch(records, self.take, self._dead_letters)

    async def take(self, records: Sequence[Record]) -> None:
        """Store the effect of facts; what it raises says why not."""
        facts = [_fact(record) for record in records]
        effect = await on_facts(facts, self._store, self._looker, deadline_s=self._fetch_s)
        FACTS.inc(effect.facts)
        USES.inc(effect.published)
        self._relay.wake()


class PendingFetches:
    """Tries images again that their host did not give in time.

    Not before the index is whole: an image that is searched earlier would be called unknown for good.
    """

    def __init__(
        self,
        store: MatchingStore,
        looker: Looker,
        relay: Relay,
        *,
        fetch_s: float,
        index_whole: Callable[[], Awaitable[object]],
    ) -> None:
        self._store = store
        self._looker = looker
        self._relay = relay
        self._fetch_s = fetch_s
        self._index_whole = index_whole

    async def run(self) -> None:
        """Claim and fetch until cancelled; faults of the database are waited out."""
        await self._index_whole()
        while True:
            try:
                claimed = await self._store.claim(lease_s=self._fetch_s * 4, most=CLAIM_MAX)
                await asyncio.gather(*map(self._fetch, claimed))
                waiting = await self._store.waiting()
                PENDING.set(waiting.count)
                OLDEST_PENDING_S.set(waiting.oldest_s)
            except PASSING_FAULTS as error:
                log.warning("pending_fetches_wait", error=f"{type(error).__name__}: {error}")
                claimed = []
            if not claimed:
                await asyncio.sleep(PENDING_PAUSE_S)

    async def _fetch(self, pending: PendingFetch) -> None:
        try:
            outcome: MediaOutcome = await self._looker.look(
                pending.url, livemode=pending.key.livemode, deadline_s=self._fetch_s
            )
        except PASSING_FAULTS:
            raise
        except Exception as error:
            # Of its own fault: it spends its attempts and ends as unfetchable, and the others go on.
            log.exception("pending_fetch_failed", url=pending.url)
            outcome = Later(f"{type(error).__name__}: {error}"[:500])
        published = await on_fetched(pending.at, pending.key, pending.url, outcome, self._store)
        USES.inc(published)
        self._relay.wake()


def _fact(record: Record) -> PostFact:
    event = read_event(record.topic, record.key, record.value)
    if not isinstance(event, PostFact):
        raise Unreadable(f"type: {event.type} is no fact of a post")
    return event

"""Matching's schema: facts, media, sightings, pending fetches."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from services.matching.addition_store import keep_query
from services.matching.additions import Knowledge
from services.matching.domain import Digests, PostKey, Seen, told_again
from services.matching.media import ItemAt, Later, MediaOutcome, Searched, Unusable, disclosure_of, next_try
from services.matching.metrics import FACTS_UNREADABLE, MEDIA, SIGHTINGS
from shared.database import Connection, Database, every, one
from shared.events import PostFact, Unreadable, UseSeen, read_event
from shared.kafka.spans import caused_by
from shared.logs import get_log
from shared.outbox import ensure_state

log = get_log()


@dataclass(frozen=True)
class PendingFetch:
    """A media item whose image is still to be had."""

    at: ItemAt
    key: PostKey
    url: str


@dataclass(frozen=True)
class Waiting:
    """How many images wait for another try, and for how long the oldest has."""

    count: int
    oldest_s: float


class MatchingStore:
    """The worker's view: all rows."""

    def __init__(self, database: Database, *, attempts_max: int, knowledge: Knowledge | None = None) -> None:
        self._database = database
        self._attempts_max = attempts_max
        self._knowledge = Knowledge() if knowledge is None else knowledge

    async def known_items(self, items: Sequence[ItemAt]) -> set[ItemAt]:
        """Which items have an outcome or a pending fetch."""
        if not items:
            return set()
        events = sorted({item.event_id for item in items})
        async with self._database.transaction() as connection:
            rows = await every(
                connection,
                "select event_id::text, number from media where event_id = any(%s::uuid[])"
                " union select event_id::text, number from pending_fetches where event_id = any(%s::uuid[])",
                (events, events),
            )
        return {ItemAt(row["event_id"], row["number"]) for row in rows} & set(items)

    @asynccontextmanager
    async def posts(self, keys: Sequence[PostKey]) -> AsyncIterator["_Transaction"]:
        """One transaction with the posts' rows locked in key order, so that two workers cannot wait for each other."""
        async with self._database.transaction() as connection:
            for key in sorted(keys):
                await connection.execute(
                    "insert into posts (platform, post_id, livemode) values (%s, %s, %s) on conflict do nothing",
                    (key.platform, key.post_id, key.livemode),
                )
                await connection.execute(
                    "select from posts where platform = %s and post_id = %s and livemode = %s for update",
                    (key.platform, key.post_id, key.livemode),
                )
            yield _Transaction(connection, self._attempts_max, self._knowledge)

    async def claim(self, *, lease_s: float, most: int) -> list[PendingFetch]:
        """Take due fetches for this process; another may take them again when the lease has run out."""
        async with self._database.transaction() as connection:
            rows = await every(
                connection,
                "update pending_fetches set leased_until = now() + make_interval(secs => %s)"
                " where (event_id, number) in (select event_id, number from pending_fetches where next_at <= now()"
                "  and coalesce(leased_until, '-infinity') < now() order by next_at limit %s for update skip locked)"
                " returning *",
                (lease_s, most),
            )
        return [_pending(row) for row in rows]

    async def waiting(self) -> Waiting:
        """What waits for another try."""
        async with self._database.transaction() as connection:
            row = await one(
                connection,
                "select count(*) as count, coalesce(extract(epoch from"
                " clock_timestamp() - (select min(waits_since) from pending_fetches))::float8, 0) as oldest_s"
                " from pending_fetches",
            )
        return Waiting(row["count"], row["oldest_s"]) if row else Waiting(0, 0.0)


class _Transaction:
    def __init__(self, connection: Connection, attempts_max: int, knowledge: Knowledge) -> None:
        self._connection = connection
        self._attempts_max = attempts_max
        self._knowledge = knowledge

    async def add_facts(self, facts: Sequence[PostFact]) -> None:
        for fact in facts:
            added = await self._connection.execute(
                "insert into facts (event_id, platform, post_id, livemode, value) values (%s, %s, %s, %s, %s)"
                " on conflict do nothing",
                (fact.event_id(), fact.platform, fact.post_id, fact.livemode, fact.encode()),
            )
            if added.rowcount == 0:
                await self._learn_again(fact)

    async def _learn_again(self, fact: PostFact) -> None:
        row = await one(self._connection, "select value from facts where event_id = %s", (fact.event_id(),))
        known = _fact(fact.message_key().encode(), bytes(row["value"])) if row else None
        merged = fact if known is None else told_again(known, fact)
        if merged != known:
            await self._connection.execute(
                "update facts set value = %s where event_id = %s", (merged.encode(), fact.event_id())
            )

    async def add_outcome(self, at: ItemAt, key: PostKey, url: str | None, outcome: MediaOutcome) -> None:
        if isinstance(outcome, Later):
            waits = await self._wait(at, key, url, outcome)
            if waits:
                return
            outcome = Unusable("unfetchable", outcome.reason)
        digest, reason, name = None, None, "unmatched"
        if isinstance(outcome, Searched):
            digest = outcome.digest
            name = "matched" if outcome.seen else "unmatched"
            if outcome.query is not None:
                livemode = key.livemode
                await keep_query(self._connection, digest, outcome.query, self._knowledge, livemode=livemode)
            await self._add_seen(outcome.seen, livemode=key.livemode)
        else:
            reason, name = outcome.reason, outcome.outcome
        added = await one(
            self._connection,
            # An image that another worker found after all replaces its "unfetchable"; nothing else is replaced.
            "insert into media (event_id, number, platform, post_id, livemode, outcome, digest, reason)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (event_id, number) do update"
            " set outcome = excluded.outcome, digest = excluded.digest, reason = excluded.reason,"
            " known_at = excluded.known_at"
            " where media.outcome = 'unfetchable' and excluded.digest is not null returning outcome",
            (at.event_id, at.number, key.platform, key.post_id, key.livemode, name, digest, reason),
        )
        await self._connection.execute(
            "delete from pending_fetches where event_id = %s and number = %s", (at.event_id, at.number)
        )
        if added is not None:
            MEDIA.labels(name).inc()

    async def _wait(self, at: ItemAt, key: PostKey, url: str | None, outcome: Later) -> bool:
        place = (at.event_id, at.number)
        known = await one(self._connection, "select outcome from media where event_id = %s and number = %s", place)
        if known is not None:
            # Another worker, whose lease had not run out, knows the outcome already.
            return True
        known = await one(
            self._connection,
            "select attempts from pending_fetches where event_id = %s and number = %s for update",
            place,
        )
        attempts = (known["attempts"] if known else 0) + (1 if outcome.asked else 0)
        pause = next_try(attempts, self._attempts_max)
        if pause is None:
            return False
        await self._connection.execute(
            "insert into pending_fetches"
            " (event_id, number, platform, post_id, livemode, url, attempts, next_at, reason)"
            " values (%s, %s, %s, %s, %s, %s, %s, now() + %s, %s) on conflict (event_id, number) do update"
            " set attempts = excluded.attempts, next_at = excluded.next_at, reason = excluded.reason,"
            " leased_until = null",
            (at.event_id, at.number, key.platform, key.post_id, key.livemode, url, attempts, pause, outcome.reason),
        )
        return True

    async def _add_seen(self, several: Sequence[Seen], *, livemode: bool) -> None:
        # In the order of their references, and images in the order of their digests (the handler's part): two workers
        # that see the same images in different posts cannot wait for each other.
        for seen in sorted(several, key=lambda each: each.reference_id):
            # The first sighting stays: a newer algorithm neither renames nor replaces it.
            made = await self._connection.execute(
                "insert into sightings (media_digest, reference_id, livemode, twin_id, agency_id, found)"
                " values (%s, %s, %s, %s, (select agency_id from reference_owners where reference_id = %s), %s)"
                " on conflict do nothing",
                (
                    seen.media_digest,
                    seen.reference_id,
                    livemode,
                    seen.twin_id,
                    seen.reference_id,
                    Jsonb(_found(seen)),
                ),
            )
            SIGHTINGS.inc(made.rowcount)

    async def add_late(self, seen: Sequence[Seen], keys: Sequence[PostKey]) -> None:
        await self._add_seen(seen, livemode=keys[0].livemode)
        digests = sorted({each.media_digest for each in seen})
        for key in keys:
            await self._connection.execute(
                "update media set outcome = 'matched' where platform = %s and post_id = %s and livemode = %s"
                " and digest = any(%s) and outcome = 'unmatched'",
                (key.platform, key.post_id, key.livemode, digests),
            )
        for digest in digests:
            await self._connection.execute(
                "insert into missing_evidence (media_digest) values (%s) on conflict do nothing", (digest,)
            )

    async def facts_of(self, key: PostKey) -> Sequence[PostFact]:
        rows = await every(
            self._connection,
            "select value from facts where platform = %s and post_id = %s and livemode = %s",
            (key.platform, key.post_id, key.livemode),
        )
        name = f"{key.platform}:{key.post_id}".encode()
        return [fact for row in rows if (fact := _fact(name, bytes(row["value"]))) is not None]

    async def digests_of(self, key: PostKey) -> Digests:
        rows = await every(
            self._connection,
            "select event_id, number, digest from media where platform = %s and post_id = %s and livemode = %s"
            " order by event_id, number",
            (key.platform, key.post_id, key.livemode),
        )
        return digests_in(rows)

    async def seen_in(self, digests: Sequence[str], *, livemode: bool) -> Mapping[str, Sequence[Seen]]:
        rows = await every(
            self._connection,
            "select * from sightings where media_digest = any(%s) and livemode = %s order by reference_id",
            (list(digests), livemode),
        )
        return seen_of(rows)

    async def publish(self, use: UseSeen) -> bool:
        with caused_by(f"{use.platform}:{use.post_id}"):
            state = await ensure_state(
                self._connection, lambda revision: use.model_copy(update={"revision": revision}), bulk=use.backfill
            )
        return state is not None


def digests_in(media: Sequence[DictRow]) -> Digests:
    """The digests in rows of `media`, which come in the order of their numbers."""
    digests: dict[str, list[str | None]] = {}
    for row in media:
        several = digests.setdefault(str(row["event_id"]), [])
        several += [None] * (row["number"] - len(several)) + [row["digest"]]
    return digests


def seen_of(sightings: Sequence[DictRow]) -> Mapping[str, Sequence[Seen]]:
    """What rows of `sightings` say was found in images, by their digest."""
    seen: dict[str, list[Seen]] = {}
    for row in sightings:
        seen.setdefault(row["media_digest"], []).append(_seen(row))
    return seen


_FOUND = ("score", "region", "transform", "description", "algorithm", "covered_share")


def _found(seen: Seen) -> dict[str, object]:
    disclosed = None if seen.disclosure is None else seen.disclosure.model_dump(mode="json")
    return {**{name: getattr(seen, name) for name in _FOUND}, "disclosure": disclosed}


def _fact(name: bytes, value: bytes) -> PostFact | None:
    try:
        event = read_event(PostFact.topic.name, name, value)
    except Unreadable as error:
        # The post goes on with its other facts: one bad row must not condemn every fact that comes after it.
        FACTS_UNREADABLE.inc()
        log.error("stored_fact_unreadable", message_key=name.decode("utf-8", "replace"), error=str(error))
        return None
    return event if isinstance(event, PostFact) else None


def _seen(row: DictRow) -> Seen:
    found = row["found"]
    return Seen(
        reference_id=row["reference_id"],
        twin_id=row["twin_id"],
        media_digest=row["media_digest"],
        score=found["score"],
        region=tuple(found["region"]),
        transform=tuple(tuple(line) for line in found["transform"]),  # type: ignore[arg-type]
        description=found["description"],
        algorithm=found["algorithm"],
        # Rows from before these were kept have neither.
        disclosure=disclosure_of(found.get("disclosure")),
        covered_share=found.get("covered_share"),
    )


def _pending(row: DictRow) -> PendingFetch:
    key = PostKey(row["platform"], row["post_id"], row["livemode"])
    return PendingFetch(ItemAt(str(row["event_id"]), row["number"]), key, row["url"])

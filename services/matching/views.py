"""What requests read: whose images a caller may see, and everything that matching knows of one post."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg.rows import DictRow

from services.matching.domain import Digests, Post, PostKey, Version, fold, uses_of
from services.matching.media import disclosure_of
from services.matching.store import digests_in, seen_of
from shared.access import Caller
from shared.database import Connection, Database, every, one
from shared.events import Disclosure, MediaItem, PostFact, PostMeasured, Unreadable, read_event
from shared.events.topics import SIGHTINGS
from shared.values import Value

ItemState = Literal["matched", "unmatched", "undecodable", "unfetchable", "pending", "unknown"]


class FactView(Value):
    """A fact as it was taken in; `stored_at` is null where it was not written down yet."""

    event_id: str
    kind: str
    occurred_at: datetime
    stored_at: datetime | None
    backfill: bool
    time_doubtful: bool
    impressions: int | None


class SightingView(Value):
    """A reference recognised in an image."""

    reference_id: str
    twin_id: str
    score: float
    description: str
    algorithm: str
    disclosure: Disclosure | None = None


class ItemView(Value):
    """A media item of a version and what became of it; `unknown`: nothing yet."""

    number: int
    url: str | None
    upload_sha256: str | None
    state: ItemState
    digest: str | None = None
    reason: str | None = None
    known_at: datetime | None = None
    attempts: int | None = None
    waits_since: datetime | None = None
    next_try_at: datetime | None = None
    sightings: tuple[SightingView, ...] = ()


class VersionView(Value):
    """A post as one of its facts shows it."""

    event_id: str
    shown_from: datetime
    shown_until: datetime | None
    account: str
    media: tuple[ItemView, ...]


class SentState(Value):
    """A state of a use in the outbox, which keeps what was sent for a day."""

    event_id: str
    stored_at: datetime
    sent_at: datetime | None


class UseOfPost(Value):
    """A twin in the post, and how far its state was published; revision 0 is none."""

    use_id: str
    twin_id: str
    started_at: datetime
    ended_at: datetime | None
    revision: int
    states: tuple[SentState, ...]


class PostTrace(Value):
    """Everything that matching knows of one post."""

    platform: str
    post_id: str
    livemode: bool
    facts: tuple[FactView, ...]
    unreadable_facts: tuple[str, ...]
    versions: tuple[VersionView, ...]
    uses: tuple[UseOfPost, ...]


class MediaViews:
    """The API's view: whose images a caller may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def may_see(self, caller: Caller, digest: str) -> bool:
        """Does this image show a twin of the caller's? Row-level security decides."""
        async with self._database.transaction(caller) as connection:
            row = await one(
                connection,
                "select from sightings where media_digest = %s and livemode = %s limit 1",
                (digest, caller.livemode),
            )
        return row is not None


class PostViews:
    """The operator's view of posts: row-level security shows the facts to nobody else."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def post(self, caller: Caller, platform: str, post_id: str) -> PostTrace | None:
        """A post of the caller's mode; None when no fact of it is stored."""
        async with self._database.transaction(caller) as connection:
            return await _traced(connection, PostKey(platform, post_id, caller.livemode))

    async def post_of(self, caller: Caller, event_id: UUID) -> PostTrace | None:
        """The post that a fact is about; None when there is no such fact."""
        async with self._database.transaction(caller) as connection:
            row = await one(
                connection,
                "select platform, post_id from facts where event_id = %s and livemode = %s",
                (event_id, caller.livemode),
            )
        return None if row is None else await self.post(caller, row["platform"], row["post_id"])


async def _traced(connection: Connection, key: PostKey) -> PostTrace | None:
    stored = await _of_post(connection, "facts", key)
    if not stored:
        return None
    read = {str(row["event_id"]): _fact(key, row) for row in stored}
    facts = [fact for fact in read.values() if fact is not None]
    media = sorted(await _of_post(connection, "media", key), key=lambda row: row["number"])
    pending = await _of_post(connection, "pending_fetches", key)
    digests = sorted({row["digest"] for row in media if row["digest"]})
    sightings = await every(
        connection,
        "select * from sightings where media_digest = any(%s) and livemode = %s order by reference_id",
        (digests, key.livemode),
    )
    post = fold(facts) if facts else None
    items = {(str(row["event_id"]), row["number"]): row for row in (*pending, *media)}
    return PostTrace(
        platform=key.platform,
        post_id=key.post_id,
        livemode=key.livemode,
        facts=tuple(_fact_view(read[str(row["event_id"])], row) for row in stored if read[str(row["event_id"])]),
        unreadable_facts=tuple(name for name, fact in read.items() if fact is None),
        versions=tuple(_version(each, items, sightings) for each in post.versions) if post else (),
        uses=await _uses(connection, post, digests_in(media), sightings) if post else (),
    )


async def _of_post(connection: Connection, table: str, key: PostKey) -> list[DictRow]:
    return await every(
        connection,
        f"select * from {table} where platform = %s and post_id = %s and livemode = %s order by event_id",  # noqa: S608
        (key.platform, key.post_id, key.livemode),
    )


async def _uses(
    connection: Connection, post: Post, digests: Digests, sightings: Sequence[DictRow]
) -> tuple[UseOfPost, ...]:
    found = []
    for use in uses_of(post, digests, seen_of(sightings)):
        asked = (SIGHTINGS.name, use.use_id)
        known = await one(
            connection, "select revision from published_states where topic = %s and message_key = %s", asked
        )
        states = await every(
            connection,
            "select event_id::text, stored_at, sent_at from outbox where topic = %s and message_key = %s"
            " order by position",
            asked,
        )
        found.append(
            UseOfPost(
                use_id=use.use_id,
                twin_id=use.twin_id,
                started_at=use.started_at,
                ended_at=use.ended_at,
                revision=known["revision"] if known else 0,
                states=tuple(SentState.model_validate(row) for row in states),
            )
        )
    return tuple(found)


def _fact(key: PostKey, row: DictRow) -> PostFact | None:
    try:
        event = read_event(PostFact.topic.name, f"{key.platform}:{key.post_id}".encode(), bytes(row["value"]))
    except Unreadable:
        return None
    return event if isinstance(event, PostFact) else None


def _fact_view(fact: PostFact | None, row: DictRow) -> FactView:
    assert fact is not None  # noqa: S101 - the caller left the others out
    return FactView(
        event_id=str(row["event_id"]),
        kind=fact.kind,
        occurred_at=fact.occurred_at,
        stored_at=row["stored_at"],
        backfill=fact.backfill,
        time_doubtful=fact.time_doubtful,
        impressions=fact.impressions if isinstance(fact, PostMeasured) else None,
    )


def _version(version: Version, items: Mapping[tuple[str, int], DictRow], sightings: Sequence[DictRow]) -> VersionView:
    return VersionView(
        event_id=version.event_id,
        shown_from=version.shown_from,
        shown_until=version.shown_until,
        account=version.post.account,
        media=tuple(
            _item(number, item, items.get((version.event_id, number)), sightings)
            for number, item in enumerate(version.post.media)
        ),
    )


def _item(number: int, item: MediaItem, row: DictRow | None, sightings: Sequence[DictRow]) -> ItemView:
    known = {} if row is None else row
    digest = known.get("digest")
    return ItemView(
        number=number,
        url=item.url,
        upload_sha256=item.upload_sha256,
        state="unknown" if row is None else row.get("outcome", "pending"),
        digest=digest,
        reason=known.get("reason"),
        known_at=known.get("known_at"),
        attempts=known.get("attempts"),
        waits_since=known.get("waits_since"),
        next_try_at=known.get("next_at"),
        sightings=tuple(
            SightingView(
                reference_id=each["reference_id"],
                twin_id=each["twin_id"],
                **{name: each["found"][name] for name in ("score", "description", "algorithm")},
                disclosure=disclosure_of(each["found"].get("disclosure")),
            )
            for each in sightings
            if each["media_digest"] == digest
        ),
    )

"""Which images showed a twin only later, so that their evidence is still to be had."""

from dataclasses import dataclass

from psycopg.rows import DictRow

from services.matching.media import next_try
from shared.database import Database, every, one
from shared.events import MediaItem, PostEdited, PostFact, PostPublished, Unreadable, read_event

SOURCES_MAX = 5
PAGE = 50


@dataclass(frozen=True)
class Source:
    """Where a published image might be had again."""

    platform: str
    media: MediaItem


class EvidenceStore:
    """The images whose evidence is missing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, *, lease_s: float, most: int) -> list[str]:
        """Digests of images that showed a twin only later and are not kept yet, for this process."""
        async with self._database.transaction() as connection:
            rows = await every(
                connection,
                "update missing_evidence set leased_until = now() + make_interval(secs => %s)"
                " where media_digest in (select media_digest from missing_evidence where gave_up is null"
                "  and next_at <= now() and coalesce(leased_until, '-infinity') < now()"
                "  order by next_at limit %s for update skip locked) returning media_digest",
                (lease_s, most),
            )
        return [row["media_digest"] for row in rows]

    async def sources(self, digest: str) -> list[Source]:
        """The next places where an image was published: after those of the attempts before, in a circle."""
        async with self._database.transaction() as connection:
            rows = await every(
                connection,
                "with places as (select event_id, platform, post_id, number, count(*) over () as count,"
                "  row_number() over (order by event_id, number) - 1 - coalesce((select attempts from missing_evidence"
                "   where media_digest = digest), 0) * %s as place from media where digest = %s)"
                " select places.platform, number, places.post_id, value from places join facts using (event_id)"
                " where mod(mod(place, count) + count, count) < %s order by mod(mod(place, count) + count, count)",
                (SOURCES_MAX, digest, SOURCES_MAX),
            )
        return [source for row in rows if (source := _source(row)) is not None]

    async def found(self, digest: str) -> None:
        """An image lies in the evidence store."""
        async with self._database.transaction() as connection:
            await connection.execute("delete from missing_evidence where media_digest = %s", (digest,))

    async def try_again(self, digest: str, reason: str, attempts_max: int) -> bool:
        """An image was not to be had where it was asked for; returns whether it will be tried again.

        Attempts count from the one that asked the last of its sources: before, none of them was asked twice.
        """
        async with self._database.transaction() as connection:
            row = await one(
                connection,
                "update missing_evidence set attempts = attempts + 1 where media_digest = %s returning attempts,"
                " (select count(*) from media where digest = media_digest) as sources",
                (digest,),
            )
            if row is None:
                # Another worker, whose lease had run out, found it.
                return True
            first_round = max(row["sources"] - 1, 0) // SOURCES_MAX
            pause = next_try(row["attempts"] - first_round, attempts_max)
            await connection.execute(
                "update missing_evidence set leased_until = null, next_at = now() + coalesce(%s, interval '0'),"
                " gave_up = %s where media_digest = %s",
                (pause, None if pause else reason, digest),
            )
        return pause is not None

    async def put_off(self, digest: str, pause_s: float) -> None:
        """Nobody was asked for an image: later, and no attempt is spent."""
        async with self._database.transaction() as connection:
            await connection.execute(
                "update missing_evidence set leased_until = null, next_at = now() + make_interval(secs => %s)"
                " where media_digest = %s",
                (pause_s, digest),
            )

    async def given_up(self, after: str = "") -> list[str]:
        """A page of the images that were given up, in the order of their digests."""
        async with self._database.transaction() as connection:
            rows = await every(
                connection,
                "select media_digest from missing_evidence where gave_up is not null and media_digest > %s"
                " order by media_digest limit %s",
                (after, PAGE),
            )
        return [row["media_digest"] for row in rows]

    async def forget(self, days: int) -> int:
        """Drop images that were given up so long ago: nothing holds their pictures any more. Returns how many."""
        async with self._database.transaction() as connection:
            gone = await connection.execute(
                "delete from missing_evidence where gave_up is not null"
                " and next_at <= now() - make_interval(days => %s)",
                (days,),
            )
        return gone.rowcount


def _source(row: DictRow) -> Source | None:
    try:
        fact = read_event(PostFact.topic.name, f"{row['platform']}:{row['post_id']}".encode(), bytes(row["value"]))
    except Unreadable:
        return None
    if not isinstance(fact, PostPublished | PostEdited):
        return None
    return Source(row["platform"], fact.post.media[row["number"]])

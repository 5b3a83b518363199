"""Which images showed a twin only later, so that their evidence is still to be had."""

from dataclasses import dataclass

from psycopg.rows import DictRow

from services.matching.media import next_try
from shared.database import Database, every, one
from shared.events import MediaItem, PostEdited, PostFact, PostPublished, Unreadable, read_event


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
                "update missing_evidence set leased_until = now() + make_interval(secs => %s), attempts = attempts + 1"
                " where media_digest in (select media_digest from missing_evidence where gave_up is null"
                "  and next_at <= now() and coalesce(leased_until, '-infinity') < now()"
                "  order by next_at limit %s for update skip locked) returning media_digest",
                (lease_s, most),
            )
        return [row["media_digest"] for row in rows]

    async def sources(self, digest: str, most: int) -> list[Source]:
        """Where an image was published, by the media items that carry it."""
        async with self._database.transaction() as connection:
            rows = await every(
                connection,
                "select media.platform, media.number, media.post_id, facts.value"
                " from media join facts using (event_id) where digest = %s order by event_id, number limit %s",
                (digest, most),
            )
        return [source for row in rows if (source := _source(row)) is not None]

    async def found(self, digest: str) -> None:
        """An image lies in the evidence store."""
        async with self._database.transaction() as connection:
            await connection.execute("delete from missing_evidence where media_digest = %s", (digest,))

    async def try_again(self, digest: str, reason: str, attempts_max: int) -> bool:
        """An image was not to be had; returns whether it will be tried again."""
        async with self._database.transaction() as connection:
            row = await one(
                connection, "select attempts from missing_evidence where media_digest = %s for update", (digest,)
            )
            pause = next_try(row["attempts"], attempts_max) if row else None
            await connection.execute(
                "update missing_evidence set leased_until = null, next_at = now() + coalesce(%s, interval '0'),"
                " gave_up = %s where media_digest = %s",
                (pause, None if pause else reason, digest),
            )
        return pause is not None


def _source(row: DictRow) -> Source | None:
    try:
        fact = read_event(PostFact.topic.name, f"{row['platform']}:{row['post_id']}".encode(), bytes(row["value"]))
    except Unreadable:
        return None
    if not isinstance(fact, PostPublished | PostEdited):
        return None
    return Source(row["platform"], fact.post.media[row["number"]])

"""Late searches over the stored queries, as the worker takes them up (what makes them: addition_store.py)."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from psycopg.rows import DictRow

from services.matching.additions import Knowledge
from services.matching.domain import PostKey
from services.matching.media import next_try, storable
from shared.database import Connection, Database, every, one

PURGED_AT_ONCE = 500
LOOKED_AT_ONCE = 1000


@dataclass(frozen=True)
class Job:
    """Late searches of one claim: references that are searched among the queries of a range, side by side."""

    claim: str
    livemode: bool
    next_number: int
    last_number: int
    revisions: Mapping[str, int]
    # Of each reference; of none when the range is one query that is worth the whole search at once.
    fingerprints: Mapping[str, bytes]
    # How often these have failed.
    attempts: int = 0


@dataclass(frozen=True)
class StoredQuery:
    """A published image that was searched; its fingerprint and disclosure as they are stored, not read yet."""

    number: int
    media_digest: str
    fingerprint: bytes
    disclosure: object = None


@dataclass(frozen=True)
class LateWaiting:
    """Late searches that are not at their end, for how long the oldest has waited, and those that were given up."""

    count: int
    oldest_s: float
    given_up: int


def _stored_query(row: DictRow) -> StoredQuery:
    return StoredQuery(row["number"], row["media_digest"], bytes(row["fingerprint"]), row["disclosure"])


class LateStore:
    """Late searches and query fingerprints, as the worker takes them up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, knowledge: Knowledge, *, lease_s: float, most: int) -> Job | None:
        """Take the late searches over one range that have waited longest, of references that the index knows.

        Nobody else takes them before the lease has run out.
        """
        async with self._database.transaction() as connection:
            together = await _known_together(connection, knowledge)
            claim = str(uuid.uuid4())
            taken = await every(
                connection,
                "update late_searches set claim = %s, leased_until = now() + make_interval(secs => %s) where job in"  # noqa: S608
                f" (select job from late_searches where job = any(%s) and {_FREE}"
                "  order by job for update skip locked) returning *",
                (claim, lease_s, together[:most]),
            )
        return _job(claim, taken)

    async def page(self, job: Job, most: int) -> list[StoredQuery]:
        """The next queries of the range, in their order."""
        async with self._database.transaction() as connection:
            rows = await every(
                connection,
                "select number, media_digest, fingerprint, disclosure from queries"
                " where livemode = %s and number between %s and %s order by number limit %s",
                (job.livemode, job.next_number, job.last_number, most),
            )
        return [_stored_query(row) for row in rows]

    async def advance(self, job: Job, next_number: int, *, lease_s: float) -> Job | None:
        """Note how far a claim has come, and hold it on.

        Returns what is still held of it: not what was withdrawn, nor what another worker has taken over.
        """
        async with self._database.transaction() as connection:
            rows = await every(
                connection,
                "update late_searches set next_number = %s, leased_until = now() + make_interval(secs => %s)"  # noqa: S608
                f" where job in ({_HELD}) returning *",
                (next_number, lease_s, job.claim, list(job.revisions)),
            )
        return _job(job.claim, rows)

    async def finish(self, job: Job) -> None:
        """A claim has come to the end of its range."""
        async with self._database.transaction() as connection:
            await connection.execute(
                f"delete from late_searches where job in ({_HELD})",  # noqa: S608
                (job.claim, list(job.revisions)),
            )

    async def put_aside(
        self, job: Job, number: int, references: Collection[str], reason: str, *, attempts_max: int
    ) -> bool:
        """One query failed for these references of a claim: it is a late search of its own from now on.

        Returns whether it will be tried again; else it stays as it is until somebody releases it.
        """
        pause = next_try(job.attempts + 1, attempts_max)
        async with self._database.transaction() as connection:
            await connection.execute(
                "insert into late_searches (reference_id, revision, livemode, next_number, last_number, waits_since,"
                " attempts, leased_until, reason, given_up)"
                " select reference_id, revision, livemode, %(number)s, %(number)s, waits_since, %(attempts)s,"
                " now() + %(pause)s::interval, %(reason)s, %(pause)s::interval is null"
                " from late_searches where claim = %(claim)s and reference_id = any(%(references)s)",
                {
                    "number": number,
                    "attempts": job.attempts + 1,
                    "pause": pause,
                    "reason": storable(reason),
                    "claim": job.claim,
                    "references": sorted(references),
                },
            )
        return pause is not None

    async def posts_with(self, digest: str, *, livemode: bool) -> list[PostKey]:
        """The posts of a mode that carry an image."""
        async with self._database.transaction() as connection:
            rows = await every(
                connection,
                "select distinct platform, post_id, livemode from media where digest = %s and livemode = %s",
                (digest, livemode),
            )
        return sorted(PostKey(**row) for row in rows)

    async def waiting(self) -> LateWaiting:
        """What is not at its end."""
        async with self._database.transaction() as connection:
            row = await one(
                connection,
                "select count(*) filter (where not given_up) as count, count(*) filter (where given_up) as given_up,"
                " coalesce(extract(epoch from clock_timestamp()"
                "  - min(waits_since) filter (where not given_up))::float8, 0) as oldest_s from late_searches",
            )
        return LateWaiting(row["count"], row["oldest_s"], row["given_up"]) if row else LateWaiting(0, 0.0, 0)

    async def purge(self, days: int) -> int:
        """Drop some of the queries that were last searched so long ago; returns how many, 0 when none is left.

        Kept is the picture of an image that showed a twin after all and is nowhere else to be had.
        """
        async with self._database.transaction() as connection:
            gone = await connection.execute(
                "delete from queries where number in (select number from queries where searched_at <="
                " clock_timestamp() - make_interval(days => %s) and not exists (select from missing_evidence"
                "  where missing_evidence.media_digest = queries.media_digest) order by searched_at limit %s"
                # One that is being published again is as young as that, and stays.
                "  for update skip locked)",
                (days, PURGED_AT_ONCE),
            )
            # A reference that no worker can read any more must not wait for ever, but for all images of these days.
            # Locked before the images are looked at: none that widens a search comes in between.
            old = await every(
                connection,
                "select job from late_searches where waits_since <= clock_timestamp() - make_interval(days => %s)"
                " for update skip locked",
                (days,),
            )
            await connection.execute(
                "delete from late_searches where job = any(%s)"
                " and not exists (select from queries where queries.livemode = late_searches.livemode and number"
                "  between next_number and last_number"
                "  and searched_at > clock_timestamp() - make_interval(days => %s))",
                ([row["job"] for row in old], days),
            )
        return gone.rowcount


# What is being withdrawn is left alone, so nobody waits; should that be undone, it is taken up from where it was last
# held, which is why a job never gets back what it did not hold once.
_HELD = "select job from late_searches where claim = %s and reference_id = any(%s) for update skip locked"
_FREE = "not given_up and coalesce(leased_until, '-infinity') < now()"


async def _known_together(connection: Connection, knowledge: Knowledge) -> list[int]:
    """The jobs over one range that have waited longest, of references that the index knows."""
    unknown: set[str] = set()
    passed, most = 0, LOOKED_AT_ONCE
    while True:
        rows = await every(
            connection,
            "select job, reference_id, revision, livemode, next_number, last_number, attempts from late_searches"  # noqa: S608
            f" where job > %s and reference_id <> all(%s) and {_FREE} order by job limit %s",
            (passed, list(unknown), most),
        )
        # What no index knows must not hold up what waits behind it.
        known = [row for row in rows if knowledge.revision(row["reference_id"]) >= row["revision"]]
        if known or len(rows) < most:
            return [row["job"] for row in known if _place(row) == _place(known[0])]
        unknown |= {row["reference_id"] for row in rows}
        passed, most = rows[-1]["job"], most * 10


def _place(row: DictRow) -> tuple[bool, int, int, int]:
    return row["livemode"], row["next_number"], row["last_number"], row["attempts"]


def _job(claim: str, rows: Sequence[DictRow]) -> Job | None:
    if not rows:
        return None
    livemode = rows[0]["livemode"]
    next_number, last_number = min(row["next_number"] for row in rows), max(row["last_number"] for row in rows)
    revisions = {row["reference_id"]: row["revision"] for row in rows}
    prints = {row["reference_id"]: bytes(row["fingerprint"]) for row in rows if row["fingerprint"] is not None}
    if len(prints) < len(revisions):
        prints = {}
    return Job(claim, livemode, next_number, last_number, revisions, prints, max(row["attempts"] for row in rows))

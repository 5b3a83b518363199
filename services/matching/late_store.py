"""Fingerprints of queries, additions of references, and the late searches between them (why: see additions.py)."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from services.matching.additions import Addition, Knowledge
from services.matching.domain import PostKey
from services.matching.media import Query
from shared.database import Connection, Database, every, one
from shared.events import Disclosure, ReferenceState, decoded_bytes

_LOCK = "hashtextextended('matching:additions', 0)"
LOCK_SHARED = f"select pg_advisory_xact_lock_shared({_LOCK})"
LOCK_EXCLUSIVELY = f"select pg_advisory_xact_lock({_LOCK})"

PURGED_AT_ONCE = 500


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


@dataclass(frozen=True)
class StoredQuery:
    """A published image that was searched."""

    number: int
    media_digest: str
    fingerprint: bytes
    disclosure: Disclosure | None = None


@dataclass(frozen=True)
class LateWaiting:
    """Late searches that are not at their end, and for how long the oldest has waited."""

    count: int
    oldest_s: float


async def owned(database: Database) -> dict[str, int]:
    """The revision of every reference that is stored with its owner."""
    async with database.transaction() as connection:
        rows = await every(connection, "select reference_id, revision from reference_owners", ())
    return {row["reference_id"]: row["revision"] for row in rows}


async def announce(connection: Connection, states: Sequence[ReferenceState], gone: Mapping[str, int]) -> None:
    """Store who owns references and which may be found, each revision once, with the late search of what is new.

    gone: references that may be found no more, with the last revision that is known of them.
    """
    # In the order of their ids: two workers that learn the same references cannot wait for each other.
    ordered = sorted(states, key=lambda state: state.reference_id)
    rows = await every(
        connection,
        "select reference_id, revision from reference_owners where reference_id = any(%s)",
        ([state.reference_id for state in ordered],),
    )
    known = {row["reference_id"]: row["revision"] for row in rows}
    fresh = [state for state in ordered if state.revision > known.get(state.reference_id, 0)]
    if fresh:
        await connection.execute(LOCK_EXCLUSIVELY)
    for state in fresh:
        if state.reference_id in known:
            # An older revision need not be searched any more; another worker may have added this one by now.
            await connection.execute(
                "delete from late_searches where reference_id = %s and revision < %s",
                (state.reference_id, state.revision),
            )
        await _add(connection, state)
    withdrawn = {state.reference_id: state.revision for state in ordered if state.status != "active"}
    for reference_id, revision in sorted({**gone, **withdrawn}.items()):
        await _withdraw(connection, reference_id, revision)


async def _add(connection: Connection, state: ReferenceState) -> None:
    added = await one(
        connection,
        "insert into reference_owners (reference_id, twin_id, agency_id, revision, livemode, addition)"
        " values (%s, %s, %s, %s, %s, nextval('reference_additions')) on conflict (reference_id) do update"
        " set agency_id = excluded.agency_id, revision = excluded.revision, livemode = excluded.livemode,"
        " addition = excluded.addition where reference_owners.revision < excluded.revision returning addition",
        (state.reference_id, state.twin_id, state.agency_id, state.revision, state.livemode),
    )
    if added is None or state.status != "active":
        return
    # Without a stored query there is nothing to search.
    await connection.execute(
        "insert into late_searches (reference_id, revision, livemode, fingerprint, next_number, last_number)"
        " select %s, %s, %s, %s, 0, number from queries where livemode = %s order by number desc limit 1",
        (
            state.reference_id,
            state.revision,
            state.livemode,
            decoded_bytes(state.fingerprint),
            state.livemode,
        ),
    )


async def _withdraw(connection: Connection, reference_id: str, revision: int) -> None:
    # Not what a newer revision added: a worker that starts reads old states again.
    place = (reference_id, revision)
    await connection.execute(
        "update reference_owners set addition = null"
        " where reference_id = %s and revision <= %s and addition is not null",
        place,
    )
    await connection.execute("delete from late_searches where reference_id = %s and revision <= %s", place)


async def keep_query(
    connection: Connection, digest: str, query: Query, knowledge: Knowledge, *, livemode: bool
) -> None:
    """Store the fingerprint of an image that was searched, and late searches of the additions that its search missed.

    In the transaction that stores the outcome.
    """
    await connection.execute(LOCK_SHARED)
    kept = await one(
        connection,
        "insert into queries (media_digest, livemode, fingerprint, disclosure) values (%s, %s, %s, %s)"
        " on conflict (media_digest, livemode) do update set searched_at = excluded.searched_at returning number",
        (digest, livemode, query.fingerprint, _disclosed(query.disclosure)),
    )
    rows = await every(
        connection,
        "select addition as number, reference_id, revision, livemode from reference_owners where addition > %s"
        " order by addition",
        (query.knew.whole_to,),
    )
    number = kept["number"] if kept else 0
    lacked = knowledge.lacked([Addition(**row) for row in rows], query.knew)
    for addition in (each for each in lacked if each.livemode == livemode):
        await connection.execute(
            "insert into late_searches (reference_id, revision, livemode, next_number, last_number)"
            " values (%s, %s, %s, %s, %s)",
            (addition.reference_id, addition.revision, livemode, number, number),
        )


def disclosure_of(stored: object) -> Disclosure | None:
    """What a file disclosed, from the JSON that is kept of it; None when the file was not asked."""
    return None if stored is None else Disclosure.model_validate(stored)


def _disclosed(disclosure: Disclosure | None) -> Jsonb | None:
    return None if disclosure is None else Jsonb(disclosure.model_dump(mode="json"))


def _stored_query(row: DictRow) -> StoredQuery:
    return StoredQuery(row["number"], row["media_digest"], bytes(row["fingerprint"]), disclosure_of(row["disclosure"]))


class LateStore:
    """Late searches and query fingerprints, as the worker takes them up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, knowledge: Knowledge, *, lease_s: float, most: int) -> Job | None:
        """Take the late searches over one range that have waited longest, of references that the index knows.

        Nobody else takes them before the lease has run out.
        """
        async with self._database.transaction() as connection:
            # What no index knows must not hold up what waits behind it.
            waiting = await every(connection, "select reference_id, max(revision) from late_searches group by 1")
            known = [row["reference_id"] for row in waiting if knowledge.revision(row["reference_id"]) >= row["max"]]
            rows = await every(
                connection,
                "select job, livemode, next_number, last_number from late_searches where reference_id = any(%s)"
                " and coalesce(leased_until, '-infinity') < now() order by job limit 1000",
                (known,),
            )
            together = [row["job"] for row in rows if _range(row) == _range(rows[0])][:most]
            claim = str(uuid.uuid4())
            taken = await every(
                connection,
                "update late_searches set claim = %s, leased_until = now() + make_interval(secs => %s) where job in"
                " (select job from late_searches where job = any(%s) and coalesce(leased_until, '-infinity') < now()"
                "  order by job for update skip locked) returning *",
                (claim, lease_s, together),
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
                "update late_searches set next_number = %s, leased_until = now() + make_interval(secs => %s)"
                " where claim = %s returning *",
                (next_number, lease_s, job.claim),
            )
        return _job(job.claim, rows)

    async def finish(self, job: Job) -> None:
        """A claim has come to the end of its range."""
        async with self._database.transaction() as connection:
            await connection.execute("delete from late_searches where claim = %s", (job.claim,))

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
                "select count(*) as count, coalesce(extract(epoch from"
                " clock_timestamp() - min(waits_since))::float8, 0) as oldest_s from late_searches",
            )
        return LateWaiting(row["count"], row["oldest_s"]) if row else LateWaiting(0, 0.0)

    async def purge(self, days: int) -> int:
        """Drop some of the queries that were last searched so long ago; returns how many, 0 when none is left.

        Kept is the picture of an image that showed a twin after all and is nowhere else to be had.
        """
        async with self._database.transaction() as connection:
            gone = await connection.execute(
                "delete from queries where number in (select number from queries where searched_at <="
                " clock_timestamp() - make_interval(days => %s) and not exists (select from missing_evidence"
                "  where missing_evidence.media_digest = queries.media_digest) order by searched_at limit %s)",
                (days, PURGED_AT_ONCE),
            )
            # A reference that no worker can read any more must not wait for ever.
            await connection.execute(
                "delete from late_searches where waits_since <= clock_timestamp() - make_interval(days => %s)", (days,)
            )
        return gone.rowcount


def _range(row: DictRow) -> tuple[bool, int, int]:
    return row["livemode"], row["next_number"], row["last_number"]


def _job(claim: str, rows: Sequence[DictRow]) -> Job | None:
    if not rows:
        return None
    livemode = rows[0]["livemode"]
    next_number, last_number = min(row["next_number"] for row in rows), max(row["last_number"] for row in rows)
    revisions = {row["reference_id"]: row["revision"] for row in rows}
    prints = {row["reference_id"]: bytes(row["fingerprint"]) for row in rows if row["fingerprint"] is not None}
    return Job(claim, livemode, next_number, last_number, revisions, prints if len(prints) == len(revisions) else {})

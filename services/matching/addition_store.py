"""Additions of references, and what an outcome asks of them (why: see additions.py)."""

from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb

from services.matching.additions import Addition, Knowledge
from services.matching.media import Query
from shared.database import Connection, Database, every, one
from shared.events import Disclosure, ReferenceState, decoded_bytes

_LOCK = "hashtextextended('matching:additions', 0)"
LOCK_SHARED = f"select pg_advisory_xact_lock_shared({_LOCK})"
LOCK_EXCLUSIVELY = f"select pg_advisory_xact_lock({_LOCK})"

_ADDITIONS = "select addition as number, reference_id, revision, livemode from reference_owners"

# A search that nobody has claimed yet is widened to another image: a reference that no worker knows for days has as
# many rows as there are transactions at a time, whatever the number of images. What another one holds at this moment is
# left to it, so nobody waits.
_SEARCH_LATE = """
    with lacked as (
        select * from unnest(%(references)s::text[], %(revisions)s::integer[]) as lacked (reference_id, revision)
    ), unclaimed as (
        select lacked.reference_id, lacked.revision, search.job from lacked cross join lateral (
            select job from late_searches
            where reference_id = lacked.reference_id and revision = lacked.revision and claim is null and attempts = 0
            order by job limit 1 for update skip locked
        ) as search
    ), widened as (
        update late_searches
        set next_number = least(next_number, %(number)s), last_number = greatest(last_number, %(number)s)
        where job in (select job from unclaimed) and not %(number)s between next_number and last_number
    )
    insert into late_searches (reference_id, revision, livemode, next_number, last_number)
    select reference_id, revision, %(livemode)s, %(number)s, %(number)s from lacked
    where (reference_id, revision) not in (select reference_id, revision from unclaimed)
"""


async def owned(database: Database) -> dict[str, int]:
    """The revision of every reference that is stored with its owner."""
    async with database.transaction() as connection:
        rows = await every(connection, "select reference_id, revision from reference_owners", ())
    return {row["reference_id"]: row["revision"] for row in rows}


async def additions_above(database: Database, number: int, most: int) -> list[Addition]:
    """The next additions, by their numbers; none of a lower number will ever be stored."""
    async with database.transaction() as connection:
        await connection.execute(LOCK_SHARED)
        rows = await every(connection, f"{_ADDITIONS} where addition > %s order by addition limit %s", (number, most))
    return [Addition(**row) for row in rows]


async def announce(connection: Connection, states: Sequence[ReferenceState], gone: Mapping[str, int]) -> None:
    """Store who owns references and which may be found, each revision once, with the late search of what is new.

    gone: references that may be found no more, with the last revision that is known of them.
    """
    rows = await every(
        connection,
        "select reference_id, revision from reference_owners where reference_id = any(%s)",
        ([state.reference_id for state in states],),
    )
    known = {row["reference_id"]: row["revision"] for row in rows}
    fresh = {state.reference_id: state for state in states if state.revision > known.get(state.reference_id, 0)}
    if fresh:
        await connection.execute(LOCK_EXCLUSIVELY)
    ended = {**gone, **{state.reference_id: state.revision for state in states if state.status != "active"}}
    # In the order of their ids, and of each its owner first: two workers that learn the same references cannot wait
    # for each other.
    for reference_id in sorted({*fresh, *ended}):
        if reference_id in fresh:
            await _add(connection, fresh[reference_id])
        if reference_id in ended:
            await _withdraw(connection, reference_id, ended[reference_id])


async def _add(connection: Connection, state: ReferenceState) -> None:
    added = await one(
        connection,
        "insert into reference_owners (reference_id, twin_id, agency_id, revision, livemode, addition)"
        " values (%s, %s, %s, %s, %s, nextval('reference_additions')) on conflict (reference_id) do update"
        " set agency_id = excluded.agency_id, revision = excluded.revision, livemode = excluded.livemode,"
        " addition = excluded.addition where reference_owners.revision < excluded.revision returning addition",
        (state.reference_id, state.twin_id, state.agency_id, state.revision, state.livemode),
    )
    if added is None:
        # Another worker has added this one by now, or a newer one.
        return
    # An older revision need not be searched any more.
    await connection.execute(
        "delete from late_searches where reference_id = %s and revision < %s", (state.reference_id, state.revision)
    )
    if state.status != "active":
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
        f"{_ADDITIONS} where addition > %s or (addition is not null and reference_id = any(%s)) order by addition",
        (query.knew.known_to, list(query.knew.gaps)),
    )
    lacked = knowledge.lacked([Addition(**row) for row in rows], query.knew)
    mine = [addition for addition in lacked if addition.livemode == livemode]
    if kept and mine:
        await connection.execute(
            _SEARCH_LATE,
            {
                "references": [addition.reference_id for addition in mine],
                "revisions": [addition.revision for addition in mine],
                "number": kept["number"],
                "livemode": livemode,
            },
        )


def _disclosed(disclosure: Disclosure | None) -> Jsonb | None:
    return None if disclosure is None else Jsonb(disclosure.model_dump(mode="json"))

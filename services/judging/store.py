"""Judging's schema as the worker uses it: uses, verdicts, and what must be judged again."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from services.judging.domain import Licensed, OutOfScope, Verdict, accounts_of
from services.judging.lookups import account_keys, lookup_in
from services.judging.names import name_of
from services.judging.publishing import Conclusion, HeldUse, Knowledge, Published
from shared.database import Connection, Database, every, one
from shared.events import (
    BrandState,
    ConsentState,
    InfringementState,
    LicenseState,
    StateEvent,
    TwinState,
    UsageState,
    UseSeen,
)
from shared.kafka.spans import caused_by
from shared.outbox import ensure_state

# Held shared by who judges and exclusively by who changes lookup data (promise 4).
LOCK = "hashtextextended('judging:lookups', 0)"
POSTPONED = "1 minute"


@dataclass(frozen=True)
class Backlog:
    """What waits in the schema."""

    changed: int
    awaiting_fresh: int
    unreadable: tuple[str, ...]


class JudgingStore:
    """The worker's view: all rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def judging(self) -> AsyncIterator["_Room"]:
        """A transaction during which no lookup data changes."""
        async with self._database.transaction() as connection:
            await connection.execute(f"select pg_advisory_xact_lock_shared({LOCK})")
            yield _Room(connection)

    async def postpone(self, use_id: str) -> None:
        """Judge this use again later: it failed for its own reason."""
        async with self._database.transaction() as connection:
            await connection.execute(
                "insert into to_judge (use_id, bulk, attempts, not_before) values (%s, true, 1, now() + %s::interval)"
                " on conflict (use_id) do update"
                " set attempts = to_judge.attempts + 1, not_before = excluded.not_before",
                (use_id, POSTPONED),
            )

    async def backlog(self) -> Backlog:
        """What waits, for metrics and readiness."""
        async with self._database.transaction() as connection:
            counts = await one(
                connection,
                "select (select count(*) from to_judge) as changed,"
                " (select count(*) from uses where awaiting_fresh) as awaiting",
            )
            rows = await every(
                connection,
                "select topic, message_key from unreadable_lookups where dropped_by is null"
                " order by topic, message_key",
            )
        names = tuple(f"{row['topic']} {row['message_key']}" for row in rows)
        return Backlog(counts["changed"] if counts else 0, counts["awaiting"] if counts else 0, names)


class _Room:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def learn(self, seen: Sequence[UseSeen]) -> list[HeldUse]:
        # A relay that repeats may end a batch with a lower revision: the highest counts, wherever it stands.
        newest = {each.use_id: each for each in sorted(seen, key=lambda each: each.revision)}
        # In the order of their ids, like every lock on uses: two workers cannot wait for each other.
        await self._connection.execute(
            "insert into uses (use_id, seen_revision) select use_id, 0 from unnest(%s::text[]) as new (use_id)"
            " order by use_id on conflict do nothing",
            (list(newest),),
        )
        rows = await self._locked(newest)
        return [
            HeldUse(newest[row["use_id"]], _published(row), newest[row["use_id"]].backfill)
            for row in rows
            if row["seen_revision"] < newest[row["use_id"]].revision
        ]

    async def take_changed(self, most: int) -> list[HeldUse]:
        taken = await every(
            self._connection,
            "delete from to_judge where use_id in (select use_id from to_judge where not_before <= now()"
            " order by not_before, use_id limit %s for update skip locked) returning use_id, bulk",
            (most,),
        )
        return await self._held({row["use_id"]: row["bulk"] for row in taken})

    async def take_awaiting(self, most: int) -> list[HeldUse]:
        rows = await every(
            self._connection,
            "select use_id from uses where awaiting_fresh"
            " and not exists (select from to_judge where to_judge.use_id = uses.use_id)"
            " order by use_id limit %s for update skip locked",
            (most,),
        )
        return await self._held({row["use_id"]: False for row in rows})

    async def take(self, use_ids: Collection[str]) -> list[HeldUse]:
        await self._connection.execute("delete from to_judge where use_id = any(%s)", (list(use_ids),))
        return await self._held(dict.fromkeys(use_ids, True))

    async def _held(self, bulk: Mapping[str, bool]) -> list[HeldUse]:
        held = [(UseSeen.model_validate(row["seen"]), row) for row in await self._locked(bulk) if row["seen"]]
        return [HeldUse(seen, _published(row), bulk[row["use_id"]] or seen.backfill) for seen, row in held]

    async def _locked(self, use_ids: Iterable[str]) -> list[DictRow]:
        return await every(
            self._connection,
            "select use_id, seen_revision, seen, usage, infringement from uses where use_id = any(%s)"
            " order by use_id for update",
            (list(use_ids),),
        )

    async def all_readable(self) -> bool:
        row = await one(self._connection, "select from unreadable_lookups where dropped_by is null limit 1")
        return row is None

    async def knowledge_of(self, seen: Sequence[UseSeen]) -> dict[str, Knowledge]:
        of_twins = await self._states("twin_id = any(%s)", list({each.twin_id for each in seen}))
        accounts = {each.use_id: account_keys(accounts_of(each)) for each in seen}
        of_accounts = await self._states("account_keys && %s::text[]", sorted(set().union(*accounts.values())))
        return {
            each.use_id: _knowledge(
                [state for twin_id, _, state in of_twins if twin_id == each.twin_id],
                [state for _, keys, state in of_accounts if not accounts[each.use_id].isdisjoint(keys)],
            )
            for each in seen
        }

    async def _states(self, condition: str, wanted: list[str]) -> list[tuple[str | None, list[str], StateEvent]]:
        rows = await every(
            self._connection,
            f"select type, state, twin_id, account_keys from lookups where {condition} order by topic, message_key",  # noqa: S608
            (wanted,),
        )
        return [(row["twin_id"], row["account_keys"], lookup_in(row["type"], row["state"])) for row in rows]

    async def keep(self, held: HeldUse, conclusion: Conclusion) -> None:
        row, published = _row(held.seen, conclusion), conclusion.published
        await self._remember_verdict(row, conclusion)
        await self._connection.execute(_UPDATE_USE, {**row, **_states_row(published), "use_id": conclusion.use_id})
        if conclusion.awaiting_fresh:
            return
        for state in (published.usage, published.infringement):
            if state is not None:
                await self._publish(state, bulk=held.bulk)

    async def _publish(self, state: UsageState | InfringementState, *, bulk: bool) -> None:
        with caused_by(state.use_id):
            await ensure_state(
                self._connection, lambda revision: state.model_copy(update={"revision": revision}), bulk=bulk
            )

    async def _remember_verdict(self, row: Mapping[str, object], conclusion: Conclusion) -> None:
        told = {name: row[name] for name in _HISTORY} | {"reasons": _reasons(conclusion.verdict)}
        last = await one(
            self._connection,
            f"select {', '.join(told)} from verdict_history where use_id = %s order by position desc limit 1",  # noqa: S608
            (conclusion.use_id,),
        )
        if last != told:
            known = Jsonb(dict(conclusion.known))
            await self._connection.execute(_INSERT_HISTORY, {**row, "use_id": conclusion.use_id, "known": known})


_HISTORY = ("seen_revision", "verdict", "license_id", "license_version", "awaiting_fresh")

_UPDATE_USE = """
update uses set seen_revision = %(seen_revision)s, seen = %(seen)s, livemode = %(livemode)s, twin_id = %(twin_id)s,
    account_keys = %(account_keys)s, verdict = %(verdict)s, reasons = %(reasons)s, license_id = %(license_id)s,
    license_version = %(license_version)s, agency_id = %(agency_id)s, talent_id = %(talent_id)s,
    brand_id = %(brand_id)s, awaiting_fresh = %(awaiting_fresh)s, usage = %(usage)s,
    infringement = %(infringement)s, judged_at = clock_timestamp()
where use_id = %(use_id)s
"""

_INSERT_HISTORY = """
insert into verdict_history
    (use_id, seen_revision, verdict, reasons, license_id, license_version, awaiting_fresh, known)
values (%(use_id)s, %(seen_revision)s, %(verdict)s, %(reasons)s, %(license_id)s, %(license_version)s,
    %(awaiting_fresh)s, %(known)s)
"""


def _row(seen: UseSeen, conclusion: Conclusion) -> dict[str, object]:
    verdict, owners = conclusion.verdict, conclusion.owners
    license_id, license_version = None, None
    if isinstance(verdict, Licensed | OutOfScope):
        license_id = verdict.license.license_id
        license_version = verdict.version.version if verdict.version else None
    return {
        "seen_revision": seen.revision,
        "seen": Jsonb(seen.model_dump(mode="json")),
        "livemode": seen.livemode,
        "twin_id": seen.twin_id,
        "account_keys": sorted(account_keys(accounts_of(seen))),
        "verdict": name_of(verdict),
        "reasons": Jsonb(_reasons(verdict)),
        "license_id": license_id,
        "license_version": license_version,
        "agency_id": owners.agency_id,
        "talent_id": owners.talent_id,
        "brand_id": owners.brand_id,
        "awaiting_fresh": conclusion.awaiting_fresh,
    }


def _states_row(published: Published) -> dict[str, object]:
    usage, infringement = published.usage, published.infringement
    return {
        "usage": Jsonb(usage.model_dump(mode="json")) if usage else None,
        "infringement": Jsonb(infringement.model_dump(mode="json")) if infringement else None,
    }


def _reasons(verdict: Verdict) -> list[dict[str, object]]:
    return [reason.model_dump(mode="json") for reason in verdict.reasons]


def _published(row: DictRow) -> Published:
    return Published(
        usage=UsageState.model_validate(row["usage"]) if row["usage"] else None,
        infringement=InfringementState.model_validate(row["infringement"]) if row["infringement"] else None,
    )


def _knowledge(of_twin: Sequence[StateEvent], of_accounts: Sequence[StateEvent]) -> Knowledge:
    states = [*of_twin, *of_accounts]
    return Knowledge(
        licenses=tuple(state for state in states if isinstance(state, LicenseState)),
        consents=tuple(state for state in states if isinstance(state, ConsentState)),
        brands=tuple(state for state in states if isinstance(state, BrandState)),
        twin=next((state for state in states if isinstance(state, TwinState)), None),
        revisions={f"{state.topic.name} {state.message_key()}": state.revision for state in states},
    )

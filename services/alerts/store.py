"""Cases, their steps and their alerts in PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Json

from services.alerts.domain import Case, News, Step, Told
from services.alerts.payload import body_of
from shared.access import Caller
from shared.database import Connection, Database, every, one
from shared.events import InfringementState
from shared.ids import derived_id
from shared.tracing import carried

# A use that was withdrawn before anyone heard of it is no case for people.
SHOWN = "(sequence > 0 or status = 'held')"


class CaseStore:
    """Where cases lie; each transaction gives the rows to a handler."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self, caller: Caller | None = None) -> AsyncIterator["CaseRows"]:
        """One transaction; with a caller, its own cases only."""
        async with self._database.transaction(caller) as connection:
            yield CaseRows(connection, caller)

    async def page(self, caller: Caller, *, status: str | None, limit: int, after: str | None) -> Sequence[DictRow]:
        """Cases that the caller may see, newest first, those behind `after` (a use_id)."""
        query = f"""
            select * from cases
            where livemode = %(livemode)s and {SHOWN}
              and (%(status)s::text is null or status = %(status)s)
              and (%(after)s::text is null
                   or (opened_at, use_id) < (select opened_at, use_id from cases where use_id = %(after)s))
            order by opened_at desc, use_id desc limit %(limit)s
        """  # noqa: S608 - a constant
        given = {"livemode": caller.livemode, "status": status, "after": after, "limit": limit}
        async with self._database.transaction(caller) as connection:
            return await every(connection, query, given)

    async def whole(self, caller: Caller, use_id: str) -> dict[str, Any] | None:
        """A case with its steps, alerts and deliveries; None when the caller may not see it."""
        async with self._database.transaction(caller) as connection:
            case = await one(
                connection,
                f"select * from cases where use_id = %s and livemode = %s and {SHOWN}",  # noqa: S608 - a constant
                (use_id, caller.livemode),
            )
            if case is None:
                return None
            steps = await every(connection, "select * from case_steps where use_id = %s order by position", (use_id,))
            alerts = await every(connection, "select * from alerts where use_id = %s order by sequence", (use_id,))
            deliveries = await every(
                connection,
                "select deliveries.*, endpoints.url from deliveries join endpoints using (endpoint_id)"
                " where use_id = %s order by sequence, deliveries.stored_at, delivery_id",
                (use_id,),
            )
        return {"case": case, "steps": steps, "alerts": alerts, "deliveries": deliveries}


class CaseRows:
    """The cases inside one transaction."""

    def __init__(self, connection: Connection, caller: Caller | None) -> None:
        self._connection = connection
        self._caller = caller

    async def locked(self, use_id: str) -> Case | None:
        """The case of a use; nobody else changes it until the transaction ends, even when there is none yet."""
        await self._connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"case:{use_id}",))
        row = await one(
            self._connection,
            "select * from cases where use_id = %(use_id)s and livemode = coalesce(%(livemode)s, livemode)",
            {"use_id": use_id, "livemode": self._caller.livemode if self._caller else None},
        )
        return None if row is None else case_of(row)

    async def keep(self, case: Case) -> None:
        """Store it."""
        found = case.infringement
        given = {
            "use_id": found.use_id,
            "agency_id": found.agency_id,
            "livemode": found.livemode,
            "status": case.status,
            "revision": found.revision,
            "sequence": case.sequence,
            "infringement": Json(found.model_dump(mode="json")),
            "told": None if case.told is None else Json(case.told.model_dump(mode="json")),
            "opened_at": case.opened_at,
        }
        if self._caller is not None:
            # Requests may change a case, never make one.
            await self._connection.execute("update cases set status = %(status)s where use_id = %(use_id)s", given)
            return
        await self._connection.execute(
            """
            insert into cases values (%(use_id)s, %(agency_id)s, %(livemode)s, %(status)s, %(revision)s, %(sequence)s,
                                      %(infringement)s, %(told)s, %(opened_at)s)
            on conflict (use_id) do update set (agency_id, status, revision, sequence, infringement, told, opened_at) =
                (excluded.agency_id, excluded.status, excluded.revision, excluded.sequence, excluded.infringement,
                 excluded.told, excluded.opened_at)
            """,
            given,
        )

    async def step(self, found: InfringementState, step: Step) -> None:
        """Write down who did what, when and why, for the agency that this state names."""
        await self._connection.execute(
            "insert into case_steps (use_id, agency_id, kind, happened_at, done_by, why)"
            " values (%s, %s, %s, %s, %s, %s)",
            (found.use_id, found.agency_id, step.kind, step.happened_at, step.done_by, step.why),
        )

    async def tell(self, news: News) -> None:
        """Store the alert, with a delivery to each active endpoint of its agency unless it waits for a digest."""
        found = news.infringement
        await self._connection.execute(
            "insert into alerts (event_id, use_id, sequence, agency_id, kind, body, digested, traceparent)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                news.event_id,
                found.use_id,
                news.sequence,
                found.agency_id,
                news.kind,
                body_of(news),
                news.digested,
                carried(),
            ),
        )
        if news.digested:
            return
        endpoints = await every(
            self._connection,
            "select endpoint_id from endpoints where agency_id = %s and livemode = %s and status = 'active'"
            # Locked, so that an endpoint deleted at this moment either gets no delivery or cancels this one.
            " for share",
            (found.agency_id, found.livemode),
        )
        for row in endpoints:
            await self._connection.execute(
                "insert into deliveries (delivery_id, event_id, endpoint_id, use_id, sequence, agency_id)"
                " values (%s, %s, %s, %s, %s, %s)",
                (
                    derived_id("delivery", str(news.event_id), row["endpoint_id"]),
                    news.event_id,
                    row["endpoint_id"],
                    found.use_id,
                    news.sequence,
                    found.agency_id,
                ),
            )


def case_of(row: DictRow) -> Case:
    """The case in a row of `cases`."""
    return Case(
        infringement=InfringementState.model_validate(row["infringement"]),
        status=row["status"],
        sequence=row["sequence"],
        opened_at=row["opened_at"],
        told=None if row["told"] is None else Told.model_validate(row["told"]),
    )

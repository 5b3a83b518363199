"""The ledger in PostgreSQL, as the stream writes it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

import psycopg
from psycopg.rows import DictRow

from services.royalty.domain import Standing, Trace, Transaction, as_event
from services.royalty.rating import ordered
from services.royalty.statements import holder_of, statement_id
from shared.database import Connection, Database, every, one
from shared.events import Entry
from shared.kafka.spans import caused_by
from shared.outbox import put


class NoOpenPeriod(psycopg.OperationalError):
    """No booking period is open: a fault of the calendar, not of a record, so it counts as a passing one."""


class PostgresLedger:
    """The ledger inside one transaction; rows are only ever appended to it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def standings_of(self, use_ids: Collection[str]) -> dict[str, Standing]:
        """What is known of these uses, locked in the order of their ids."""
        if not use_ids:
            return {}
        wanted = sorted(use_ids)
        await self._connection.execute(
            "insert into booked_uses (use_id, usage_revision)"
            " select use_id, 0 from unnest(%s::text[]) as new (use_id) order by use_id on conflict do nothing",
            (wanted,),
        )
        known = await every(
            self._connection, "select * from booked_uses where use_id = any(%s) order by use_id for update", (wanted,)
        )
        fees = await self._transactions([row["fee_id"] for row in known if row["fee_id"] is not None])
        return {row["use_id"]: Standing(row["usage_revision"], fees.get(str(row["fee_id"]))) for row in known}

    async def book(self, transactions: Sequence[Transaction]) -> None:
        """Append transactions in the open booking period, each with its event in the outbox."""
        if not transactions:
            return
        period = await self._open_period()
        async with self._connection.cursor() as cursor:
            await cursor.executemany(_INSERT_TRANSACTION, [_transaction_row(made, period) for made in transactions])
            await cursor.executemany(_INSERT_ENTRY, [row for made in transactions for row in _entry_rows(made, period)])
        for made in transactions:
            with caused_by(made.trace.use_id):
                await put(self._connection, as_event(made, period))

    async def remember(self, standings: Mapping[str, Standing]) -> None:
        """Keep what is known of these uses from now on."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                "update booked_uses set usage_revision = %s, fee_id = %s where use_id = %s",
                [
                    (known.usage_revision, known.fee.transaction_id if known.fee else None, use_id)
                    for use_id, known in sorted(standings.items())
                ],
            )

    async def _open_period(self) -> str:
        # Who closes a period holds its row FOR UPDATE: we wait, find it closed, and a second look finds its successor.
        for _ in range(2):
            row = await one(self._connection, "select period from periods where state = 'open' for share")
            if row is not None:
                return str(row["period"])
        raise NoOpenPeriod("no booking period is open; royalty opens the first one when it starts")

    async def _transactions(self, ids: Sequence[object]) -> dict[str, Transaction]:
        if not ids:
            return {}
        rows = await every(self._connection, "select * from transactions where transaction_id = any(%s)", (list(ids),))
        entries: dict[str, list[Entry]] = {}
        for row in await every(
            self._connection,
            "select transaction_id, ledger_account, minor from entries where transaction_id = any(%s)",
            (list(ids),),
        ):
            entry = Entry(ledger_account=row["ledger_account"], minor=row["minor"])
            entries.setdefault(str(row["transaction_id"]), []).append(entry)
        return {str(row["transaction_id"]): _transaction(row, entries[str(row["transaction_id"])]) for row in rows}


async def open_first_period(database: Database, period: str, *, time_zone: str) -> str:
    """Open the first booking period unless one is open; returns the open one."""
    async with database.transaction() as connection:
        await connection.execute(
            "insert into periods (period, time_zone, state) select %s, %s, 'open'"
            " where not exists (select from periods) on conflict do nothing",
            (period, time_zone),
        )
    async with database.transaction() as connection:
        row = await one(connection, "select period from periods where state = 'open'")
    if row is None:
        raise NoOpenPeriod("every booking period is closed; open one before royalty starts")
    return str(row["period"])


def trace_of(row: DictRow) -> Trace:
    """The trace in a row of `transactions`."""
    started_at: datetime = row["started_at"]
    return Trace(
        use_id=row["use_id"],
        platform=row["platform"],
        post_id=row["post_id"],
        twin_id=row["twin_id"],
        license_id=row["license_id"],
        license_version=row["license_version"],
        started_at=started_at.astimezone(UTC),
    )


def _transaction(row: DictRow, entries: list[Entry]) -> Transaction:
    return Transaction(
        trace=trace_of(row),
        usage_revision=row["usage_revision"],
        line=row["line"],
        currency=row["currency"],
        entries=ordered(entries),
        occurred_at=row["occurred_at"].astimezone(UTC),
        corrects=str(row["corrects"]) if row["corrects"] else None,
    )


_INSERT_TRANSACTION = """
insert into transactions (transaction_id, use_id, usage_revision, line, period, currency, license_id, license_version,
    twin_id, platform, post_id, started_at, occurred_at, corrects)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

_INSERT_ENTRY = """
insert into entries (transaction_id, ledger_account, minor, currency, period, kind, payee, statement_id)
values (%s, %s, %s, %s, %s, %s, %s, %s)
"""


def _transaction_row(made: Transaction, period: str) -> tuple[object, ...]:
    trace = made.trace
    return (
        made.transaction_id,
        trace.use_id,
        made.usage_revision,
        made.line,
        period,
        made.currency,
        trace.license_id,
        trace.license_version,
        trace.twin_id,
        trace.platform,
        trace.post_id,
        trace.started_at,
        made.occurred_at,
        made.corrects,
    )


def _entry_rows(made: Transaction, period: str) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for entry in made.entries:
        kind, payee = holder_of(entry.ledger_account)
        named = statement_id(payee, made.currency, period)
        rows.append((made.transaction_id, entry.ledger_account, entry.minor, made.currency, period, kind, payee, named))
    return rows

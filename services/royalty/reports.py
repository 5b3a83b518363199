"""The ledger in PostgreSQL, as requests read it: row-level security shows each caller its own entries."""

from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from psycopg.rows import DictRow

from services.royalty.domain import Line
from services.royalty.statements import Kind, Posting, Statement, statement_of
from services.royalty.store import trace_of
from shared.access import Caller
from shared.database import Database, every, one
from shared.events import Entry
from shared.values import Value

PeriodState = Literal["open", "closed"]


class StatementSummary(Value):
    """A statement without its lines."""

    statement_id: str
    kind: Kind
    payee: str
    currency: str
    period: str
    status: Literal["draft", "closed"]
    total_minor: int
    lines: int


class StatementView(Statement):
    """A statement with its digest, which covers every field but `digest` and `status`."""

    status: Literal["draft", "closed"]
    digest: str


class TransactionView(Value):
    """A ledger transaction with the entries that the caller may see."""

    transaction_id: str
    line: Line
    corrects: str | None
    period: str
    currency: str
    license_id: str
    license_version: int
    use_id: str
    usage_revision: int
    twin_id: str
    platform: str
    post_id: str
    started_at: datetime
    booked_at: datetime
    entries: tuple[Entry, ...]


class CurrencyBalance(Value):
    """All that was ever booked in one currency."""

    currency: str
    debits_minor: int
    credits_minor: int
    transactions: int
    balanced: bool


class LedgerReports:
    """What requests read. The ledger holds live money only, so a sandbox key sees nothing of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def statements(
        self, caller: Caller, *, period: str | None, payee: str | None, limit: int, offset: int
    ) -> list[StatementSummary]:
        """The statements that the caller may see, newest period first."""
        if not caller.livemode:
            return []
        async with self._database.transaction(caller) as connection:
            rows = await every(
                connection, _SUMMARIES, {"period": period, "payee": payee, "limit": limit, "offset": offset}
            )
        return [_summary(row) for row in rows]

    async def statement(self, caller: Caller, statement_id: UUID) -> StatementView | None:
        """One statement, derived anew from the ledger; None when the caller has none of that id."""
        if not caller.livemode:
            return None
        async with self._database.transaction(caller) as connection:
            # One query, one snapshot: a booking is in it whole or not at all.
            rows = await every(connection, _POSTINGS, (statement_id,))
        if not rows:
            return None
        statement = statement_of([_posting(row) for row in rows])
        status = _status(rows[0]["state"])
        return StatementView(**dict(statement), status=status, digest=statement.content_digest())

    async def transaction(self, caller: Caller, transaction_id: UUID) -> TransactionView | None:
        """One transaction; None when the caller holds no entry of it."""
        if not caller.livemode:
            return None
        async with self._database.transaction(caller) as connection:
            row = await one(connection, "select * from transactions where transaction_id = %s", (transaction_id,))
            entries = await every(
                connection,
                "select ledger_account, minor from entries where transaction_id = %s order by ledger_account",
                (transaction_id,),
            )
        return None if row is None else _transaction_view(row, entries)

    async def transactions_of(self, caller: Caller, use_id: str) -> list[TransactionView]:
        """The transactions of a use of which the caller holds an entry, as they were booked."""
        if not caller.livemode:
            return []
        async with self._database.transaction(caller) as connection:
            rows = await every(
                connection,
                # A fee is booked in the same moment as the reversal of the one before it.
                "select * from transactions where use_id = %s order by usage_revision, line desc",
                (use_id,),
            )
            entries = await every(
                connection,
                "select transaction_id, ledger_account, minor from entries where transaction_id = any(%s)"
                " order by ledger_account",
                ([row["transaction_id"] for row in rows],),
            )
        return [
            _transaction_view(row, [each for each in entries if each["transaction_id"] == row["transaction_id"]])
            for row in rows
        ]

    async def balance(self, caller: Caller) -> list[CurrencyBalance]:
        """Debits against credits of the whole ledger, per currency."""
        if not caller.livemode:
            return []
        async with self._database.transaction(caller) as connection:
            rows = await every(connection, _BALANCE)
        return [
            CurrencyBalance(
                currency=row["currency"],
                debits_minor=row["debits"],
                credits_minor=row["credits"],
                transactions=row["transactions"],
                balanced=row["debits"] == row["credits"] and row["unbalanced"] == 0,
            )
            for row in rows
        ]


# What a payee earned is a credit, which the ledger keeps as a negative.
_SUMMARIES = """
select statement_id, kind, payee, currency, period, state, count(*) as lines,
    (sum(minor) * case kind when 'payable' then -1 else 1 end)::bigint as total
from entries join periods using (period)
where (%(period)s::text is null or period = %(period)s) and (%(payee)s::text is null or payee = %(payee)s)
group by statement_id, kind, payee, currency, period, state
order by period desc, payee, currency limit %(limit)s offset %(offset)s
"""

_POSTINGS = """
select transactions.*, entries.ledger_account, entries.minor, periods.state
from entries join transactions using (transaction_id) join periods on periods.period = entries.period
where entries.statement_id = %s
"""

_BALANCE = """
select currency, sum(debits)::bigint as debits, sum(credits)::bigint as credits, count(*) as transactions,
    count(*) filter (where debits <> credits) as unbalanced
from (
    select currency, transaction_id, sum(greatest(minor, 0)) as debits, -sum(least(minor, 0)) as credits
    from entries group by currency, transaction_id
) as booked
group by currency order by currency
"""


def _status(state: PeriodState) -> Literal["draft", "closed"]:
    return "draft" if state == "open" else "closed"


def _summary(row: DictRow) -> StatementSummary:
    return StatementSummary(
        statement_id=str(row["statement_id"]),
        kind=row["kind"],
        payee=row["payee"],
        currency=row["currency"],
        period=row["period"],
        status=_status(row["state"]),
        total_minor=row["total"],
        lines=row["lines"],
    )


def _posting(row: DictRow) -> Posting:
    return Posting(
        transaction_id=str(row["transaction_id"]),
        ledger_account=row["ledger_account"],
        minor=row["minor"],
        currency=row["currency"],
        period=row["period"],
        line=row["line"],
        usage_revision=row["usage_revision"],
        corrects=str(row["corrects"]) if row["corrects"] else None,
        trace=trace_of(row),
    )


def _transaction_view(row: DictRow, entries: list[DictRow]) -> TransactionView:
    return TransactionView(
        transaction_id=str(row["transaction_id"]),
        line=row["line"],
        corrects=str(row["corrects"]) if row["corrects"] else None,
        period=row["period"],
        currency=row["currency"],
        license_id=row["license_id"],
        license_version=row["license_version"],
        use_id=row["use_id"],
        usage_revision=row["usage_revision"],
        twin_id=row["twin_id"],
        platform=row["platform"],
        post_id=row["post_id"],
        started_at=row["started_at"].astimezone(UTC),
        booked_at=row["booked_at"].astimezone(UTC),
        entries=tuple(Entry(ledger_account=entry["ledger_account"], minor=entry["minor"]) for entry in entries),
    )

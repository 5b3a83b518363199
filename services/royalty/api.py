"""Royalty's edge for people and tools: statements, transactions, and whether the ledger balances."""

from typing import Annotated, Protocol
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query
from pydantic import BaseModel

from services.royalty.reports import CurrencyBalance, StatementSummary, StatementView, TransactionView
from shared.access import Caller, KnowsKeys, require
from shared.values import Id
from shared.web import ONE_SPAN_PER_REQUEST, answer_errors

Holder = Annotated[Caller, Depends(require("finance", "operator", "agency", "talent", "brand"))]
Finance = Annotated[Caller, Depends(require("finance", "operator"))]
OFFSET_MAX = 10**9
PeriodWanted = Annotated[str | None, Query(pattern=r"^\d{4}-(0[1-9]|1[0-2])$", examples=["2026-11"])]
PayeeWanted = Annotated[str | None, Query(pattern=r"^(talent|agency|brand):[^\x00-\x1f\x7f]+$", examples=["talent:t1"])]


class Reports(Protocol):
    """What the ledger tells a caller; what is not the caller's own is not there."""

    async def statements(
        self, caller: Caller, *, period: str | None, payee: str | None, limit: int, offset: int
    ) -> list[StatementSummary]:
        """The statements that the caller may see, newest period first."""

    async def statement(self, caller: Caller, statement_id: UUID) -> StatementView | None:
        """One statement."""

    async def transaction(self, caller: Caller, transaction_id: UUID) -> TransactionView | None:
        """One ledger transaction."""

    async def transactions_of(self, caller: Caller, use_id: str) -> list[TransactionView]:
        """The ledger transactions of one use, as they were booked."""

    async def balance(self, caller: Caller) -> list[CurrencyBalance]:
        """Debits against credits, per currency."""


class LedgerBalance(BaseModel):
    """Whether every debit has its credit."""

    balanced: bool
    currencies: list[CurrencyBalance]


def build_app(reports: Reports, keys: KnowsKeys) -> FastAPI:
    """The application."""
    app = FastAPI(title="Twintally royalty", version="1", telemetry=ONE_SPAN_PER_REQUEST)
    app.state.keys = keys
    answer_errors(app)
    _add_statements(app, reports)
    _add_ledger(app, reports)
    return app


def _add_statements(app: FastAPI, reports: Reports) -> None:
    @app.get("/v1/statements")
    async def statements(
        caller: Holder,
        period: PeriodWanted = None,
        payee: PayeeWanted = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
        offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
    ) -> list[StatementSummary]:
        """All payees for finance and the operator; everyone else sees what they earn, a brand what it owes."""
        return await reports.statements(caller, period=period, payee=payee, limit=limit, offset=offset)

    @app.get("/v1/statements/{statement_id}")
    async def statement(statement_id: UUID, caller: Holder) -> StatementView:
        """A statement, derived from the ledger at this moment.

        `digest` is the SHA-256 of the other fields but `status`, as JSON with sorted names, no spaces, in UTF-8.
        """
        found = await reports.statement(caller, statement_id)
        if found is None:
            raise HTTPException(404, f"No statement {statement_id}; GET /v1/statements lists yours")
        return found


def _add_ledger(app: FastAPI, reports: Reports) -> None:
    @app.get("/v1/transactions")
    async def transactions(use_id: Annotated[Id, Query()], caller: Holder) -> list[TransactionView]:
        """The ledger transactions of one use in the order they were booked, with the entries of the caller."""
        return await reports.transactions_of(caller, use_id)

    @app.get("/v1/transactions/{transaction_id}")
    async def transaction(transaction_id: UUID, caller: Holder) -> TransactionView:
        """A ledger transaction with the entries of the caller; finance sees all of them."""
        found = await reports.transaction(caller, transaction_id)
        if found is None:
            raise HTTPException(404, f"No transaction {transaction_id}; the lines of your statements name yours")
        return found

    @app.get("/v1/ledger/balance")
    async def balance(caller: Finance) -> LedgerBalance:
        """Does the whole ledger balance, and in each currency?"""
        currencies = await reports.balance(caller)
        return LedgerBalance(balanced=all(each.balanced for each in currencies), currencies=currencies)

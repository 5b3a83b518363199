"""royalties.v1 and statements.v1: what the ledger tells finance."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field, model_validator

from shared.events.base import Event, StateEvent
from shared.events.topics import ROYALTIES, STATEMENTS, Topic
from shared.money import Currency
from shared.values import Id, UtcDatetime, Value


class Entry(Value):
    """One line of a ledger transaction; debits are positive."""

    ledger_account: str = Field(examples=["receivable:brand:b1", "payable:talent:t1"])
    minor: int


class RoyaltyBooked(Event):
    """One balanced ledger transaction; never changed, only taken back by another."""

    topic: ClassVar[Topic] = ROYALTIES
    type = "com.twintally.royalty.v1"

    transaction_id: Id
    license_id: Id
    license_version: int = Field(ge=1)
    use_id: Id
    usage_revision: int = Field(ge=1)
    line: str = Field(description="`fee`, or `reversal` of what an earlier revision booked")
    period: str = Field(examples=["2026-11"])
    currency: Currency
    entries: tuple[Entry, ...] = Field(min_length=2)
    corrects: Id | None = Field(default=None, description="the transaction that this one takes back")

    @model_validator(mode="after")
    def _balances(self) -> "RoyaltyBooked":
        if sum(entry.minor for entry in self.entries) != 0:
            raise ValueError("entries must sum to zero")
        return self

    def message_key(self) -> str:
        """`license_id`, so that a license's transactions stay in order."""
        return self.license_id

    def event_id(self) -> UUID:
        """The id of the transaction itself: many share one message key and none replaces another."""
        return UUID(self.transaction_id)


class StatementState(StateEvent):
    """A payee's period in one currency."""

    topic: ClassVar[Topic] = STATEMENTS
    type = "com.twintally.statement.v1"

    statement_id: Id
    payee: str
    period: str
    currency: Currency
    status: Literal["draft", "closed"] = "draft"
    total_minor: int
    transaction_ids: tuple[Id, ...]
    digest: str = Field(description="of the canonical JSON of the statement")
    closed_at: UtcDatetime | None = None

    def message_key(self) -> str:
        """`statement_id`."""
        return self.statement_id

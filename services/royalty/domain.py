"""What the ledger does with the usage of a use: a fee, a correction, or nothing."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from services.royalty.rating import fee_entries, fee_of_use, negated
from shared.events import Entry, RoyaltyBooked, UsageState
from shared.ids import derived_id

Line = Literal["fee", "reversal"]


@dataclass(frozen=True)
class Trace:
    """Where the money of a transaction comes from: every statement line leads back to it."""

    use_id: str
    platform: str
    post_id: str
    twin_id: str
    license_id: str
    license_version: int
    started_at: datetime


@dataclass(frozen=True)
class Transaction:
    """A balanced ledger transaction; never edited, only taken back by another.

    ValueError unless the entries are at least two and sum to zero.
    """

    trace: Trace
    usage_revision: int
    line: Line
    currency: str
    entries: tuple[Entry, ...]
    occurred_at: datetime
    corrects: str | None = None

    def __post_init__(self) -> None:
        if len(self.entries) < 2 or sum(entry.minor for entry in self.entries) != 0:
            raise ValueError(f"entries must be two or more that sum to zero, got {self.entries}")

    @property
    def transaction_id(self) -> str:
        """Derived from the use, the revision of its usage, and the line."""
        return str(derived_id("transaction", self.trace.use_id, self.usage_revision, self.line))

    def books_the_same_as(self, other: "Transaction") -> bool:
        """Do both move the same money under the same license version? When and why does not matter."""
        return self._content() == other._content()

    def _content(self) -> tuple[object, ...]:
        return self.trace.license_id, self.trace.license_version, self.currency, self.entries


@dataclass(frozen=True)
class Standing:
    """What the ledger knows of one use: the highest revision it has seen, and the fee that stands."""

    usage_revision: int = 0
    fee: Transaction | None = None


@dataclass(frozen=True)
class Booked:
    """The usage moved money: a fee, a reversal, or a reversal and then a fee."""

    transactions: tuple[Transaction, ...]
    standing: Standing


@dataclass(frozen=True)
class Unchanged:
    """A newer revision that says the same about money."""

    standing: Standing


@dataclass(frozen=True)
class Repeated:
    """A revision that was seen before, or that a higher one has overtaken."""


@dataclass(frozen=True)
class Sandbox:
    """Usage of sandbox keys never reaches the ledger."""


Outcome = Booked | Unchanged | Repeated | Sandbox


def book(usage: UsageState, standing: Standing) -> Outcome:
    """Bring the ledger from what stands to what this usage says, without touching what was booked."""
    if not usage.livemode:
        return Sandbox()
    if usage.revision <= standing.usage_revision:
        return Repeated()
    wanted = fee_for(usage) if usage.status == "active" else None
    stands = standing.fee
    if wanted == stands or (wanted and stands and wanted.books_the_same_as(stands)):
        return Unchanged(replace(standing, usage_revision=usage.revision))
    taken_back = (reversal_of(stands, usage),) if stands else ()
    booked = (wanted,) if wanted else ()
    return Booked((*taken_back, *booked), Standing(usage.revision, wanted))


def fee_for(usage: UsageState) -> Transaction:
    """The transaction that an active usage asks for."""
    fee = fee_of_use(usage.rate_card)
    return Transaction(
        trace=Trace(
            use_id=usage.use_id,
            platform=usage.platform,
            post_id=usage.post_id,
            twin_id=usage.twin_id,
            license_id=usage.license_id,
            license_version=usage.license_version,
            started_at=usage.started_at,
        ),
        usage_revision=usage.revision,
        line="fee",
        currency=fee.currency,
        entries=fee_entries(fee.minor, brand_id=usage.brand_id, split=usage.split),
        occurred_at=usage.occurred_at,
    )


def reversal_of(fee: Transaction, usage: UsageState) -> Transaction:
    """The transaction that takes a fee back because of this usage; it is traced to what the fee was booked for."""
    return Transaction(
        trace=fee.trace,
        usage_revision=usage.revision,
        line="reversal",
        currency=fee.currency,
        entries=negated(fee.entries),
        occurred_at=usage.occurred_at,
        corrects=fee.transaction_id,
    )


def as_event(transaction: Transaction, period: str) -> RoyaltyBooked:
    """The transaction as finance hears of it."""
    return RoyaltyBooked(
        occurred_at=transaction.occurred_at,
        transaction_id=transaction.transaction_id,
        license_id=transaction.trace.license_id,
        license_version=transaction.trace.license_version,
        use_id=transaction.trace.use_id,
        usage_revision=transaction.usage_revision,
        line=transaction.line,
        period=period,
        currency=transaction.currency,
        entries=transaction.entries,
        corrects=transaction.corrects,
    )

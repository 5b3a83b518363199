"""A statement: the set of transactions of (payee, currency, booking period), spelled the same at every derivation."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from services.royalty.domain import Line, Trace
from shared.ids import canonical_json, derived_id, digest_of
from shared.values import Value

Kind = Literal["payable", "receivable"]


@dataclass(frozen=True)
class Posting:
    """One entry of one transaction, as the ledger keeps it; debits are positive."""

    transaction_id: str
    ledger_account: str
    minor: int
    currency: str
    period: str
    line: Line
    usage_revision: int
    corrects: str | None
    trace: Trace


class StatementLine(Value):
    """What one transaction means for the payee; a reversal takes away what the fee had given."""

    transaction_id: str
    line: Line
    corrects: str | None
    minor: int
    license_id: str
    license_version: int
    use_id: str
    usage_revision: int
    twin_id: str
    platform: str
    post_id: str
    started_at: str


class Statement(Value):
    """A payee's period in one currency: `payable` is what it earned, `receivable` what a brand owes."""

    statement_id: str
    kind: Kind
    payee: str
    currency: str
    period: str
    total_minor: int
    lines: tuple[StatementLine, ...]

    def canonical(self) -> str:
        """Its one spelling: JSON with sorted names, without spaces, lines in the order of transaction ids."""
        return canonical_json(self.model_dump(mode="json"))

    def content_digest(self) -> str:
        """The SHA-256 of its one spelling in UTF-8."""
        return digest_of(self.canonical().encode())


def statement_id(payee: str, currency: str, period: str) -> str:
    """The id that follows from what a statement is about."""
    return str(derived_id("statement", payee, currency, period))


def holder_of(ledger_account: str) -> tuple[Kind, str]:
    """`payable:talent:t1` as ("payable", "talent:t1"); ValueError for an account that nobody holds."""
    kind, _, payee = ledger_account.partition(":")
    if kind not in ("payable", "receivable") or ":" not in payee:
        raise ValueError(f"not a ledger account of a payee or a brand: {ledger_account!r}")
    return ("payable" if kind == "payable" else "receivable"), payee


def statement_of(postings: Iterable[Posting]) -> Statement:
    """The statement over these postings, whatever their order; ValueError unless they are of one statement."""
    postings = sorted(postings, key=lambda posting: posting.transaction_id)
    about = {(posting.ledger_account, posting.currency, posting.period) for posting in postings}
    if len(about) != 1:
        raise ValueError(f"a statement is about one account, currency and period, got {sorted(about)}")
    account, currency, period = about.pop()
    kind, payee = holder_of(account)
    # A payee's credit is what it earned.
    sign = -1 if kind == "payable" else 1
    lines = tuple(_line(posting, sign) for posting in postings)
    return Statement(
        statement_id=statement_id(payee, currency, period),
        kind=kind,
        payee=payee,
        currency=currency,
        period=period,
        total_minor=sum(line.minor for line in lines),
        lines=lines,
    )


def _line(posting: Posting, sign: int) -> StatementLine:
    trace = posting.trace
    return StatementLine(
        transaction_id=posting.transaction_id,
        line=posting.line,
        corrects=posting.corrects,
        minor=sign * posting.minor,
        license_id=trace.license_id,
        license_version=trace.license_version,
        use_id=trace.use_id,
        usage_revision=posting.usage_revision,
        twin_id=trace.twin_id,
        platform=trace.platform,
        post_id=trace.post_id,
        started_at=_moment(trace.started_at),
    )


def _moment(moment: datetime) -> str:
    # Spelled here and not by a library: the digest must outlive its next version.
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

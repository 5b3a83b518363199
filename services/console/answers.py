"""What the other services answer, as far as the pages show it; a word that is new to us is shown as it is."""

from typing import Any

from pydantic import Field

from shared.money import Currency
from shared.values import UtcDatetime, Value


class Post(Value):
    """The post of a use."""

    platform: str
    post_id: str
    account: str


class Reason(Value):
    """One dimension in which a use fails."""

    dimension: str
    text: str
    media_digest: str | None = None


class LicenseRef(Value):
    """The license that a use was judged by."""

    license_id: str
    version: int | None = None


class CaseRow(Value):
    """A case as alerts lists it."""

    use_id: str
    status: str
    verdict: str
    reasons: tuple[Reason, ...]
    post: Post
    twin_id: str
    talent_id: str
    brand_id: str | None = None
    license: LicenseRef | None = None
    agency_id: str
    livemode: bool
    backfill: bool = False
    started_at: UtcDatetime
    ended_at: UtcDatetime | None = None
    opened_at: UtcDatetime


class CasePage(Value):
    """Cases, newest first; `next` is what comes before the following page."""

    cases: tuple[CaseRow, ...]
    next: str | None = None


class Media(Value):
    """A published image; without an address when the platform uploaded it."""

    digest: str
    url: str | None


class Disclosure(Value):
    """What an image file says of its own origin."""

    c2pa: str
    c2pa_source_type: str | None = None
    xmp_source_type: str | None = None


class Sighting(Value):
    """A reference recognised in a published image."""

    sighting_id: str
    reference_id: str
    score: float
    region: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1 in pixels of the published image")
    description: str
    algorithm: str
    media: Media
    disclosure: Disclosure | None = None
    platform_label: bool | None = None


class Step(Value):
    """One line of a case's history."""

    kind: str
    happened_at: UtcDatetime
    done_by: str
    why: str


class Delivery(Value):
    """An alert on its way to one endpoint."""

    delivery_id: str
    url: str
    status: str
    attempts: int
    last_status: int | None = None
    last_reason: str | None = None
    next_try_at: UtcDatetime | None = None
    finished_at: UtcDatetime | None = None


class Alert(Value):
    """What the agency was told."""

    event_id: str
    sequence: int
    kind: str
    digested: bool = False
    deliveries: tuple[Delivery, ...] = ()


class Case(CaseRow):
    """A case with everything known of it."""

    sightings: tuple[Sighting, ...]
    steps: tuple[Step, ...] = ()
    alerts: tuple[Alert, ...] = ()


class StatementRow(Value):
    """A statement without its lines."""

    statement_id: str
    kind: str
    payee: str
    currency: Currency
    period: str
    status: str
    total_minor: int
    lines: int


class StatementLine(Value):
    """What one transaction means for the payee."""

    transaction_id: str
    line: str
    corrects: str | None = None
    minor: int
    license_id: str
    license_version: int
    use_id: str
    usage_revision: int
    twin_id: str
    platform: str
    post_id: str
    started_at: UtcDatetime


class Statement(Value):
    """A payee's period in one currency."""

    statement_id: str
    kind: str
    payee: str
    currency: Currency
    period: str
    status: str
    total_minor: int
    lines: tuple[StatementLine, ...]
    digest: str


class CurrencyBalance(Value):
    """All that was ever booked in one currency."""

    currency: Currency
    debits_minor: int
    credits_minor: int
    transactions: int
    balanced: bool


class LedgerBalance(Value):
    """Whether every debit has its credit."""

    balanced: bool
    currencies: tuple[CurrencyBalance, ...]


class Named(Value):
    """A party of the registry."""

    name: str


class Refusal(Value):
    """Why a service did not do what it was asked."""

    detail: Any = None

    def text(self) -> str:
        """For people."""
        if isinstance(self.detail, list):
            problems = [str(item.get("msg", item)) if isinstance(item, dict) else str(item) for item in self.detail]
            return "; ".join(problems)
        return str(self.detail or "")

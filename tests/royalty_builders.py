"""Usage as the royalty tests need it: builders that show only what matters."""

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.events import FlatCard, Share, Split, UsageState
from shared.kafka import Record
from shared.money import Money

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def a_usage(revision: int = 1, *, fee: int = 10_000, currency: str = "EUR", **changed: Any) -> UsageState:
    """A licensed use: 100 EUR, 80 % for the talent, 20 % for the agency."""
    fields: dict[str, Any] = {
        "use_id": "use-1",
        "platform": "instagram",
        "post_id": "post-1",
        "twin_id": "twin-1",
        "talent_id": "t1",
        "agency_id": "a1",
        "brand_id": "b1",
        "license_id": "license-1",
        "license_version": 1,
        "split": split(**{"talent:t1": 8_000, "agency:a1": 2_000}),
        "started_at": NOON,
        "occurred_at": NOON + timedelta(minutes=revision),
    }
    card = FlatCard(fee=Money(minor=fee, currency=currency))
    return UsageState(revision=revision, rate_card=card, **(fields | changed))


def split(**shares: int) -> Split:
    """Shares in basis points by payee."""
    return Split(shares=tuple(Share(payee=payee, basis_points=points) for payee, points in shares.items()))


def a_record(usage: UsageState, offset: int = 0, *, topic: str = "usage.v1", partition: int = 0) -> Record:
    """The usage as it lies in Kafka."""
    return Record(topic, partition, offset, usage.message_key().encode(), usage.encode())

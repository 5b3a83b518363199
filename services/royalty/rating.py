"""What a use costs and who gets it: the fee of its rate card, and its entries in the ledger."""

from shared.events import Entry, RateCard, Split
from shared.money import Money, split_minor


class Unrateable(ValueError):  # noqa: N818 - it names the state of a rate card
    """A rate card that gives no amount which could be booked."""


def fee_of_use(card: RateCard) -> Money:
    """The fee of one use: flat, whatever the use earned or how long it lasted; Unrateable below zero."""
    if card.fee.minor < 0:
        raise Unrateable(f"rate_card.fee: must not be below zero, got {card.fee.minor}")
    return card.fee


def fee_entries(fee_minor: int, *, brand_id: str, split: Split) -> tuple[Entry, ...]:
    """Debit what the brand owes, credit each payee its part to the last cent; ordered by ledger account."""
    parts = split_minor(fee_minor, split.by_payee())
    entries = [Entry(ledger_account=f"receivable:brand:{brand_id}", minor=fee_minor)]
    entries += [Entry(ledger_account=f"payable:{payee}", minor=-part) for payee, part in parts.items()]
    return ordered(entries)


def negated(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries that take these back."""
    return tuple(Entry(ledger_account=entry.ledger_account, minor=-entry.minor) for entry in entries)


def ordered(entries: list[Entry]) -> tuple[Entry, ...]:
    """Entries in their one order, so that equal bookings compare equal."""
    return tuple(sorted(entries, key=lambda entry: entry.ledger_account))

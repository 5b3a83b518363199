"""When the ledger books, corrects, or leaves alone."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.royalty.domain import (
    Booked,
    Repeated,
    Sandbox,
    Standing,
    Transaction,
    Unchanged,
    as_event,
    book,
    fee_for,
    reversal_of,
)
from services.royalty.handlers import on_usages
from services.royalty.statements import Posting, statement_of
from shared.events import Reading
from tests.royalty_builders import NOON, a_usage, split

PERIOD = "2026-11"


class LedgerInMemory:
    """The ledger's Protocol over a list."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self.standings: dict[str, Standing] = {}

    async def standings_of(self, use_ids):
        return {use_id: self.standings[use_id] for use_id in use_ids if use_id in self.standings}

    async def book(self, transactions):
        self.transactions += transactions

    async def remember(self, standings):
        self.standings.update(standings)

    def totals(self) -> dict[tuple[str, str], int]:
        """What stands per ledger account and currency; nothing owed equals no account."""
        found: Counter[tuple[str, str]] = Counter()
        for made in self.transactions:
            for entry in made.entries:
                found[entry.ledger_account, made.currency] += entry.minor
        return {account: total for account, total in found.items() if total}


def standing_after(*usages) -> Standing:
    standing = Standing()
    for usage in usages:
        outcome = book(usage, standing)
        standing = outcome.standing if isinstance(outcome, Booked | Unchanged) else standing
    return standing


def lines_of(outcome) -> list[str]:
    assert isinstance(outcome, Booked)
    return [made.line for made in outcome.transactions]


def test_the_first_usage_of_a_use_books_its_fee():
    outcome = book(a_usage(), Standing())
    assert lines_of(outcome) == ["fee"]
    assert outcome.transactions[0].corrects is None


def test_a_repeat_and_an_overtaken_revision_change_nothing():
    standing = standing_after(a_usage(2))
    assert book(a_usage(2), standing) == Repeated()
    assert book(a_usage(1, fee=99), standing) == Repeated()


@pytest.mark.parametrize(
    "changed",
    [
        {"ended_at": NOON + timedelta(days=1)},
        {"readings": (Reading(measured_at=NOON, impressions=5_000),)},
        {"split": split(**{"agency:a1": 2_000, "talent:t1": 8_000})},
    ],
)
def test_what_says_the_same_about_money_books_nothing(changed):
    assert book(a_usage(2, **changed), standing_after(a_usage(1))) == Unchanged(Standing(2, fee_for(a_usage(1))))


@pytest.mark.parametrize(
    "changed",
    [
        {"fee": 5_000},
        {"currency": "USD"},
        {"license_version": 2},
        {"license_id": "license-2"},
        {"brand_id": "b2"},
        {"split": split(**{"talent:t1": 7_000, "agency:a1": 3_000})},
    ],
)
def test_a_changed_booking_takes_back_what_stood_and_books_anew(changed):
    before, after = a_usage(1), a_usage(2, **changed)
    outcome = book(after, standing_after(before))
    assert lines_of(outcome) == ["reversal", "fee"]
    reversal, fee = outcome.transactions
    assert reversal.corrects == fee_for(before).transaction_id
    assert reversal.trace == fee_for(before).trace
    assert fee == fee_for(after)


def test_a_void_usage_takes_back_what_stood():
    outcome = book(a_usage(2, status="void"), standing_after(a_usage(1)))
    assert lines_of(outcome) == ["reversal"]
    assert outcome.standing == Standing(2)


def test_a_void_usage_of_a_use_never_booked_books_nothing_but_is_remembered():
    assert book(a_usage(3, status="void"), Standing()) == Unchanged(Standing(3))


def test_a_use_that_was_void_is_booked_again_when_it_is_licensed_after_all():
    outcome = book(a_usage(3), standing_after(a_usage(1), a_usage(2, status="void")))
    assert lines_of(outcome) == ["fee"]


def test_sandbox_usage_never_reaches_the_ledger():
    assert book(a_usage(livemode=False), Standing()) == Sandbox()


def test_a_transaction_that_does_not_balance_cannot_be_made():
    fee = fee_for(a_usage())
    with pytest.raises(ValueError, match="sum to zero"):
        replace(fee, entries=fee.entries[:-1])


def test_ids_of_transactions_follow_from_use_revision_and_line():
    fee = fee_for(a_usage())
    assert fee.transaction_id == fee_for(a_usage(fee=5)).transaction_id
    others = {
        fee_for(a_usage(2)).transaction_id,
        fee_for(a_usage(use_id="use-2")).transaction_id,
        reversal_of(fee, a_usage()).transaction_id,
    }
    assert len({fee.transaction_id, *others}) == 4


def test_the_event_of_a_transaction_carries_its_id_and_balances():
    event = as_event(fee_for(a_usage()), PERIOD)
    assert str(event.event_id()) == event.transaction_id == fee_for(a_usage()).transaction_id
    assert event.message_key() == "license-1"
    assert sum(entry.minor for entry in event.entries) == 0


async def test_several_revisions_in_one_batch_are_booked_one_after_the_other():
    ledger = LedgerInMemory()
    await on_usages([a_usage(1), a_usage(2, fee=500), a_usage(2, fee=500), a_usage(1)], ledger)
    assert [(made.usage_revision, made.line) for made in ledger.transactions] == [
        (1, "fee"),
        (2, "reversal"),
        (2, "fee"),
    ]


# Each number stands for a different content of a usage; the same number says the same about money.
CONTENTS = [
    {},
    {"fee": 1},
    {"license_version": 2},
    {"status": "void"},
    {"currency": "USD", "fee": 77},
    {"split": split(**{"talent:t2": 3_333, "agency:a1": 6_667})},
    {"brand_id": "b2", "fee": 0},
]


@st.composite
def histories(draw: st.DrawFn):
    """Revisions of up to three uses, delivered in any order, any of them more than once, in batches of any size."""
    states = []
    for use in range(draw(st.integers(1, 3))):
        contents = draw(st.lists(st.sampled_from(CONTENTS), min_size=1, max_size=6))
        states += [a_usage(revision, use_id=f"use-{use}", **each) for revision, each in enumerate(contents, start=1)]
    repeats = draw(st.lists(st.sampled_from(states), max_size=8))
    return states, draw(st.permutations([*states, *repeats])), draw(st.integers(1, 5))


@given(histories())
async def test_what_stands_in_the_end_is_what_the_last_states_say(history):
    states, delivered, size = history
    ledger, expected = LedgerInMemory(), LedgerInMemory()
    for start in range(0, len(delivered), size):
        await on_usages(delivered[start : start + size], ledger)
    last = {state.use_id: state for state in states}
    await on_usages(list(last.values()), expected)

    assert ledger.totals() == expected.totals()
    assert [sum(entry.minor for entry in made.entries) for made in ledger.transactions] == [0] * len(
        ledger.transactions
    )
    ids = [made.transaction_id for made in ledger.transactions]
    assert len(set(ids)) == len(ids)
    corrected = [made.corrects for made in ledger.transactions if made.corrects]
    assert len(set(corrected)) == len(corrected)
    assert set(corrected) <= {made.transaction_id for made in ledger.transactions if made.line == "fee"}
    for account, currency in {(e.ledger_account, m.currency) for m in ledger.transactions for e in m.entries}:
        statement = statement_of(postings(ledger, account, currency))
        sign = -1 if account.startswith("payable") else 1
        assert statement.total_minor == sign * expected.totals().get((account, currency), 0)


def postings(ledger: LedgerInMemory, account: str, currency: str) -> list[Posting]:
    return [
        Posting(
            transaction_id=made.transaction_id,
            ledger_account=account,
            minor=entry.minor,
            currency=currency,
            period=PERIOD,
            line=made.line,
            usage_revision=made.usage_revision,
            corrects=made.corrects,
            trace=made.trace,
        )
        for made in ledger.transactions
        for entry in made.entries
        if (entry.ledger_account, made.currency) == (account, currency)
    ]

"""What a use costs, and who gets it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.royalty.rating import Unrateable, fee_entries, fee_of_use, negated
from shared.events import FlatCard
from shared.money import BASIS_POINTS, Money, formatted
from tests.royalty_builders import a_usage, split


@st.composite
def splits(draw: st.DrawFn):
    """A split among up to eight payees, down to a hundredth of a percent each."""
    cuts = sorted(draw(st.sets(st.integers(1, BASIS_POINTS - 1), max_size=7)))
    points = [high - low for low, high in zip([0, *cuts], [*cuts, BASIS_POINTS], strict=True)]
    kinds = [draw(st.sampled_from(("talent", "agency"))) for _ in points]
    return split(**{f"{kind}:p{number}": part for number, (kind, part) in enumerate(zip(kinds, points, strict=True))})


def minors(entries) -> dict[str, int]:
    return {entry.ledger_account: entry.minor for entry in entries}


def test_a_brand_owes_the_fee_and_each_payee_gets_its_part():
    usage = a_usage(fee=10_000)
    assert minors(fee_entries(10_000, brand_id="b1", split=usage.split)) == {
        "receivable:brand:b1": 10_000,
        "payable:talent:t1": -8_000,
        "payable:agency:a1": -2_000,
    }


def test_the_odd_cent_goes_to_the_largest_remainder():
    thirds = split(**{"talent:t1": 3_333, "talent:t2": 3_333, "agency:a1": 3_334})
    found = minors(fee_entries(100, brand_id="b1", split=thirds))
    assert found == {
        "receivable:brand:b1": 100,
        "payable:agency:a1": -34,
        "payable:talent:t1": -33,
        "payable:talent:t2": -33,
    }


@given(fee=st.integers(0, 10**15), shares=splits())
def test_a_fee_is_split_exactly_and_nobody_is_off_by_a_whole_cent(fee, shares):
    found = minors(fee_entries(fee, brand_id="b1", split=shares))
    assert sum(found.values()) == 0
    assert found["receivable:brand:b1"] == fee
    for payee, points in shares.by_payee().items():
        assert abs(-found[f"payable:{payee}"] * BASIS_POINTS - fee * points) < BASIS_POINTS


@given(fee=st.integers(0, 10**15), shares=splits())
def test_the_order_of_the_shares_changes_no_cent(fee, shares):
    turned = split(**dict(reversed(shares.by_payee().items())))
    assert fee_entries(fee, brand_id="b1", split=shares) == fee_entries(fee, brand_id="b1", split=turned)


@given(fee=st.integers(0, 10**15), shares=splits())
def test_what_is_taken_back_leaves_nothing(fee, shares):
    entries = fee_entries(fee, brand_id="b1", split=shares)
    left = [entry.minor + back.minor for entry, back in zip(entries, negated(entries), strict=True)]
    assert not any(left)


def test_a_free_use_is_booked_at_zero_so_that_it_stands_in_the_statement():
    assert fee_of_use(a_usage(fee=0).rate_card).minor == 0


def test_a_fee_below_zero_cannot_be_booked():
    with pytest.raises(Unrateable, match="below zero"):
        fee_of_use(FlatCard(fee=Money(minor=-1, currency="EUR")))


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (123_450, "EUR", "1,234.50 EUR"),
        (-5, "EUR", "-0.05 EUR"),
        (0, "USD", "0.00 USD"),
        (-1_234, "JPY", "-1,234 JPY"),
        (1_234_567, "KWD", "1,234.567 KWD"),
    ],
)
def test_amounts_are_shown_in_the_digits_of_their_currency(minor, currency, text):
    assert formatted(minor, currency) == text

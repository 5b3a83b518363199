"""No cent is lost, none is invented."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.money import Money, split_minor


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(1, 9_999), max_size=6))
def test_the_parts_of_a_split_add_up_whatever_the_amount(amount: int, cuts: list[int]) -> None:
    edges = sorted({0, 10_000, *cuts})
    shares = {f"p{number}": high - low for number, (low, high) in enumerate(itertools.pairwise(edges))}
    parts = split_minor(amount, shares)
    assert sum(parts.values()) == amount
    assert all(abs(parts[name] - amount * share / 10_000) < 1 for name, share in shares.items())


def test_the_odd_cent_goes_to_the_largest_remainder_and_ties_to_the_lower_name() -> None:
    assert split_minor(101, {"a": 5_000, "b": 5_000}) == {"a": 51, "b": 50}
    assert split_minor(100, {"a": 3_333, "b": 6_667}) == {"a": 33, "b": 67}


def test_taking_back_mirrors_giving() -> None:
    assert split_minor(-101, {"a": 5_000, "b": 5_000}) == {"a": -51, "b": -50}


@pytest.mark.parametrize("shares", [{}, {"a": 9_999}, {"a": 10_001}, {"a": 0, "b": 10_000}, {"a": -1, "b": 10_001}])
def test_shares_that_are_no_whole_are_refused(shares: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="10000"):
        split_minor(1, shares)


def test_money_is_whole_and_of_one_currency() -> None:
    with pytest.raises(ValidationError):
        Money(minor=1.5, currency="EUR")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Money(minor=1, currency="euro")
    with pytest.raises(ValueError, match="cannot add"):
        Money(minor=1, currency="EUR") + Money(minor=1, currency="USD")

"""Exact money: whole minor units of one currency, and the split that loses no cent."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StrictInt

from shared.values import Value

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["EUR"], description="ISO 4217 code")]
BASIS_POINTS = 10_000


class Money(Value):
    """An amount in minor units (cents for EUR, yen for JPY); never a float."""

    minor: StrictInt
    currency: Currency

    def __add__(self, other: "Money") -> "Money":
        """The sum; ValueError when the currencies differ."""
        if other.currency != self.currency:
            raise ValueError(f"cannot add {other.currency} to {self.currency}")
        return Money(minor=self.minor + other.minor, currency=self.currency)

    def __neg__(self) -> "Money":
        return Money(minor=-self.minor, currency=self.currency)


def split_minor(amount_minor: int, shares: Mapping[str, int]) -> dict[str, int]:
    """Split an amount by shares in basis points with the largest-remainder (Hamilton) method.

    The parts always add up to the amount; equal remainders go to the lower name, so that a replay gives the same cents.
    ValueError unless the shares are positive and sum to 10,000. A negative amount splits as the mirror of its positive.
    """
    if any(share <= 0 for share in shares.values()) or sum(shares.values()) != BASIS_POINTS:
        raise ValueError(f"shares must be positive and sum to {BASIS_POINTS} basis points, got {dict(shares)}")
    sign, amount = (-1, -amount_minor) if amount_minor < 0 else (1, amount_minor)
    parts = {name: amount * share // BASIS_POINTS for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: (-(amount * shares[name] % BASIS_POINTS), name))
    for name in by_remainder[: amount - sum(parts.values())]:
        parts[name] += 1
    return {name: sign * part for name, part in parts.items()}

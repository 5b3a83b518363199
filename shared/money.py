"""Exact money: whole minor units of one currency, and the split that loses no cent."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StrictInt

from shared.values import Value

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["EUR"], description="ISO 4217 code")]
BASIS_POINTS = 10_000

# ISO 4217: the currencies whose minor unit is not a hundredth, by the digits of theirs.
_OTHER_MINOR_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_MINOR_DIGITS = {currency: digits for digits, named in _OTHER_MINOR_DIGITS.items() for currency in named.split()}


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


def formatted(minor: int, currency: str) -> str:
    """An amount for people, exact, in the digits of its currency: `1,234.50 EUR`, `-1,234 JPY`."""
    digits = _MINOR_DIGITS.get(currency, 2)
    whole, rest = divmod(abs(minor), 10**digits)
    sign = "-" if minor < 0 else ""
    return f"{sign}{whole:,}{f'.{rest:0{digits}}' if digits else ''} {currency}"


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

"""What callers may ask for. Unknown fields are refused: a misspelt limit of a scope would allow everything."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from shared.events import Role, Scope, Share, SocialAccount, Split
from shared.money import Currency
from shared.values import Id, Platform, Territory, UtcDatetime, Value

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"),
    Field(description="for people; stays in the registry"),
]
ACCOUNTS_MAX = 200


class Asked(Value):
    """The base of all request bodies."""

    model_config = ConfigDict(extra="forbid")


class Account(SocialAccount):
    """A social account."""

    account: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["@brand"])

    model_config = ConfigDict(extra="forbid")

    def plain(self) -> SocialAccount:
        """The account as events carry it."""
        return SocialAccount(platform=self.platform, account=self.account)


Accounts = Annotated[tuple[Account, ...], Field(max_length=ACCOUNTS_MAX)]


class NewAgency(Asked):
    """An agency to register."""

    name: Name


class NewBrand(Asked):
    """A brand to register."""

    name: Name
    accounts: Accounts = ()


class BrandAccounts(Asked):
    """All accounts that a brand has from now on."""

    accounts: Accounts


class NewTalent(Asked):
    """A talent to register with the agency that represents it."""

    name: Name
    agency_id: Id | None = Field(None, description="needed from the operator; an agency registers its own talents")
    represented_from: UtcDatetime | None = Field(None, description="now when left out")


class NewTwin(Asked):
    """A twin to register for a talent."""

    name: Name
    talent_id: Id


class Fee(Asked):
    """An amount in minor units of a currency."""

    minor: Annotated[int, Field(strict=True, ge=0, le=10**12, examples=[25_000], description="cents for EUR")]
    currency: Currency


class CardTerms(Asked):
    """A flat fee for every use."""

    kind: Literal["flat"] = "flat"
    fee: Fee


class NewRateCard(CardTerms):
    """A rate card to keep."""

    name: Name
    agency_id: Id | None = Field(None, description="only for this agency; offered to all when left out")


class ScopeAsked(Scope):
    """What is to be allowed; null or left out means any."""

    platforms: Annotated[tuple[Platform, ...], Field(min_length=1, max_length=100)] | None = None
    territories: Annotated[tuple[Territory, ...], Field(min_length=1, max_length=300)] | None = None

    model_config = ConfigDict(extra="forbid")

    def plain(self) -> Scope:
        """The scope as events carry it, without repeats."""
        return Scope(
            platforms=_sorted(self.platforms),
            territories=_sorted(self.territories),
            valid_from=self.valid_from,
            valid_until=self.valid_until,
        )


class ShareAsked(Share):
    """A payee's part."""

    model_config = ConfigDict(extra="forbid")


class NewVersion(Asked):
    """The terms of a license from a moment on."""

    scope: ScopeAsked
    rate_card_id: Id | None = Field(None, description="a kept card, copied by value")
    rate_card: CardTerms | None = Field(None, description="or a card of its own")
    split: Annotated[tuple[ShareAsked, ...], Field(min_length=1, max_length=20)]
    effective_from: UtcDatetime

    @model_validator(mode="after")
    def _one_card_and_a_whole_split(self) -> Self:
        if (self.rate_card_id is None) == (self.rate_card is None):
            raise ValueError("give either rate_card_id or rate_card")
        self.whole_split()
        return self

    def whole_split(self) -> Split:
        """The split as events carry it; ValueError unless its parts sum to the whole."""
        return Split(shares=tuple(Share(payee=each.payee, basis_points=each.basis_points) for each in self.split))


class NewLicense(NewVersion):
    """A twin to be granted to a brand, with the first version of the terms."""

    twin_id: Id
    brand_id: Id


class Termination(Asked):
    """From when on a license covers nothing."""

    terminated_at: UtcDatetime | None = Field(None, description="now when left out")


class NewConsent(Asked):
    """A talent's permission for a twin."""

    twin_id: Id
    granted_at: UtcDatetime | None = Field(None, description="now when left out")


class Withdrawal(Asked):
    """From when on a consent does not hold."""

    withdrawn_at: UtcDatetime | None = Field(None, description="now when left out")


class NewApiKey(Asked):
    """An API key to make."""

    name: Name
    role: Role
    tenant_id: Id | None = Field(
        None, description="the agency, talent, brand or platform; left out for finance and operator"
    )


def _sorted(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(sorted(set(names)))

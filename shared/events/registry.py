"""references.v1, licenses.v1, consents.v1, parties.v1, access.v1: the lookup data that registry owns."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from shared.events.base import StateEvent
from shared.events.topics import ACCESS, CONSENTS, LICENSES, PARTIES, REFERENCES, Topic
from shared.money import BASIS_POINTS, Money
from shared.values import Digest, Id, Platform, Territory, UtcDatetime, Value

Status = Literal["active", "withdrawn"]
Role = Literal["platform", "agency", "talent", "brand", "finance", "operator"]


class ReferenceState(StateEvent):
    """A registered image of a twin, as a fingerprint."""

    topic: ClassVar[Topic] = REFERENCES
    type = "com.twintally.reference.v1"

    reference_id: Id
    twin_id: Id
    agency_id: Id
    status: Status = "active"
    image_digest: Digest
    algorithm: str
    fingerprint: str = Field(description="base64 of the fingerprint's bytes; empty when withdrawn")

    def message_key(self) -> str:
        """`reference_id`."""
        return self.reference_id


class Scope(Value):
    """What a license version allows; null means any."""

    platforms: tuple[Platform, ...] | None = None
    territories: tuple[Territory, ...] | None = None
    valid_from: UtcDatetime = Field(description="the first moment covered")
    valid_until: UtcDatetime = Field(description="the first moment not covered")

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> "Scope":
        if self.valid_until <= self.valid_from:
            raise ValueError("valid_until must be later than valid_from")
        return self


class FlatCard(Value):
    """A fixed fee for every use."""

    kind: Literal["flat"] = "flat"
    fee: Money


RateCard = FlatCard


class Share(Value):
    """A payee's part of every fee."""

    payee: Annotated[str, Field(pattern=r"^(talent|agency):.+$", examples=["talent:t1"])]
    basis_points: int = Field(gt=0, le=BASIS_POINTS)


class Split(Value):
    """How a fee is shared; the parts sum to 10,000 basis points."""

    shares: tuple[Share, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sums_to_the_whole(self) -> "Split":
        total = sum(share.basis_points for share in self.shares)
        if total != BASIS_POINTS or len({share.payee for share in self.shares}) != len(self.shares):
            raise ValueError(f"shares of distinct payees must sum to {BASIS_POINTS} basis points, got {total}")
        return self

    def by_payee(self) -> dict[str, int]:
        """Payee to basis points."""
        return {share.payee: share.basis_points for share in self.shares}


class LicenseVersion(Value):
    """The terms of a license from a moment on; never edited."""

    version: int = Field(ge=1)
    effective_from: UtcDatetime
    scope: Scope
    rate_card: RateCard
    split: Split


class LicenseState(StateEvent):
    """The grant of a twin to a brand, with all its versions."""

    topic: ClassVar[Topic] = LICENSES
    type = "com.twintally.license.v1"

    license_id: Id
    agency_id: Id
    talent_id: Id
    twin_id: Id
    brand_id: Id
    versions: tuple[LicenseVersion, ...] = Field(min_length=1)
    terminated_at: UtcDatetime | None = None

    def message_key(self) -> str:
        """`license_id`."""
        return self.license_id


class ConsentState(StateEvent):
    """The talent's own permission for a twin."""

    topic: ClassVar[Topic] = CONSENTS
    type = "com.twintally.consent.v1"

    consent_id: Id
    talent_id: Id
    agency_id: Id
    twin_id: Id
    granted_at: UtcDatetime
    withdrawn_at: UtcDatetime | None = None

    def message_key(self) -> str:
        """`consent_id`."""
        return self.consent_id


class PartyState(StateEvent):
    """Someone or something the registry knows; names stay in the registry."""

    topic: ClassVar[Topic] = PARTIES
    kind: ClassVar[str]

    party_id: Id
    status: Status = "active"

    def message_key(self) -> str:
        """`kind:id`."""
        return f"{self.kind}:{self.party_id}"


class AgencyState(PartyState):
    """An agency."""

    kind: ClassVar = "agency"
    type = "com.twintally.agency.v1"


class SocialAccount(Value):
    """An account on a platform."""

    platform: Platform
    account: str = Field(min_length=1, max_length=200)


class BrandState(PartyState):
    """A brand with its confirmed social accounts."""

    kind: ClassVar = "brand"
    type = "com.twintally.brand.v1"
    accounts: tuple[SocialAccount, ...] = ()


class Representation(Value):
    """An agency represents a talent for a while; one at a time."""

    agency_id: Id
    from_: UtcDatetime = Field(alias="from")
    until: UtcDatetime | None = None

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)


class TalentState(PartyState):
    """A real model, owner of twins."""

    kind: ClassVar = "talent"
    type = "com.twintally.talent.v1"
    represented: tuple[Representation, ...] = ()


class TwinState(PartyState):
    """A digital twin of a talent."""

    kind: ClassVar = "twin"
    type = "com.twintally.twin.v1"
    talent_id: Id
    agency_id: Id


class AccessState(StateEvent):
    """An API key as the other services need it: its hash, its role, its tenant."""

    topic: ClassVar[Topic] = ACCESS
    type = "com.twintally.access.v1"

    api_key_id: Id
    key_hash: Digest = Field(description="of the key's text, which is random enough that no salt is needed")
    role: Role
    tenant_id: Id | None = Field(
        default=None, description="the agency, talent, brand or platform; null: finance, operator"
    )
    status: Status = "active"

    def message_key(self) -> str:
        """`api_key_id`."""
        return self.api_key_id

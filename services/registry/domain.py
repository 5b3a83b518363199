"""Who and what the registry knows, and the state in which each is told to the other services."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from shared.events import (
    AccessState,
    AgencyState,
    BrandState,
    ReferenceState,
    Representation,
    Role,
    SocialAccount,
    StateEvent,
    TalentState,
    TwinState,
    encoded_bytes,
)
from shared.ids import derived_id, digest_of
from shared.values import UtcDatetime

Status = Literal["active", "withdrawn"]
Kind = Literal["agency", "brand", "talent", "twin", "reference", "license", "consent", "rate card", "API key"]

PREFIXES: dict[Kind, str] = {
    "agency": "agency",
    "brand": "brand",
    "talent": "talent",
    "twin": "twin",
    "reference": "ref",
    "license": "lic",
    "consent": "con",
    "rate card": "card",
    "API key": "key",
}


def made_id(kind: Kind, unique: UUID) -> str:
    """The id of a new thing: what it is, then 32 hexadecimal digits."""
    return f"{PREFIXES[kind]}_{unique.hex}"


def repeatable(kind: Kind, idempotency_key: str, *, role: Role, tenant_id: str | None, livemode: bool) -> UUID:
    """What makes the id of a thing whose request carries an idempotency key: a repeat by its maker gives the same."""
    return derived_id("registry", role, tenant_id, livemode, kind, idempotency_key)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What every row of the registry has; `changed_at` is when the change was made that its event tells."""

    livemode: bool
    created_at: UtcDatetime
    changed_at: UtcDatetime


@dataclass(frozen=True, kw_only=True)
class Published(Kept):
    """Something whose changes are told to the other services."""

    def state(self, revision: int) -> StateEvent:
        """All that the others may know of it."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Agency(Published):
    """Represents talents."""

    agency_id: str
    name: str

    def state(self, revision: int) -> AgencyState:
        """Without its name."""
        return AgencyState(
            revision=revision, livemode=self.livemode, occurred_at=self.changed_at, party_id=self.agency_id
        )


@dataclass(frozen=True, kw_only=True)
class Brand(Published):
    """A licensee with the social accounts that the operator confirmed."""

    brand_id: str
    name: str
    accounts: tuple[SocialAccount, ...] = ()

    def state(self, revision: int) -> BrandState:
        """Its accounts, without its name."""
        return BrandState(
            revision=revision,
            livemode=self.livemode,
            occurred_at=self.changed_at,
            party_id=self.brand_id,
            accounts=self.accounts,
        )

    def with_accounts(self, accounts: Iterable[SocialAccount], at: datetime) -> "Brand":
        """The brand with these accounts only; the brand itself when they are the ones it has."""
        wanted = in_order(accounts)
        return self if wanted == self.accounts else replace(self, accounts=wanted, changed_at=at)


def in_order(accounts: Iterable[SocialAccount]) -> tuple[SocialAccount, ...]:
    """Accounts without repeats in one order, so that the same accounts are the same state."""
    return tuple(sorted(set(accounts), key=lambda each: (each.platform, each.account)))


@dataclass(frozen=True, kw_only=True)
class Talent(Published):
    """A real model; `agency_id` is the agency that represents it."""

    talent_id: str
    agency_id: str
    name: str
    represented: tuple[Representation, ...] = ()

    def state(self, revision: int) -> TalentState:
        """Who represents it since when, without its name."""
        return TalentState(
            revision=revision,
            livemode=self.livemode,
            occurred_at=self.changed_at,
            party_id=self.talent_id,
            represented=self.represented,
        )


@dataclass(frozen=True, kw_only=True)
class Twin(Published):
    """A digital twin of a talent."""

    twin_id: str
    talent_id: str
    agency_id: str
    name: str

    def state(self, revision: int) -> TwinState:
        """Whose it is, without its name."""
        return TwinState(
            revision=revision,
            livemode=self.livemode,
            occurred_at=self.changed_at,
            party_id=self.twin_id,
            talent_id=self.talent_id,
            agency_id=self.agency_id,
        )


@dataclass(frozen=True)
class Printed:
    """What is told of an image that can be recognised; `whole_bits`: the hash of the whole picture, 256 of 0 and 1."""

    image_type: str
    width_px: int
    height_px: int
    algorithm: str
    fingerprint: bytes
    whole_bits: str


@dataclass(frozen=True)
class Unusable:
    """Why an image cannot be a reference; `measured` and `needed` are the figures that decided, if any."""

    kind: Literal["undecodable", "too_plain"]
    reason: str
    measured: dict[str, float]
    needed: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Reference(Published):
    """A registered image of a twin. The bytes lie in the evidence store under `image_digest`."""

    reference_id: str
    twin_id: str
    talent_id: str
    agency_id: str
    status: Status = "active"
    image_digest: str
    image_type: str
    image_bytes: int
    width_px: int
    height_px: int
    algorithm: str
    fingerprint: bytes
    whole_bits: str | None

    def state(self, revision: int) -> ReferenceState:
        """Its fingerprint."""
        return ReferenceState(
            revision=revision,
            livemode=self.livemode,
            occurred_at=self.changed_at,
            reference_id=self.reference_id,
            twin_id=self.twin_id,
            agency_id=self.agency_id,
            status=self.status,
            image_digest=self.image_digest,
            algorithm=self.algorithm,
            fingerprint=encoded_bytes(self.fingerprint),
        )

    def withdrawn(self, at: datetime) -> "Reference":
        """The reference without its fingerprint; what is withdrawn stays so."""
        if self.status == "withdrawn":
            return self
        return replace(self, status="withdrawn", fingerprint=b"", whole_bits=None, changed_at=at)


@dataclass(frozen=True)
class SamePicture:
    """Another reference that shows the same picture, as far as the asker may know it."""

    whose: Literal["same_twin", "another_twin", "another_agency"]
    reference_id: str | None = None
    twin_id: str | None = None
    agency_id: str | None = None


def as_told(reference: Reference, others: Iterable[Reference], *, to_operator: bool) -> tuple[SamePicture, ...]:
    """The others that show the picture of a reference, for its agency or for the operator.

    An agency learns that other agencies have the picture, and neither whose it is nor how many they are.
    """
    told = []
    for other in others:
        if other.agency_id == reference.agency_id or to_operator:
            told.append(SamePicture(_whose(reference, other), other.reference_id, other.twin_id, other.agency_id))
        else:
            told.append(SamePicture("another_agency"))
    return tuple(dict.fromkeys(told))


def _whose(reference: Reference, other: Reference) -> Literal["same_twin", "another_twin", "another_agency"]:
    if other.twin_id == reference.twin_id:
        return "same_twin"
    return "another_twin" if other.agency_id == reference.agency_id else "another_agency"


@dataclass(frozen=True, kw_only=True)
class ApiKey(Published):
    """What a caller proves itself with; of its text only the hash is kept. The agency `agency_id` manages it."""

    api_key_id: str
    key_hash: str
    role: Role
    tenant_id: str | None
    agency_id: str | None
    name: str
    status: Status = "active"

    def state(self, revision: int) -> AccessState:
        """Hash, role and tenant."""
        return AccessState(
            revision=revision,
            livemode=self.livemode,
            occurred_at=self.changed_at,
            api_key_id=self.api_key_id,
            key_hash=self.key_hash,
            role=self.role,
            tenant_id=self.tenant_id,
            status=self.status,
        )

    def revoked(self, at: datetime) -> "ApiKey":
        """The key, worth nothing from now on."""
        return self if self.status == "withdrawn" else replace(self, status="withdrawn", changed_at=at)


def new_key_text() -> str:
    """The text of a new API key: 256 random bits, so that its plain hash gives nothing away."""
    return f"twk_{secrets.token_urlsafe(32)}"


def hash_of_key(text: str) -> str:
    """What is kept of a key's text."""
    return digest_of(text.encode())

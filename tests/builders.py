"""Things of the business as tests need them: whole by default, and only what matters is named."""

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.events import (
    AccessState,
    AgencyState,
    AllowanceState,
    BrandState,
    CaseState,
    ConsentState,
    Decision,
    Entry,
    Event,
    FlatCard,
    InfringementState,
    LicenseState,
    LicenseVersion,
    MediaItem,
    PostContent,
    PostDeleted,
    PostEdited,
    PostMeasured,
    PostPublished,
    Reading,
    Reason,
    ReferenceState,
    Representation,
    RoyaltyBooked,
    Scope,
    Share,
    Sighting,
    SocialAccount,
    Split,
    StatementState,
    TalentState,
    TwinState,
    UsageState,
    UseSeen,
    VersionSeen,
    Watermark,
)
from shared.ids import digest_of, sighting_id, use_id
from shared.money import Money

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
ONE_HOUR = timedelta(hours=1)
ONE_DAY = timedelta(days=1)
IMAGE = digest_of(b"image")
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def a_post(**changes: Any) -> PostContent:
    content: dict[str, Any] = {
        "account": "acme",
        "territories": ("DE",),
        "media": (MediaItem(url="https://images.example/1.jpg"),),
    }
    return PostContent(**{**content, **changes})


def a_published(**changes: Any) -> PostPublished:
    fact: dict[str, Any] = {"platform": "instagram", "post_id": "p1", "occurred_at": NOON, "post": a_post()}
    return PostPublished(**{**fact, **changes})


def an_edited(**changes: Any) -> PostEdited:
    fact: dict[str, Any] = {
        "platform": "instagram",
        "post_id": "p1",
        "occurred_at": NOON + ONE_HOUR,
        "post": a_post(),
    }
    return PostEdited(**{**fact, **changes})


def a_deleted(**changes: Any) -> PostDeleted:
    fact: dict[str, Any] = {"platform": "instagram", "post_id": "p1", "occurred_at": NOON + ONE_DAY}
    return PostDeleted(**{**fact, **changes})


def a_measured(**changes: Any) -> PostMeasured:
    fact: dict[str, Any] = {
        "platform": "instagram",
        "post_id": "p1",
        "occurred_at": NOON + ONE_HOUR,
        "impressions": 1200,
    }
    return PostMeasured(**{**fact, **changes})


def a_use_id(twin_id: str = "twin-1", post_id: str = "p1") -> str:
    return use_id(platform="instagram", post_id=post_id, twin_id=twin_id, livemode=True)


def a_sighting(**changes: Any) -> Sighting:
    sighting: dict[str, Any] = {
        "sighting_id": sighting_id(use_id=a_use_id(), media_digest=IMAGE, reference_id="ref-1"),
        "reference_id": "ref-1",
        "media_digest": IMAGE,
        "media_url": "https://images.example/1.jpg",
        "score": 0.97,
        "region": (0.0, 0.0, 640.0, 800.0),
        "transform": IDENTITY,
        "description": "whole picture",
        "algorithm": "tf1",
    }
    return Sighting(**{**sighting, **changes})


def a_version_seen(**changes: Any) -> VersionSeen:
    version: dict[str, Any] = {
        "event_id": str(a_published().event_id()),
        "shown_from": NOON,
        "account": "acme",
        "territories": ("DE",),
        "sightings": (a_sighting(),),
    }
    return VersionSeen(**{**version, **changes})


def a_use_seen(**changes: Any) -> UseSeen:
    use: dict[str, Any] = {
        "revision": 1,
        "occurred_at": NOON,
        "use_id": a_use_id(),
        "platform": "instagram",
        "post_id": "p1",
        "twin_id": "twin-1",
        "versions": (a_version_seen(),),
        "started_at": NOON,
    }
    return UseSeen(**{**use, **changes})


def a_card(minor: int = 10_000, currency: str = "EUR") -> FlatCard:
    return FlatCard(fee=Money(minor=minor, currency=currency))


def a_split(talent: str = "t1", agency: str = "a1", talent_points: int = 7_000) -> Split:
    return Split(
        shares=(
            Share(payee=f"talent:{talent}", basis_points=talent_points),
            Share(payee=f"agency:{agency}", basis_points=10_000 - talent_points),
        )
    )


def a_scope(**changes: Any) -> Scope:
    scope: dict[str, Any] = {"valid_from": NOON - ONE_DAY, "valid_until": NOON + 30 * ONE_DAY}
    return Scope(**{**scope, **changes})


def a_version(**changes: Any) -> LicenseVersion:
    version: dict[str, Any] = {
        "version": 1,
        "effective_from": NOON - ONE_DAY,
        "scope": a_scope(),
        "rate_card": a_card(),
        "split": a_split(),
    }
    return LicenseVersion(**{**version, **changes})


def a_license(**changes: Any) -> LicenseState:
    state: dict[str, Any] = {
        "revision": 1,
        "occurred_at": NOON - ONE_DAY,
        "license_id": "lic-1",
        "agency_id": "a1",
        "talent_id": "t1",
        "twin_id": "twin-1",
        "brand_id": "b1",
        "versions": (a_version(),),
    }
    return LicenseState(**{**state, **changes})


def a_consent(**changes: Any) -> ConsentState:
    state: dict[str, Any] = {
        "revision": 1,
        "occurred_at": NOON - ONE_DAY,
        "consent_id": "con-1",
        "talent_id": "t1",
        "agency_id": "a1",
        "twin_id": "twin-1",
        "granted_at": NOON - 2 * ONE_DAY,
    }
    return ConsentState(**{**state, **changes})


def an_agency(**changes: Any) -> AgencyState:
    return AgencyState(**{"revision": 1, "occurred_at": NOON, "party_id": "a1", **changes})


def a_brand(**changes: Any) -> BrandState:
    accounts = (SocialAccount(platform="instagram", account="acme"),)
    return BrandState(**{"revision": 1, "occurred_at": NOON, "party_id": "b1", "accounts": accounts, **changes})


def a_talent(**changes: Any) -> TalentState:
    represented = (Representation(agency_id="a1", from_=NOON - 30 * ONE_DAY),)
    return TalentState(**{"revision": 1, "occurred_at": NOON, "party_id": "t1", "represented": represented, **changes})


def a_twin(**changes: Any) -> TwinState:
    state: dict[str, Any] = {"revision": 1, "occurred_at": NOON, "party_id": "twin-1"}
    return TwinState(**{**state, "talent_id": "t1", "agency_id": "a1", **changes})


def a_reference(**changes: Any) -> ReferenceState:
    state: dict[str, Any] = {
        "revision": 1,
        "occurred_at": NOON,
        "reference_id": "ref-1",
        "twin_id": "twin-1",
        "agency_id": "a1",
        "image_digest": IMAGE,
        "algorithm": "tf1",
        "fingerprint": "AAEC",
    }
    return ReferenceState(**{**state, **changes})


def an_access(**changes: Any) -> AccessState:
    state: dict[str, Any] = {"revision": 1, "occurred_at": NOON, "api_key_id": "key-1"}
    return AccessState(
        **{**state, "key_hash": digest_of(b"twk_secret"), "role": "agency", "tenant_id": "a1", **changes}
    )


def a_usage(**changes: Any) -> UsageState:
    state: dict[str, Any] = {
        "revision": 1,
        "occurred_at": NOON,
        "use_id": a_use_id(),
        "platform": "instagram",
        "post_id": "p1",
        "twin_id": "twin-1",
        "talent_id": "t1",
        "agency_id": "a1",
        "brand_id": "b1",
        "license_id": "lic-1",
        "license_version": 1,
        "rate_card": a_card(),
        "split": a_split(),
        "started_at": NOON,
    }
    return UsageState(**{**state, **changes})


def an_infringement(**changes: Any) -> InfringementState:
    state: dict[str, Any] = {
        "revision": 1,
        "occurred_at": NOON,
        "use_id": a_use_id(),
        "verdict": "out_of_scope",
        "reasons": (Reason(dimension="territory", text="shown in US; the license allows DE"),),
        "platform": "instagram",
        "post_id": "p1",
        "account": "acme",
        "twin_id": "twin-1",
        "talent_id": "t1",
        "agency_id": "a1",
        "brand_id": "b1",
        "license_id": "lic-1",
        "license_version": 1,
        "started_at": NOON,
        "sightings": (a_sighting(),),
    }
    return InfringementState(**{**state, **changes})


def a_royalty(**changes: Any) -> RoyaltyBooked:
    state: dict[str, Any] = {
        "occurred_at": NOON,
        "transaction_id": "5b0f3c1e-7d0a-5f5e-9b0a-3f1f6d0c9a11",
        "license_id": "lic-1",
        "license_version": 1,
        "use_id": a_use_id(),
        "usage_revision": 1,
        "line": "fee",
        "period": "2026-11",
        "currency": "EUR",
        "entries": (
            Entry(ledger_account="receivable:brand:b1", minor=10_000),
            Entry(ledger_account="payable:talent:t1", minor=-7_000),
            Entry(ledger_account="payable:agency:a1", minor=-3_000),
        ),
    }
    return RoyaltyBooked(**{**state, **changes})


def one_of_each() -> tuple[Event, ...]:
    """An event of every class, with every optional part filled somewhere."""
    decision = Decision(
        decision_id="dec-1",
        kind="permitted",
        decided_at=NOON,
        decided_by="key-1",
        media_digests=(IMAGE,),
        reference_ids=("ref-1",),
    )
    return (
        a_published(),
        an_edited(),
        a_deleted(),
        a_measured(),
        a_use_seen(readings=(Reading(measured_at=NOON + ONE_HOUR, impressions=1200),), ended_at=NOON + ONE_DAY),
        a_usage(),
        an_infringement(),
        CaseState(revision=1, occurred_at=NOON, use_id=a_use_id(), agency_id="a1", decisions=(decision,)),
        AllowanceState(
            revision=1, occurred_at=NOON, allowance_id="all-1", agency_id="a1", twin_id="twin-1", media_digest=IMAGE
        ),
        a_reference(),
        a_license(),
        a_consent(),
        an_agency(),
        a_brand(),
        a_talent(),
        a_twin(),
        an_access(),
        Watermark(revision=1_793_620_800_000, occurred_at=NOON, service="registry", end_offsets={"parties.v1": {0: 7}}),
        a_royalty(),
        StatementState(
            revision=1,
            occurred_at=NOON,
            statement_id="st-1",
            payee="talent:t1",
            period="2026-11",
            currency="EUR",
            total_minor=7_000,
            transaction_ids=(a_royalty().transaction_id,),
            digest=digest_of(b"statement"),
        ),
    )

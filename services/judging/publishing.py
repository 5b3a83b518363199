"""What is concluded of a use, and what that changes of its published states; values in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from services.judging.domain import Licensed, NoUse, OutOfScope, Unlicensed, Use, Verdict, choose, judge
from shared.events import (
    BrandState,
    ConsentState,
    InfringementState,
    LicenseState,
    Sighting,
    TwinState,
    UsageState,
    UseSeen,
)


@dataclass(frozen=True)
class Knowledge:
    """The lookup data that bears on one use; `revisions` names each record of it."""

    licenses: tuple[LicenseState, ...] = ()
    consents: tuple[ConsentState, ...] = ()
    brands: tuple[BrandState, ...] = ()
    twin: TwinState | None = None
    revisions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """The states that were published of a use so far."""

    usage: UsageState | None = None
    infringement: InfringementState | None = None


@dataclass(frozen=True)
class HeldUse:
    """A use whose row is locked: what was seen of it, what was published, and whether it waits behind live ones."""

    seen: UseSeen
    published: Published = Published()
    bulk: bool = False


@dataclass(frozen=True)
class Owners:
    """Whose use it is: who may look at it."""

    agency_id: str | None
    talent_id: str | None
    brand_id: str | None


@dataclass(frozen=True)
class Conclusion:
    """A verdict, whether it waits for fresh lookup data, and the published states after it."""

    use_id: str
    verdict: Verdict
    awaiting_fresh: bool
    published: Published
    owners: Owners
    known: Mapping[str, int] = field(default_factory=dict)


def conclude(held: HeldUse, knowledge: Knowledge, *, fresh: bool) -> Conclusion:
    """Judge a use by what is known; a withheld verdict leaves what was published as it is."""
    use = Use.known_with(held.seen, knowledge.brands)
    # A sandbox license never covers a live use.
    licenses = [each for each in knowledge.licenses if each.livemode == held.seen.livemode]
    consents = [each for each in knowledge.consents if each.livemode == held.seen.livemode]
    verdict = judge(use, choose(use, licenses, consents), consents)
    withheld = is_withheld(verdict, fresh=fresh)
    after = held.published if withheld else published_after(use, verdict, knowledge.twin, held.published)
    return Conclusion(
        use_id=held.seen.use_id,
        verdict=verdict,
        awaiting_fresh=withheld,
        published=after,
        owners=_owners(use, verdict, knowledge.twin),
        known=knowledge.revisions,
    )


def is_withheld(verdict: Verdict, *, fresh: bool) -> bool:
    """No accusation from ignorance: only `licensed` may be told before the lookup data is known to be fresh.

    Taking a usage back rests on the same knowledge as accusing, so it waits as well.
    """
    return not fresh and not isinstance(verdict, Licensed)


def published_after(use: Use, verdict: Verdict, twin: TwinState | None, before: Published) -> Published:
    """The states that the verdict calls for; one that no longer holds is void or withdrawn, never forgotten."""
    match verdict:
        case Licensed():
            return Published(_usage(use.seen, verdict), _withdrawn(before.infringement))
        case OutOfScope():
            return Published(_void(before.usage), _out_of_scope(use.seen, verdict))
        case Unlicensed():
            # Without its twin nobody knows whom to tell; when the twin is learnt the use is judged again.
            told = _withdrawn(before.infringement) if twin is None else _unlicensed(use, verdict, twin)
            return Published(_void(before.usage), told)
        case NoUse():
            return Published(_void(before.usage), _withdrawn(before.infringement))
        case _:
            assert_never(verdict)


def _owners(use: Use, verdict: Verdict, twin: TwinState | None) -> Owners:
    match verdict:
        case Licensed(license=license) | OutOfScope(license=license):
            return Owners(license.agency_id, license.talent_id, license.brand_id)
        case Unlicensed() | NoUse():
            brand = min(use.brand_ids, default=None)
            return Owners(twin.agency_id if twin else None, twin.talent_id if twin else None, brand)
        case _:
            assert_never(verdict)


def _void(usage: UsageState | None) -> UsageState | None:
    return None if usage is None else usage.model_copy(update={"status": "void"})


def _withdrawn(infringement: InfringementState | None) -> InfringementState | None:
    return None if infringement is None else infringement.model_copy(update={"status": "withdrawn"})


def _usage(seen: UseSeen, verdict: Licensed) -> UsageState:
    return UsageState(
        livemode=seen.livemode,
        occurred_at=seen.occurred_at,
        revision=1,
        use_id=seen.use_id,
        platform=seen.platform,
        post_id=seen.post_id,
        twin_id=seen.twin_id,
        talent_id=verdict.license.talent_id,
        agency_id=verdict.license.agency_id,
        brand_id=verdict.license.brand_id,
        license_id=verdict.license.license_id,
        license_version=verdict.version.version,
        rate_card=verdict.version.rate_card,
        split=verdict.version.split,
        started_at=seen.started_at,
        ended_at=seen.ended_at,
        readings=seen.readings,
    )


def _unlicensed(use: Use, verdict: Unlicensed, twin: TwinState) -> InfringementState:
    seen = use.seen
    return InfringementState(
        livemode=seen.livemode,
        occurred_at=seen.occurred_at,
        revision=1,
        use_id=seen.use_id,
        verdict="unlicensed",
        reasons=verdict.reasons,
        platform=seen.platform,
        post_id=seen.post_id,
        account=seen.versions[0].account,
        twin_id=seen.twin_id,
        talent_id=twin.talent_id,
        agency_id=twin.agency_id,
        brand_id=min(use.brand_ids, default=None),
        backfill=seen.backfill,
        started_at=seen.started_at,
        ended_at=seen.ended_at,
        sightings=_sightings(seen),
    )


def _out_of_scope(seen: UseSeen, verdict: OutOfScope) -> InfringementState:
    return InfringementState(
        livemode=seen.livemode,
        occurred_at=seen.occurred_at,
        revision=1,
        use_id=seen.use_id,
        verdict="out_of_scope",
        reasons=verdict.reasons,
        platform=seen.platform,
        post_id=seen.post_id,
        account=seen.versions[0].account,
        twin_id=seen.twin_id,
        talent_id=verdict.license.talent_id,
        agency_id=verdict.license.agency_id,
        brand_id=verdict.license.brand_id,
        license_id=verdict.license.license_id,
        license_version=verdict.version.version if verdict.version else None,
        backfill=seen.backfill,
        started_at=seen.started_at,
        ended_at=seen.ended_at,
        sightings=_sightings(seen),
    )


def _sightings(seen: UseSeen) -> tuple[Sighting, ...]:
    # The same picture in two versions is one sighting.
    by_id = {sighting.sighting_id: sighting for version in seen.versions for sighting in version.sightings}
    return tuple(by_id[sighting_id] for sighting_id in sorted(by_id))

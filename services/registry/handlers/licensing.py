"""Rate cards, licenses and consents."""

from services.registry.domain import Agency, Brand, Twin
from services.registry.handlers.desk import (
    OTHER_CONTENT,
    TAKEN,
    Ask,
    Conflict,
    Desk,
    Done,
    NotFound,
    Refusal,
    Store,
    Wrong,
    keep,
    request_digest,
)
from services.registry.licensing import Consent, KeptCard, License, NotPossible, strangers_in
from services.registry.requests import (
    CardTerms,
    NewConsent,
    NewLicense,
    NewRateCard,
    NewVersion,
    Termination,
    Withdrawal,
)
from shared.events import FlatCard, LicenseVersion, RateCard
from shared.money import Money


async def keep_card(store: Store, ask: Ask, body: NewRateCard) -> Done[KeptCard] | NotFound | Conflict:
    """Keep a rate card, for one agency or for all."""
    card = KeptCard(
        rate_card_id=ask.id_of("rate card"),
        agency_id=body.agency_id,
        name=body.name,
        card=_card(body),
        livemode=ask.caller.livemode,
        created_at=ask.at,
        changed_at=ask.at,
    )
    async with store.desk(ask.caller) as desk:
        if body.agency_id is not None and await desk.find(Agency, body.agency_id) is None:
            return NotFound("agency", body.agency_id)
        return await keep(desk, card, card.rate_card_id, request_digest(body)) or TAKEN


async def grant(store: Store, ask: Ask, body: NewLicense) -> Done[License] | Refusal:
    """Grant a twin to a brand, with the rate card copied into the first version."""
    async with store.desk(ask.caller) as desk:
        twin = await desk.find(Twin, body.twin_id)
        if twin is None:
            return NotFound("twin", body.twin_id)
        if await desk.find(Brand, body.brand_id) is None:
            return NotFound("brand", body.brand_id)
        version = await _version(desk, body, 1, talent_id=twin.talent_id, agency_id=twin.agency_id)
        if not isinstance(version, LicenseVersion):
            return version
        license = License(
            license_id=ask.id_of("license"),
            agency_id=twin.agency_id,
            talent_id=twin.talent_id,
            twin_id=twin.twin_id,
            brand_id=body.brand_id,
            versions=(version,),
            livemode=ask.caller.livemode,
            created_at=ask.at,
            changed_at=ask.at,
        )
        return await keep(desk, license, license.license_id, request_digest(body)) or TAKEN


async def add_version(store: Store, ask: Ask, license_id: str, body: NewVersion) -> Done[License] | Refusal:
    """Add a version to a license; a repeat under the same idempotency key adds none."""
    made_by, digest = ask.id_of("license"), request_digest(body, license_id)
    async with store.desk(ask.caller) as desk:
        license = await desk.find(License, license_id, to_change=True)
        if license is None:
            return NotFound("license", license_id)
        made_with = await desk.request_of_version(license_id, made_by)
        if made_with is not None:
            return Done(license) if made_with == digest else OTHER_CONTENT
        version = await _version(
            desk, body, len(license.versions) + 1, talent_id=license.talent_id, agency_id=license.agency_id
        )
        if not isinstance(version, LicenseVersion):
            return version
        longer = license.with_version(version, ask.at)
        if isinstance(longer, NotPossible):
            return Conflict(longer.reason)
        await desk.append_version(longer, made_by, digest)
    return Done(longer, fresh=True)


async def terminate(store: Store, ask: Ask, license_id: str, body: Termination) -> Done[License] | NotFound | Conflict:
    """End a license from a moment on."""
    async with store.desk(ask.caller) as desk:
        license = await desk.find(License, license_id, to_change=True)
        if license is None:
            return NotFound("license", license_id)
        ended = license.terminated(body.terminated_at, ask.at)
        if isinstance(ended, NotPossible):
            return Conflict(ended.reason)
        if ended is not license:
            await desk.replace(ended)
    return Done(ended)


async def record_consent(store: Store, ask: Ask, body: NewConsent) -> Done[Consent] | NotFound | Conflict:
    """Record the talent's consent for a twin; one that nobody has withdrawn leaves no room for a second."""
    async with store.desk(ask.caller) as desk:
        twin = await desk.find(Twin, body.twin_id)
        if twin is None:
            return NotFound("twin", body.twin_id)
        consent = Consent(
            consent_id=ask.id_of("consent"),
            talent_id=twin.talent_id,
            agency_id=twin.agency_id,
            twin_id=twin.twin_id,
            granted_at=body.granted_at or ask.at,
            livemode=ask.caller.livemode,
            created_at=ask.at,
            changed_at=ask.at,
        )
        kept = await keep(desk, consent, consent.consent_id, request_digest(body))
        if kept is not None:
            return kept
        known = await desk.consent_in_force(twin.twin_id)
    return Conflict(f"The twin has a consent already: {known.consent_id}") if known else TAKEN


async def withdraw_consent(
    store: Store, ask: Ask, consent_id: str, body: Withdrawal
) -> Done[Consent] | NotFound | Conflict:
    """End a consent from a moment on."""
    async with store.desk(ask.caller) as desk:
        consent = await desk.find(Consent, consent_id, to_change=True)
        if consent is None:
            return NotFound("consent", consent_id)
        ended = consent.withdrawn(body.withdrawn_at, ask.at)
        if isinstance(ended, NotPossible):
            return Conflict(ended.reason)
        if ended is not consent:
            await desk.replace(ended)
    return Done(ended)


async def _version(
    desk: Desk, body: NewVersion, number: int, *, talent_id: str, agency_id: str
) -> LicenseVersion | NotFound | Wrong:
    split = body.whole_split()
    strangers = strangers_in(split, talent_id=talent_id, agency_id=agency_id)
    if strangers:
        return Wrong(
            "split", f"{', '.join(strangers)}: payees are talent:{talent_id} and agency:{agency_id}, and no others"
        )
    card = await _card_for(desk, body, agency_id)
    if isinstance(card, NotFound):
        return card
    return LicenseVersion(
        version=number, effective_from=body.effective_from, scope=body.scope.plain(), rate_card=card, split=split
    )


async def _card_for(desk: Desk, body: NewVersion, agency_id: str) -> RateCard | NotFound:
    if body.rate_card is not None:
        return _card(body.rate_card)
    wanted = body.rate_card_id or ""
    kept = await desk.find(KeptCard, wanted)
    # The operator sees every card, but a card of one agency stays with that agency.
    if kept is None or kept.agency_id not in (None, agency_id):
        return NotFound("rate card", wanted)
    return kept.card


def _card(terms: CardTerms) -> RateCard:
    return FlatCard(fee=Money(minor=terms.fee.minor, currency=terms.fee.currency))

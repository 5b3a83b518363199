"""Agencies, brands, talents and twins."""

from services.registry.domain import Agency, Brand, Talent, Twin, in_order
from services.registry.handlers.desk import (
    TAKEN,
    Ask,
    Conflict,
    Desk,
    Done,
    NotFound,
    Store,
    Wrong,
    keep,
    request_digest,
)
from services.registry.requests import Account, BrandAccounts, NewAgency, NewBrand, NewTalent, NewTwin
from shared.events import Representation


async def register_agency(store: Store, ask: Ask, body: NewAgency) -> Done[Agency] | Conflict:
    """Register an agency."""
    agency = Agency(
        agency_id=ask.id_of("agency"),
        name=body.name,
        livemode=ask.caller.livemode,
        created_at=ask.at,
        changed_at=ask.at,
    )
    async with store.desk(ask.caller) as desk:
        return await keep(desk, agency, agency.agency_id, request_digest(body)) or TAKEN


async def register_brand(store: Store, ask: Ask, body: NewBrand) -> Done[Brand] | Conflict:
    """Register a brand; an account that another brand holds is refused."""
    brand = Brand(
        brand_id=ask.id_of("brand"),
        name=body.name,
        accounts=in_order(each.plain() for each in body.accounts),
        livemode=ask.caller.livemode,
        created_at=ask.at,
        changed_at=ask.at,
    )
    async with store.desk(ask.caller) as desk:
        held = await _held(desk, body.accounts, brand.brand_id)
        return held or await keep(desk, brand, brand.brand_id, request_digest(body)) or TAKEN


async def set_accounts(store: Store, ask: Ask, brand_id: str, body: BrandAccounts) -> Done[Brand] | NotFound | Conflict:
    """Give a brand these accounts, and no others."""
    async with store.desk(ask.caller) as desk:
        brand = await desk.find(Brand, brand_id, to_change=True)
        if brand is None:
            return NotFound("brand", brand_id)
        held = await _held(desk, body.accounts, brand_id)
        if held is not None:
            return held
        changed = brand.with_accounts((each.plain() for each in body.accounts), ask.at)
        if changed is not brand:
            await desk.replace(changed)
    return Done(changed)


async def register_talent(store: Store, ask: Ask, body: NewTalent) -> Done[Talent] | NotFound | Conflict | Wrong:
    """Register a talent, represented by an agency from a moment on."""
    agency_id = body.agency_id or (ask.caller.tenant_id if ask.caller.role == "agency" else None)
    if agency_id is None:
        return Wrong("agency_id", "Name the agency that represents the talent")
    since = body.represented_from or ask.at
    talent = Talent(
        talent_id=ask.id_of("talent"),
        agency_id=agency_id,
        name=body.name,
        represented=(Representation(agency_id=agency_id, from_=since),),
        livemode=ask.caller.livemode,
        created_at=ask.at,
        changed_at=ask.at,
    )
    async with store.desk(ask.caller) as desk:
        if await desk.find(Agency, agency_id) is None:
            return NotFound("agency", agency_id)
        return await keep(desk, talent, talent.talent_id, request_digest(body)) or TAKEN


async def register_twin(store: Store, ask: Ask, body: NewTwin) -> Done[Twin] | NotFound | Conflict:
    """Register a twin of a talent; it belongs to the agency that represents the talent."""
    async with store.desk(ask.caller) as desk:
        talent = await desk.find(Talent, body.talent_id)
        if talent is None:
            return NotFound("talent", body.talent_id)
        twin = Twin(
            twin_id=ask.id_of("twin"),
            talent_id=talent.talent_id,
            agency_id=talent.agency_id,
            name=body.name,
            livemode=ask.caller.livemode,
            created_at=ask.at,
            changed_at=ask.at,
        )
        return await keep(desk, twin, twin.twin_id, request_digest(body)) or TAKEN


async def _held(desk: Desk, accounts: tuple[Account, ...], brand_id: str) -> Conflict | None:
    held = await desk.holder_of([each.plain() for each in accounts], other_than=brand_id)
    if held is None:
        return None
    account, holder = held
    return Conflict(
        f"The account {account.account!r} on {account.platform} is confirmed for {holder};"
        " take it from that brand first"
    )

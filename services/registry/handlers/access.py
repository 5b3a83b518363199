"""API keys: made once, shown once, revoked at once."""

import re

from services.registry.domain import Agency, ApiKey, Brand, Kept, Talent, hash_of_key
from services.registry.handlers.desk import (
    TAKEN,
    Ask,
    Desk,
    Done,
    NotFound,
    Refusal,
    Store,
    Wrong,
    request_digest,
)
from services.registry.handlers.desk import keep as keep_thing
from services.registry.requests import NewApiKey

PLATFORM = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


async def make_key(store: Store, ask: Ask, body: NewApiKey, text: str) -> Done[ApiKey] | Refusal:
    """Make a key of this text: the operator for anyone, an agency for its own talents."""
    if ask.caller.role == "agency" and body.role != "talent":
        return Wrong("role", "An agency makes keys for its own talents; ask the operator for others")
    wrong = _wrong_tenant(body)
    if wrong is not None:
        return wrong
    async with store.desk(ask.caller) as desk:
        managed_by = await _managed_by(desk, body)
        if isinstance(managed_by, NotFound):
            return managed_by
        key = ApiKey(
            api_key_id=ask.id_of("API key"),
            key_hash=hash_of_key(text),
            role=body.role,
            tenant_id=body.tenant_id,
            agency_id=managed_by,
            name=body.name,
            livemode=ask.caller.livemode,
            created_at=ask.at,
            changed_at=ask.at,
        )
        kept = await keep_thing(desk, key, key.api_key_id, request_digest(body))
    return kept or TAKEN


async def revoke_key(store: Store, ask: Ask, api_key_id: str) -> Done[ApiKey] | NotFound:
    """Make a key worth nothing."""
    async with store.desk(ask.caller) as desk:
        key = await desk.find(ApiKey, api_key_id, to_change=True)
        if key is None:
            return NotFound("API key", api_key_id)
        gone = key.revoked(ask.at)
        if gone is not key:
            await desk.replace(gone)
    return Done(gone)


def _wrong_tenant(body: NewApiKey) -> Wrong | None:
    if body.role in ("finance", "operator"):
        return Wrong("tenant_id", f"The role {body.role} has no tenant; leave it out") if body.tenant_id else None
    if body.tenant_id is None:
        return Wrong("tenant_id", f"The role {body.role} needs the id of its {body.role}")
    if body.role == "platform" and not PLATFORM.fullmatch(body.tenant_id):
        return Wrong("tenant_id", "The name of a platform has lower-case letters, digits and hyphens, like instagram")
    return None


async def _managed_by(desk: Desk, body: NewApiKey) -> str | NotFound | None:
    tenant_id = body.tenant_id or ""
    match body.role:
        case "agency":
            return tenant_id if await desk.find(Agency, tenant_id) else NotFound("agency", tenant_id)
        case "talent":
            talent = await desk.find(Talent, tenant_id)
            return talent.agency_id if talent else NotFound("talent", tenant_id)
        case "brand":
            return None if await _has(desk, Brand, tenant_id) else NotFound("brand", tenant_id)
        case _:
            return None


async def _has(desk: Desk, kind: type[Kept], thing_id: str) -> bool:
    return await desk.find(kind, thing_id) is not None

"""Who calls: API keys as access.v1 tells them, and what a role may see."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol
from urllib.parse import quote

from fastapi import Depends, HTTPException, Request, Response

from shared.events import AccessState, Role, Unreadable, read_event
from shared.ids import digest_of
from shared.kafka import Record

TENANT_COLUMN: dict[Role, str] = {
    "agency": "agency_id",
    "talent": "talent_id",
    "brand": "brand_id",
    "platform": "platform",
}


@dataclass(frozen=True)
class Caller:
    """A person or program behind an API key."""

    api_key_id: str
    role: Role
    tenant_id: str | None
    livemode: bool

    def row_filters(self) -> dict[str, str]:
        """The transaction-local settings that row-level security reads; what is not set shows no rows."""
        column = TENANT_COLUMN.get(self.role)
        if column is None:
            return {"role": self.role}
        return {column: self.tenant_id or "", "role": self.role}


class KnowsKeys(Protocol):
    """Finds the caller of an API key."""

    async def caller_of(self, api_key: str) -> Caller | None:
        """The caller, or None for an unknown or withdrawn key."""


class AccessDirectory:
    """The API keys of access.v1 in memory; the highest revision of a key wins."""

    def __init__(self) -> None:
        self._by_id: dict[str, AccessState] = {}
        self._by_hash: dict[str, AccessState] = {}

    async def learn(self, records: Sequence[Record]) -> None:
        """Take in records of access.v1; when one cannot be read, Unreadable, and nothing of them is taken in.

        A tombstone says that a key is gone, also to whoever missed its withdrawal.
        """
        states = [None if record.value is None else _access(record) for record in records]
        for record, state in zip(records, states, strict=True):
            if state is None:
                self._forget((record.key or b"").decode("utf-8", "replace"))
            else:
                self._keep(state)
        await asyncio.sleep(0)

    async def caller_of(self, api_key: str) -> Caller | None:
        """The caller behind a key's text."""
        state = self._by_hash.get(digest_of(api_key.encode()))
        if state is None or state.status != "active":
            return None
        return Caller(state.api_key_id, state.role, state.tenant_id, state.livemode)

    def _forget(self, api_key_id: str) -> None:
        known = self._by_id.pop(api_key_id, None)
        if known is not None:
            self._by_hash.pop(known.key_hash, None)

    def _keep(self, state: AccessState) -> None:
        known = self._by_id.get(state.api_key_id)
        if known is None or known.revision < state.revision:
            if known is not None:
                self._by_hash.pop(known.key_hash, None)
            self._by_id[state.api_key_id] = state
            self._by_hash[state.key_hash] = state


def _access(record: Record) -> AccessState:
    event = read_event(record.topic, record.key, record.value)
    if not isinstance(event, AccessState):
        raise Unreadable(f"type: {event.type!r} is no API key")
    return event


def require(*roles: Role) -> Callable[[Request, Response], Awaitable[Caller]]:
    """A FastAPI dependency: the caller, when its key is known and its role is one of these; 401 or 403 otherwise.

    The app carries what knows the keys as `app.state.keys`. The answer says whom it took the caller for.
    """

    async def checked(request: Request, response: Response) -> Caller:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        keys: KnowsKeys = request.app.state.keys
        caller = await keys.caller_of(key.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise HTTPException(
                401, "Send a valid API key: Authorization: Bearer <key>", headers={"WWW-Authenticate": "Bearer"}
            )
        if roles and caller.role not in roles:
            refusal = f"The role {caller.role} may not do this; it takes one of: {', '.join(roles)}"
            raise HTTPException(403, refusal, headers=whose(caller))
        response.headers.update(whose(caller))
        return caller

    return checked


def whose(caller: Caller) -> dict[str, str]:
    """The headers that tell the holder of a key what it opens: its role, its tenant (percent-encoded), its mode."""
    return {
        "Twintally-Role": caller.role,
        "Twintally-Tenant": quote(caller.tenant_id or "", safe=""),
        "Twintally-Livemode": "true" if caller.livemode else "false",
    }


Operator = Annotated[Caller, Depends(require("operator"))]

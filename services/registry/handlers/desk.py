"""What the handlers need, what they are asked with, and what they answer."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from services.registry.domain import Kept, Kind, made_id, repeatable
from services.registry.licensing import Consent, License
from shared.access import Caller
from shared.events import SocialAccount
from shared.ids import canonical_json, digest_of
from shared.values import Value

Thing = TypeVar("Thing", bound=Kept)
ThingDone = TypeVar("ThingDone", bound=Kept, covariant=True)


class Desk(Protocol):
    """What a caller can see and change, inside one transaction; each change is told to the other services."""

    async def find(self, kind: type[Thing], thing_id: str, *, to_change: bool = False) -> Thing | None:
        """A thing, or None when the caller has none of this id; to change it, it is locked."""

    async def add(self, thing: Kept, request_digest: str) -> bool:
        """Keep a new thing; False when its id, or something unique about it, is known already."""

    async def request_of(self, kind: type[Kept], thing_id: str) -> str | None:
        """The digest of the request that made a thing, or None when the caller has no such thing."""

    async def replace(self, thing: Kept) -> None:
        """Write a changed thing."""

    async def append_version(self, license: License, made_by: str, request_digest: str) -> None:
        """Write the last version of a license."""

    async def request_of_version(self, license_id: str, made_by: str) -> str | None:
        """The digest of the request that made a version, or None when this request has made none."""

    async def holder_of(
        self, accounts: Iterable[SocialAccount], *, other_than: str
    ) -> tuple[SocialAccount, str] | None:
        """The first of these accounts that another brand holds, with that brand's id."""

    async def consent_in_force(self, twin_id: str) -> Consent | None:
        """The consent of a twin that nobody has withdrawn."""

    async def page(
        self, kind: type[Thing], *, after: str | None, limit: int, wanted: dict[str, str | None]
    ) -> list[Thing] | None:
        """Things in the order they were made, after one of them; None when the caller has no such one."""


class Store(Protocol):
    """Opens desks."""

    def desk(self, caller: Caller) -> AbstractAsyncContextManager[Desk]:
        """One transaction on the caller's rows; it commits at the end and rolls back on an exception."""


@dataclass(frozen=True)
class Ask:
    """A request for a change: by whom, at which moment, and what makes it unique."""

    caller: Caller
    at: datetime
    chance: UUID
    idempotency_key: str | None = None

    def id_of(self, kind: Kind) -> str:
        """The id of what this request makes; a repeat under the same idempotency key gives the same one."""
        who = self.caller
        if self.idempotency_key is None:
            return made_id(kind, self.chance)
        return made_id(
            kind,
            repeatable(kind, self.idempotency_key, role=who.role, tenant_id=who.tenant_id, livemode=who.livemode),
        )


@dataclass(frozen=True)
class Done(Generic[ThingDone]):
    """It is so now; `fresh` when this request made it, not an earlier one."""

    thing: ThingDone
    fresh: bool = False


@dataclass(frozen=True)
class NotFound:
    """The caller has no such thing: it is unknown, or it is someone else's."""

    kind: Kind
    thing_id: str


@dataclass(frozen=True)
class Conflict:
    """What is there already does not allow it."""

    reason: str


@dataclass(frozen=True)
class Wrong:
    """The request itself cannot be right, whatever is there."""

    field: str
    reason: str


Refusal = NotFound | Conflict | Wrong
OTHER_CONTENT = Conflict("This Idempotency-Key came with another content before; send a new key for a new request")
TAKEN = Conflict("This Idempotency-Key made something that is not yours to see; send another key")


def request_digest(body: Value | bytes, *about: str) -> str:
    """What tells a repeat from another request under the same idempotency key."""
    content = digest_of(body) if isinstance(body, bytes) else body.model_dump(mode="json")
    return digest_of(canonical_json([*about, content]).encode())


async def keep(desk: Desk, thing: Thing, thing_id: str, digest: str) -> Done[Thing] | Conflict | None:
    """Add a new thing, or answer the one that an earlier, equal request made.

    None: neither was made, because something unique about the thing belongs to another.
    """
    if await desk.add(thing, digest):
        return Done(thing, fresh=True)
    made_with = await desk.request_of(type(thing), thing_id)
    if made_with is None:
        return None
    known = await desk.find(type(thing), thing_id)
    if made_with != digest or known is None:
        return OTHER_CONTENT
    return Done(known)

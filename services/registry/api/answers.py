"""From a request to what a handler is asked, and from what it answers to HTTP."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar, assert_never
from uuid import uuid4

from fastapi import Depends, Header, HTTPException, Query, Response
from fastapi.exceptions import RequestValidationError

from services.registry.domain import Kept, Kind
from services.registry.handlers.desk import Ask, Conflict, Done, NotFound, Refusal, Store, Wrong
from services.registry.metrics import CHANGES
from shared.access import Caller, require

Thing = TypeVar("Thing", bound=Kept)

Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="the same key with the same content makes the thing once: 201 first, 200 on a repeat",
    ),
]

Anyone = Annotated[Caller, Depends(require())]
OperatorOnly = Annotated[Caller, Depends(require("operator"))]
AgencyOrOperator = Annotated[Caller, Depends(require("agency", "operator"))]
TalentSide = Annotated[Caller, Depends(require("agency", "talent", "operator"))]
Parties = Annotated[Caller, Depends(require("agency", "talent", "brand", "operator"))]
AgencyReader = Annotated[Caller, Depends(require("agency", "finance", "operator"))]
CardKeeper = Annotated[Caller, Depends(require("finance", "operator"))]
CardReader = Annotated[Caller, Depends(require("finance", "operator", "agency"))]


def ask(caller: Caller, idempotency_key: str | None = None) -> Ask:
    """The request of a caller, made now."""
    return Ask(caller, datetime.now(UTC), uuid4(), idempotency_key)


async def answer(kind: Kind, outcome: Awaitable[Done[Thing] | Refusal], response: Response | None = None) -> Thing:
    """The thing, with 201 when the request made it; the refusal as an HTTP error. Counts either."""
    found = await outcome
    CHANGES.labels(kind, _name(found)).inc()
    if isinstance(found, Done):
        if found.fresh and response is not None:
            response.status_code = 201
        return found.thing
    raise refusal(found)


def refusal(found: Refusal) -> Exception:
    """The HTTP error of a refusal."""
    match found:
        case NotFound(kind, thing_id):
            return HTTPException(404, f"You have no {kind} {thing_id!r}; the list of yours is one GET away")
        case Conflict(reason):
            return HTTPException(409, reason)
        case Wrong(field, reason):
            return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": reason}])
        case _:
            assert_never(found)


async def shown(store: Store, caller: Caller, kind: tuple[Kind, type[Thing]], thing_id: str) -> Thing:
    """A thing of the caller's, or 404."""
    name, cls = kind
    async with store.desk(caller) as desk:
        found = await desk.find(cls, thing_id)
    if found is None:
        raise refusal(NotFound(name, thing_id))
    return found


async def listed(
    store: Store, caller: Caller, kind: tuple[Kind, type[Thing]], page: tuple[str | None, int], **wanted: str | None
) -> list[Thing]:
    """A page of the caller's things, in the order they were made."""
    name, cls = kind
    after, limit = page
    async with store.desk(caller) as desk:
        found = await desk.page(cls, after=after, limit=limit, wanted=wanted)
    if found is None:
        raise refusal(NotFound(name, after or ""))
    return found


def _name(found: Any) -> str:
    match found:
        case Done(fresh=True):
            return "made"
        case Done():
            return "kept"
        case NotFound():
            return "not_found"
        case Conflict():
            return "conflict"
        case _:
            return "wrong"

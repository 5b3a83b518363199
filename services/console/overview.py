"""The first page: what waits for this person."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from fastapi import FastAPI
from starlette.responses import Response

from services.console.answers import CasePage
from services.console.desk import Desk, Person
from services.console.domain import ROLES_WITH_CASES, ROLES_WITH_LEDGER
from services.console.names import names_of, parties_in
from services.console.session import Session
from services.console.upstream import Away

OPEN_CASES_COUNTED = 100
SHOWN = 5

Found = TypeVar("Found")


def add_overview(app: FastAPI, desk: Desk) -> None:
    """Add the page to the application."""

    @app.get("/")
    async def overview(person: Person) -> Response:
        return desk.pages.page("overview.html", person, shown_max=SHOWN, found=await _found(desk, person))


async def _found(desk: Desk, person: Session) -> dict[str, object]:
    services, role = desk.services, person.role
    wanted: dict[str, Awaitable[object]] = {"statements": services.statements(person, limit=SHOWN)}
    if role in ROLES_WITH_CASES:
        wanted["cases"] = services.cases(person, status="open", after=None, limit=OPEN_CASES_COUNTED)
    if role in ROLES_WITH_LEDGER:
        wanted["balance"] = services.balance(person)
    if role == "operator":
        wanted["health"] = services.health()
    answers = await asyncio.gather(*(_or_away(each) for each in wanted.values()))
    found = dict(zip(wanted, answers, strict=True))
    return {"cases": None, "balance": None, "health": None, **found, "names": await _names(desk, person, found)}


async def _names(desk: Desk, person: Session, found: Mapping[str, object]) -> dict[str, str]:
    cases, statements = found.get("cases"), found["statements"]
    parties = parties_in(cases.cases[:SHOWN]) if isinstance(cases, CasePage) else set()
    if isinstance(statements, tuple):
        parties |= {statement.payee for statement in statements}
    return await names_of(desk.services, person, parties)


async def _or_away(wanted: Awaitable[Found]) -> Found | Away:
    """One part that is away must not take the others from the page."""
    try:
        return await wanted
    except Away as away:
        return away

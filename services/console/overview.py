"""The first page: what waits for this person."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import FastAPI
from starlette.responses import Response

from services.console.desk import Desk, Person
from services.console.domain import ROLES_WITH_CASES, ROLES_WITH_LEDGER
from services.console.session import Session
from services.console.upstream import Away

OPEN_CASES_COUNTED = 100
SHOWN = 5

Found = TypeVar("Found")


def add_overview(app: FastAPI, desk: Desk) -> None:
    """Add the page to the application."""

    @app.get("/")
    async def overview(person: Person) -> Response:
        shown = await _shown(desk, person)
        return desk.pages.page("overview.html", person, counted=OPEN_CASES_COUNTED, shown_max=SHOWN, **shown)


async def _shown(desk: Desk, person: Session) -> dict[str, object]:
    services, role = desk.services, person.role
    wanted: dict[str, Awaitable[object]] = {"statements": services.statements(person, limit=SHOWN)}
    if role in ROLES_WITH_CASES:
        wanted["cases"] = services.cases(person, status="open", after=None, limit=OPEN_CASES_COUNTED)
    if role in ROLES_WITH_LEDGER:
        wanted["balance"] = services.balance(person)
    if role == "operator":
        wanted["health"] = services.health()
    found = await asyncio.gather(*(_or_away(each) for each in wanted.values()))
    return {"cases": None, "balance": None, "health": None, **dict(zip(wanted, found, strict=True))}


async def _or_away(wanted: Awaitable[Found]) -> Found | Away:
    """One part that is away must not take the others from the page."""
    try:
        return await wanted
    except Away as away:
        return away

"""Statements: the list, and one statement down to its lines."""

from typing import Annotated

from fastapi import FastAPI, Query
from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.console.desk import Desk, Person, Segment
from services.console.domain import sheet_of, sums_of
from services.console.names import names_of
from services.console.upstream import Refused

STATEMENTS_PER_PAGE = 50

PageNumber = Annotated[int, Query(ge=1, le=100_000)]
Filter = Annotated[str, Query(max_length=250)]


def add_statements(app: FastAPI, desk: Desk) -> None:
    """Add the pages to the application."""

    @app.get("/statements")
    async def several(person: Person, period: Filter = "", payee: Filter = "", page: PageNumber = 1) -> Response:
        wanted = {"period": period.strip() or None, "payee": payee.strip() or None}
        offset = (page - 1) * STATEMENTS_PER_PAGE
        problem, status = None, 200
        try:
            rows = await desk.services.statements(person, **wanted, limit=STATEMENTS_PER_PAGE + 1, offset=offset)
        except Refused as refusal:
            if refusal.status != 422:
                raise
            rows, status = (), 422
            problem = "Write a period like 2026-11, and a payee like talent:t1, agency:a1 or brand:b1."
        shown = rows[:STATEMENTS_PER_PAGE]
        return desk.pages.page(
            "statements.html",
            person,
            status=status,
            statements=shown,
            names=await names_of(desk.services, person, {row.payee for row in shown}),
            sums=sums_of(shown),
            wanted=wanted,
            problem=problem,
            page=page,
            has_more=len(rows) > len(shown),
        )

    @app.get("/statements/{statement_id}")
    async def one(statement_id: Segment, person: Person, page: PageNumber = 1) -> Response:
        sheet = sheet_of(await desk.services.statement(person, statement_id), page)
        if sheet is None:
            raise HTTPException(404)
        names = await names_of(desk.services, person, [sheet.statement.payee])
        return desk.pages.page("statement.html", person, sheet=sheet, names=names)

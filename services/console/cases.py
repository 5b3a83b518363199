"""Cases: the list, one case with its evidence, and taking it in hand."""

from typing import Annotated, Literal

from fastapi import FastAPI, Query, Request
from starlette.responses import RedirectResponse, Response

from services.console.desk import Desk, Person, Segment
from services.console.domain import evidence_of
from services.console.guard import form_of
from services.console.names import names_of, parties_in
from services.console.session import Session
from services.console.upstream import Refused

CASES_PER_PAGE = 25
WHY_CHARACTERS_MAX = 2000

CaseStatus = Literal["open", "acknowledged", "held", "withdrawn"]
After = Annotated[str | None, Query(max_length=200)]


def add_cases(app: FastAPI, desk: Desk) -> None:
    """Add the pages to the application."""

    @app.get("/cases")
    async def page(person: Person, status: CaseStatus | None = None, after: After = None) -> Response:
        found = await desk.services.cases(person, status=status, after=after, limit=CASES_PER_PAGE)
        names = await names_of(desk.services, person, parties_in(found.cases))
        return desk.pages.page("cases.html", person, found=found, names=names, wanted=status, is_first=after is None)

    @app.get("/cases/{use_id}")
    async def show(use_id: Segment, person: Person, acknowledged: bool = False) -> Response:
        return await _case_page(desk, person, use_id, acknowledged=acknowledged)

    @app.post("/cases/{use_id}/acknowledge")
    async def acknowledge(use_id: Segment, person: Person, request: Request) -> Response:
        # A browser sends line ends as two characters, and counts them as one.
        why = (await form_of(request)).get("why", "").replace("\r\n", "\n").strip()
        if len(why) > WHY_CHARACTERS_MAX:
            problem = f"Your note has {len(why)} characters; shorten it to {WHY_CHARACTERS_MAX}."
            return await _case_page(desk, person, use_id, problem=problem, why=why, status=422)
        try:
            await desk.services.acknowledge(person, use_id, why)
        except Refused as refusal:
            if refusal.status not in (409, 422):
                raise
            return await _case_page(desk, person, use_id, problem=refusal.text, why=why, status=refusal.status)
        return RedirectResponse(f"/cases/{use_id}?acknowledged=true", 303)


async def _case_page(
    desk: Desk,
    person: Session,
    use_id: str,
    *,
    acknowledged: bool = False,
    problem: str | None = None,
    why: str = "",
    status: int = 200,
) -> Response:
    case = await desk.services.case(person, use_id)
    return desk.pages.page(
        "case.html",
        person,
        status=status,
        case=case,
        evidence=evidence_of(case),
        names=await names_of(desk.services, person, parties_in([case])),
        is_just_acknowledged=acknowledged and case.status == "acknowledged",
        problem=problem,
        why=why,
        why_max=WHY_CHARACTERS_MAX,
    )

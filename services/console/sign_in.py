"""In and out: the form for an API key."""

import re

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from services.console.desk import Desk
from services.console.domain import ROLES_WITH_PAGES, local_path
from services.console.guard import form_of
from services.console.metrics import SIGN_INS
from services.console.names import names_of
from services.console.upstream import Away, KeyRefused
from shared.logs import get_log

log = get_log()

# What fits into a header; anything else is no key of ours.
_API_KEY = re.compile(r"[\x21-\x7e]{1,500}")

WRONG = "This API key is not known, or it has been withdrawn. Check that you copied all of it."
NO_PAGES = "This API key belongs to a platform, which has no pages here. Use a key of an agency, a talent, a brand, finance or an operator."  # noqa: E501
MISSING = "Enter your API key."


def add_sign_in(app: FastAPI, desk: Desk) -> None:
    """Add the pages to the application."""

    @app.get("/sign-in")
    async def form(next: str = "/", ended: bool = False) -> Response:
        return _form(desk, next, ended=ended)

    @app.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        fields = await form_of(request)
        goal, api_key = local_path(fields.get("next", "/")), fields.get("api_key", "").strip()
        if not api_key:
            return _form(desk, goal, problem=MISSING, outcome="missing", status=422)
        return await _try_key(desk, api_key, goal)

    @app.post("/sign-out")
    async def sign_out() -> Response:
        answer = RedirectResponse("/sign-in", 303)
        desk.sessions.end(answer)
        return answer


async def _try_key(desk: Desk, api_key: str, goal: str) -> Response:
    try:
        if not _API_KEY.fullmatch(api_key):
            raise KeyRefused
        session = await desk.services.session_of(api_key)
        party = f"{session.role}:{session.tenant_id}"
        name = (await names_of(desk.services, session, [party] if session.tenant_id else [])).get(party)
    except KeyRefused:
        return _form(desk, goal, problem=WRONG, outcome="wrong_key", status=401)
    except Away:
        SIGN_INS.labels("away").inc()
        raise
    if session.role not in ROLES_WITH_PAGES:
        return _form(desk, goal, problem=NO_PAGES, outcome="no_pages", status=403)
    SIGN_INS.labels("signed_in").inc()
    log.info("signed_in", role=session.role, tenant_id=session.tenant_id, livemode=session.livemode)
    answer = RedirectResponse(goal, 303)
    desk.sessions.keep(session.model_copy(update={"name": name}), answer)
    return answer


def _form(
    desk: Desk,
    goal: str,
    *,
    ended: bool = False,
    problem: str | None = None,
    outcome: str | None = None,
    status: int = 200,
) -> Response:
    if outcome:
        SIGN_INS.labels(outcome).inc()
    shown = {"next": local_path(goal), "ended": ended, "problem": problem}
    return desk.pages.page("sign_in.html", None, status=status, **shown)

"""The console's application: its pages put together, and a friendly answer to every trouble."""

from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from services.console.cases import add_cases
from services.console.desk import Desk, SignInNeeded
from services.console.guard import SECURITY_HEADERS, Guard, same_origin
from services.console.overview import add_overview
from services.console.pages import STATIC
from services.console.pictures import add_pictures
from services.console.sign_in import add_sign_in
from services.console.statements import add_statements
from services.console.upstream import Away, KeyRefused, Refused

RETRY_AFTER_S = 10
DOES = {
    "registry": "keeps twins and their reference pictures",
    "matching": "keeps the published pictures",
    "judging": "judges uses",
    "alerts": "keeps cases and sends alerts",
    "royalty": "keeps the ledger and its statements",
}
TOLD = {
    400: ("This request could not be read", "Go back and try again."),
    403: ("This page is not for you", "Your API key does not open it. Sign in with another one to see it."),
    404: ("There is no such page", "It may have moved, or it belongs to someone else."),
    405: ("This cannot be done here", "Open the page from the menu and try again."),
    413: ("This is too large", "Go back and send less."),
}
OTHERWISE = ("This did not work", "Go back and try again.")


def build_app(desk: Desk, *, secure: bool) -> FastAPI:
    """The application."""
    app = FastAPI(
        title="Twintally console", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(same_origin)]
    )
    app.state.desk = desk
    app.add_middleware(Guard, secure=secure)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    add_sign_in(app, desk)
    add_overview(app, desk)
    add_cases(app, desk)
    add_statements(app, desk)
    add_pictures(app, desk)
    _add_sign_in_troubles(app, desk)
    _add_troubles(app, desk)
    return app


def _add_sign_in_troubles(app: FastAPI, desk: Desk) -> None:
    @app.exception_handler(SignInNeeded)
    async def sign_in_needed(request: Request, _: Exception) -> Response:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if request.headers.get("sec-fetch-site") == "cross-site" and request.method == "GET":
            # A strict cookie does not come along when someone follows a link from elsewhere (an alert in a mail, say).
            # Asked again by a page of ours, the browser sends it.
            return desk.pages.page("arriving.html", None, here=here)
        goal = here if request.method == "GET" else "/"
        return RedirectResponse("/sign-in" + (f"?{urlencode({'next': goal})}" if goal != "/" else ""), 303)

    @app.exception_handler(KeyRefused)
    async def key_refused(_: Request, __: Exception) -> Response:
        answer = RedirectResponse("/sign-in?ended=true", 303)
        desk.sessions.end(answer)
        return answer


def _add_troubles(app: FastAPI, desk: Desk) -> None:
    def told(request: Request, status: int, title: str, text: str) -> Response:
        session = desk.sessions.find(request.cookies)
        return desk.pages.page("trouble.html", session, status=status, title=title, text=text, retry=None)

    @app.exception_handler(Away)
    async def away(request: Request, trouble: Exception) -> Response:
        service = trouble.service if isinstance(trouble, Away) else ""
        session = desk.sessions.find(request.cookies)
        retry = request.url.path if request.method == "GET" else "/"
        answer = desk.pages.page(
            "trouble.html",
            session,
            status=503,
            title=f"The part “{service}” is away",
            text=f"It {DOES[service]}. Nothing is lost; try again in a moment.",
            retry=retry,
        )
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
        return answer

    @app.exception_handler(Refused)
    async def refused(request: Request, refusal: Exception) -> Response:
        status = refusal.status if isinstance(refusal, Refused) else 500
        # An id of the wrong form (422) is the id of nothing.
        status = 404 if status == 422 else status
        return told(request, status, *TOLD.get(status, OTHERWISE))

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, _: Exception) -> Response:
        return told(request, 404, *TOLD[404])

    @app.exception_handler(HTTPException)
    async def http_exception(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        title, text = TOLD.get(status, OTHERWISE)
        has_own_words = isinstance(error, HTTPException) and status in (400, 403, 413)
        return told(request, status, title, str(error.detail) if has_own_words else text)  # type: ignore[attr-defined]

    @app.exception_handler(Exception)
    async def broken(request: Request, _: Exception) -> Response:
        answer = told(request, 500, "Something is wrong on our side", "It has been written down. Try again later.")
        # This one answer is made outside the middleware.
        answer.headers.update({**SECURITY_HEADERS, "Cache-Control": "no-store"})
        return answer

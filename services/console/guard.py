"""What protects the pages: headers on every answer, and forms that only our own pages can send."""

from urllib.parse import parse_qsl, urlsplit

from fastapi import HTTPException, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.console.metrics import PAGES

FORM_BYTES_MAX = 32 * 1024
FORM_FIELDS_MAX = 20
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: with it browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# Pages and pictures are one person's: no cache keeps them, so nothing shows after signing out.
NOT_KEPT = "no-store"
KEPT = "public, max-age=31536000, immutable"


class Guard:
    """ASGI middleware: adds the headers, counts what was answered."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message), scope)
                PAGES.labels(_route(scope), str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, guarded)

    def _add_headers(self, headers: MutableHeaders, scope: Scope) -> None:
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        is_versioned = scope["path"].startswith("/static/") and scope["query_string"].startswith(b"v=")
        headers["Cache-Control"] = KEPT if is_versioned else NOT_KEPT
        if self._secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"


async def same_origin(request: Request) -> None:
    """A dependency: what changes something must come from a page of ours; 403 otherwise."""
    if request.method in SAFE_METHODS:
        return
    # Compared without the scheme: a proxy in front may have ended TLS. It must pass the Host header on.
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if not origin or origin != request.headers.get("host"):
        raise HTTPException(403, "This form was not sent by a page of this site. Open the page here and send it again.")


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; 400 or 413 when it is not one of ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise HTTPException(413, f"The form is larger than {FORM_BYTES_MAX} bytes; send less text.")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX, errors="strict")
        return dict(fields)
    except ValueError as error:
        raise HTTPException(400, "The form could not be read. Open the page again and send it anew.") from error


def _route(scope: Scope) -> str:
    # The pattern, never the path: label values are a short list.
    return str(getattr(scope.get("route"), "path", "none"))

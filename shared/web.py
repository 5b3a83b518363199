"""What the edges of all services have in common: ids in an address, and the answers when something is wrong."""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated

import psycopg
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from psycopg_pool import PoolTimeout

from shared.logs import get_log
from shared.objects import StoreAway
from shared.values import Id

log = get_log()

IdInPath = Annotated[Id, Path()]
IdInQuery = Annotated[Id | None, Query()]
After = Annotated[Id | None, Query(description="go on after this one: the last id of the page before")]

# Where tracing is configured (shared/tracing.py): one span per request, and none for those who only watch.
ONE_SPAN_PER_REQUEST: TelemetryConfig = {
    "operation_spans": False,
    "exclude": lambda scope: scope["path"].startswith(("/health/", "/metrics")),
}

UNSTORABLE = "Something in the request cannot be stored: send text in UTF-8 without NUL, and numbers of at most 64 bits"


def answer_errors(app: FastAPI) -> None:
    """What is not JSON is 400, bad fields are 422 and named; what is away for the moment is 503 with Retry-After."""
    app.add_exception_handler(RequestValidationError, _name_each_field)
    for away in (psycopg.OperationalError, PoolTimeout):
        app.add_exception_handler(away, answering(503, "The database is away for the moment; send again"))
    # The last net: what a database cannot hold is refused by the types of the fields, which name it.
    for unfit in (psycopg.DataError, UnicodeEncodeError):
        app.add_exception_handler(unfit, answering(422, UNSTORABLE))
    app.add_exception_handler(StoreAway, answering(503, "The store is away for the moment; send again"))


def answering(status: int, text: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    """An exception handler that answers with this status and text, and logs the exception."""

    async def answered(request: Request, error: Exception) -> Response:
        log.warning("request_failed", path=request.url.path, status=status, error=f"{type(error).__name__}: {error}")
        return JSONResponse({"detail": text}, status, {"Retry-After": "2"} if status == 503 else None)

    return answered


async def _name_each_field(_: Request, error: Exception) -> Response:
    # What was sent is not sent back: it may be what no encoder writes, like half a surrogate pair.
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    kept = ("type", "loc", "msg", "measured", "needed")
    told = [{name: each[name] for name in kept if name in each} for each in found]
    status = 400 if any(each["type"] == "json_invalid" for each in found) else 422
    return Response(json.dumps({"detail": told}, ensure_ascii=True), status, media_type="application/json")

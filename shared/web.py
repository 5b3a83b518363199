"""What the answers of all services have in common when something is wrong."""

import json
from collections.abc import Awaitable, Callable

import psycopg
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout

from shared.logs import get_log
from shared.objects import StoreAway

log = get_log()


def answer_errors(app: FastAPI) -> None:
    """Bad fields are 422 and named; a database that is away is 503 with Retry-After, never a 500."""
    app.add_exception_handler(RequestValidationError, _name_each_field)
    for away in (psycopg.OperationalError, PoolTimeout):
        app.add_exception_handler(away, answering(503, "The database is away for the moment; send again"))
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
    told = [{name: each[name] for name in ("type", "loc", "msg", "measured") if name in each} for each in found]
    return Response(json.dumps({"detail": told}, ensure_ascii=True), 422, media_type="application/json")

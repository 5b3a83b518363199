"""The application: its routes, and what every answer has in common."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psycopg
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout

from services.registry.api import access, licensing, parties, references
from services.registry.api.limits import BodyLimit
from services.registry.handlers.desk import Store
from services.registry.handlers.references import Images, Press, ReferenceParts
from services.registry.settings import RegistrySettings
from shared.access import KnowsKeys
from shared.logs import get_log

log = get_log()


@dataclass(frozen=True)
class Parts:
    """What the application stands on."""

    store: Store
    press: Press
    images: Images
    keys: KnowsKeys


def build_app(settings: RegistrySettings, parts: Parts) -> FastAPI:
    """The application."""
    app = FastAPI(title="Twintally registry", version="1")
    app.state.keys = parts.keys
    parties.add_routes(app, parts.store)
    references.add_routes(app, ReferenceParts(parts.store, parts.press, parts.images), settings.image_bytes_max)
    licensing.add_routes(app, parts.store)
    access.add_routes(app, parts.store)
    app.add_middleware(BodyLimit, image_bytes_max=settings.image_bytes_max, body_bytes_max=settings.body_bytes_max)
    app.add_exception_handler(RequestValidationError, _name_each_field)
    app.add_exception_handler(psycopg.errors.UniqueViolation, _answer(409, "Someone changed the same; read it again"))
    for away in (psycopg.OperationalError, PoolTimeout):
        app.add_exception_handler(away, _answer(503, "The database is away for the moment; send again"))
    return app


async def _name_each_field(_: Request, error: Exception) -> Response:
    # What was sent is not sent back: it may be what no encoder writes, like half a surrogate pair.
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    told = [{name: each[name] for name in ("type", "loc", "msg", "measured") if name in each} for each in found]
    return Response(json.dumps({"detail": told}, ensure_ascii=True), 422, media_type="application/json")


def _answer(status: int, text: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answered(request: Request, error: Exception) -> Response:
        log.warning("request_failed", path=request.url.path, status=status, error=f"{type(error).__name__}: {error}")
        return JSONResponse({"detail": text}, status, {"Retry-After": "2"} if status == 503 else None)

    return answered

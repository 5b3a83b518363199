"""The application: its routes, and what every answer has in common."""

from dataclasses import dataclass

import psycopg
from fastapi import FastAPI

from services.registry.api import access, licensing, parties, references
from services.registry.api.limits import BodyLimit
from services.registry.handlers.desk import Store
from services.registry.handlers.references import Gallery, Images, Press, ReferenceParts
from services.registry.settings import RegistrySettings
from shared.access import KnowsKeys
from shared.web import ONE_SPAN_PER_REQUEST, answer_errors, answering


@dataclass(frozen=True)
class Parts:
    """What the application stands on."""

    store: Store
    press: Press
    images: Images
    keys: KnowsKeys
    gallery: Gallery


def build_app(settings: RegistrySettings, parts: Parts) -> FastAPI:
    """The application."""
    app = FastAPI(title="Twintally registry", version="1", telemetry=ONE_SPAN_PER_REQUEST)
    app.state.keys = parts.keys
    parties.add_routes(app, parts.store)
    on_references = ReferenceParts(parts.store, parts.press, parts.images, parts.gallery)
    references.add_routes(app, on_references, settings.image_bytes_max)
    licensing.add_routes(app, parts.store)
    access.add_routes(app, parts.store)
    app.add_middleware(BodyLimit, image_bytes_max=settings.image_bytes_max, body_bytes_max=settings.body_bytes_max)
    answer_errors(app)
    app.add_exception_handler(psycopg.errors.UniqueViolation, answering(409, "Someone changed the same; read it again"))
    return app

"""Pictures of other services, passed on with the key of the person who looks."""

from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse

from services.console.desk import Desk, DigestInPath, Person, Segment
from services.console.upstream import Picture


def add_pictures(app: FastAPI, desk: Desk) -> None:
    """Add the routes to the application."""

    @app.get("/media/{digest}")
    async def published(digest: DigestInPath, person: Person) -> Response:
        return _passed_on(await desk.services.published_image(person, digest))

    @app.get("/references/{reference_id}")
    async def reference(reference_id: Segment, person: Person) -> Response:
        return _passed_on(await desk.services.reference_image(person, reference_id))


def _passed_on(picture: Picture) -> Response:
    # Opened on its own, a hostile file must stay a picture: no script, no page, no name of our site to act in.
    headers = {"Content-Security-Policy": "default-src 'none'; sandbox", "Content-Disposition": "inline"}
    if picture.length is not None:
        headers["Content-Length"] = picture.length
    return StreamingResponse(picture.chunks, media_type=picture.content_type, headers=headers)

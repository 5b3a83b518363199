"""Matching's edge for people: the published images that show a twin."""

from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Path, Response

from services.matching.store import MediaViews
from shared.access import Caller, KnowsKeys, require
from shared.objects import Evidence
from shared.values import Digest
from shared.web import answer_errors

Viewer = Annotated[Caller, Depends(require("agency", "operator"))]
KINDS = ((b"\xff\xd8", "image/jpeg"), (b"\x89PNG", "image/png"), (b"GIF8", "image/gif"), (b"RIFF", "image/webp"))


def build_app(views: MediaViews, evidence: Evidence, keys: KnowsKeys) -> FastAPI:
    """The application."""
    app = FastAPI(title="Twintally matching", version="1")
    app.state.keys = keys
    answer_errors(app)

    @app.get("/v1/media/{digest}")
    async def image(digest: Annotated[Digest, Path()], caller: Viewer) -> Response:
        """A published image as it was fetched, when it shows a twin of the caller's."""
        if not await views.may_see(caller, digest):
            raise HTTPException(404, "No image with this digest shows a twin of yours")
        try:
            data = await evidence.read(digest)
        except FileNotFoundError as error:
            raise HTTPException(404, "The image is no longer kept") from error
        # A hostile file must stay a picture: no guessing of types, no scripts, never a page.
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
        return Response(data, media_type=_kind(data), headers=headers)

    return app


def _kind(data: bytes) -> str:
    return next((kind for start, kind in KINDS if data.startswith(start)), "application/octet-stream")

"""Matching's edge for people: the published images that show a twin, and what is known of one post."""

from typing import Annotated, Protocol
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Path, Response

from services.matching.views import PostTrace
from shared.access import Caller, KnowsKeys, Operator, require
from shared.objects import Evidence
from shared.values import Digest, Platform
from shared.web import ONE_SPAN_PER_REQUEST, IdInPath, answer_errors

Viewer = Annotated[Caller, Depends(require("agency", "operator"))]
KINDS = ((b"\xff\xd8", "image/jpeg"), (b"\x89PNG", "image/png"), (b"GIF8", "image/gif"), (b"RIFF", "image/webp"))


class MediaViews(Protocol):
    """Knows whose images a caller may see."""

    async def may_see(self, caller: Caller, digest: str) -> bool:
        """Does this image show a twin of the caller's?"""


class PostViews(Protocol):
    """Knows posts."""

    async def post(self, caller: Caller, platform: str, post_id: str) -> PostTrace | None:
        """A post by its name."""

    async def post_of(self, caller: Caller, event_id: UUID) -> PostTrace | None:
        """A post by one of its facts."""


def build_app(views: MediaViews, evidence: Evidence, keys: KnowsKeys, posts: PostViews | None = None) -> FastAPI:
    """The application; without `posts` it tells of images only."""
    app = FastAPI(title="Twintally matching", version="1", telemetry=ONE_SPAN_PER_REQUEST)
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

    if posts is not None:
        _add_posts(app, posts)
    return app


def _add_posts(app: FastAPI, posts: PostViews) -> None:
    @app.get("/v1/posts/{platform}/{post_id:path}")
    async def post(platform: Annotated[Platform, Path()], post_id: IdInPath, caller: Operator) -> PostTrace:
        """Everything that is known of one post: its facts, what became of its images, and its uses."""
        return _found(await posts.post(caller, platform, post_id), f"No fact of post {post_id} of {platform} is stored")

    @app.get("/v1/posts")
    async def post_of(event_id: UUID, caller: Operator) -> PostTrace:
        """The post that the fact with this event id is about."""
        return _found(await posts.post_of(caller, event_id), f"No fact {event_id} is stored")


def _found(post: PostTrace | None, otherwise: str) -> PostTrace:
    if post is None:
        raise HTTPException(404, otherwise)
    return post


def _kind(data: bytes) -> str:
    return next((kind for start, kind in KINDS if data.startswith(start)), "application/octet-stream")

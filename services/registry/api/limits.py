"""No body is read further than it may be long."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Of a multipart body: its boundaries, and the headers of its parts.
MULTIPART_EXTRA = 16 * 1024


class BodyLimit:
    """Counts the bytes of a request as they come; 413 as soon as they are too many, declared or not."""

    def __init__(self, app: ASGIApp, *, image_bytes_max: int, body_bytes_max: int) -> None:
        self._app = app
        self._image_bytes_max = image_bytes_max
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bytes_max = self._limit(scope["path"])
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > bytes_max:
                raise too_large(bytes_max)
            return message

        await self._app(scope, counted, send)

    def _limit(self, path: str) -> int:
        return self._image_bytes_max + MULTIPART_EXTRA if path.endswith("/references") else self._body_bytes_max


def too_large(bytes_max: int) -> HTTPException:
    """The refusal of a body."""
    return HTTPException(413, f"The body is larger than {bytes_max} bytes; send less, or a smaller image")

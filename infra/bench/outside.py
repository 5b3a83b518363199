"""What surrounds the house: the image host, and the agencies' receiver, which writes down when each alert came.

`python -m infra.bench.outside --pictures DIR --port PORT`; its own pages are at TWINTALLY_HTTP_PORT.
"""

import argparse
import asyncio
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from infra.local.ports import HOST

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Outside:
    """An ASGI application without a framework: it shall cost little beside what is measured."""

    def __init__(self, pictures: Path) -> None:
        self._pictures = pictures
        self._came_at: dict[str, float] = {}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """`GET /p/PICTURE/POST.jpg`, `POST /alerts/AGENCY`, `GET /received?prefix=`, and what a stack asks."""
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        if path.startswith("/p/"):
            await _answer(send, *self._picture(path))
        elif method == "POST":
            came_at = time.time()
            self._take(await _body(receive), came_at)
            await _answer(send, 204)
        elif path == "/received":
            prefix = parse_qs(scope["query_string"].decode()).get("prefix", [""])[0]
            told = {post: at for post, at in self._came_at.items() if post.startswith(prefix)}
            await _answer(send, 200, json.dumps(told).encode())
        else:
            # Being ready, and the secrets of endpoints: nothing here verifies, the demo does.
            await _answer(send, 200)

    def _picture(self, path: str) -> tuple[int, bytes]:
        _, _, name, post = path.split("/")
        try:
            return 200, with_comment((self._pictures / Path(name).name).read_bytes(), post)
        except OSError:
            return 404, b""

    def _take(self, body: bytes, came_at: float) -> None:
        self._came_at.setdefault(json.loads(body)["data"]["post"]["post_id"], came_at)


def with_comment(jpeg: bytes, text: str) -> bytes:
    """The same picture as another file: with a comment (JPEG marker COM) behind its first two bytes."""
    told = text.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(told) + 2).to_bytes(2, "big") + told + jpeg[2:]


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


async def _answer(send: Send, status: int, body: bytes = b"") -> None:
    headers = [(b"content-length", str(len(body)).encode())] if status != 204 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args()
    ports = (asked.port, int(os.environ["TWINTALLY_HTTP_PORT"]))
    sockets = [socket.create_server((HOST, port), backlog=512) for port in ports]
    config = uvicorn.Config(Outside(asked.pictures), log_config=None, access_log=False, lifespan="off")
    asyncio.run(uvicorn.Server(config).serve(sockets=sockets))


if __name__ == "__main__":
    main()

"""A client for webhooks that costs little beside what it measures: signed requests over plain sockets."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from standardwebhooks import Webhook

# Servers close a connection that has been idle for 5 s; one that might be closed is not used again.
IDLE_S = 3.0
ANSWER_S = 30.0


@dataclass(frozen=True)
class Answer:
    """Of one request: the status, and the JSON of the body."""

    status: int
    told: Any


class Door:
    """Where webhooks of one platform go, and the secret that signs them; connections are used again."""

    def __init__(self, url: str, secret: str) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port or 80, parts.path
        self._signer = Webhook(secret)
        self._idle: list[tuple[float, _Line]] = []

    async def send(self, items: Sequence[dict[str, Any]]) -> Answer:
        """One signed webhook, single or batch; OSError or TimeoutError when there was no answer."""
        body = json.dumps({"items": items} if len(items) > 1 else items[0])
        line = await self._line()
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await line.ask(self._request(body))
        except BaseException:
            line.close()
            raise
        self._idle.append((time.monotonic(), line))
        return answer

    def close(self) -> None:
        """Close all connections."""
        for _, line in self._idle:
            line.close()

    async def _line(self) -> "_Line":
        while self._idle:
            used_at, line = self._idle.pop()
            if time.monotonic() - used_at < IDLE_S:
                return line
            line.close()
        return _Line(*await asyncio.open_connection(self._host, self._port))

    def _request(self, body: str) -> bytes:
        now, message = datetime.now(UTC), f"msg_{uuid4().hex}"
        return (
            f"POST {self._path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body.encode())}\r\nwebhook-id: {message}\r\n"
            f"webhook-timestamp: {int(now.timestamp())}\r\n"
            f"webhook-signature: {self._signer.sign(message, now, body)}\r\n\r\n{body}"
        ).encode()


class _Line:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> Answer:
        self._writer.write(request)
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the connection ended before the answer") from error
        return Answer(int(head[0].split()[1]), json.loads(body) if body else None)

    def close(self) -> None:
        self._writer.close()

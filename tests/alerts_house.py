"""What the tests of alerts share: the service put together on real PostgreSQL, and an agency's server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import psycopg
from cryptography.fernet import Fernet, MultiFernet
from standardwebhooks import Webhook

from services.alerts.api import build_app
from services.alerts.delivery_store import DeliveryStore
from services.alerts.endpoint_store import EndpointStore
from services.alerts.handlers import Sending
from services.alerts.store import CaseStore
from services.alerts.worker import Deliverer, Infringements
from shared.access import Caller
from shared.database import Database, every
from shared.events import InfringementState, Reason, Sighting
from shared.events.topics import INFRINGEMENTS
from shared.kafka import Record
from shared.safe_http import AllowedAddresses, SafeHttp

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
PICTURE, OTHER_PICTURE = "sha256:" + "a" * 64, "sha256:" + "b" * 64
OVERLAP = timedelta(hours=24)


def an_infringement(use_id: str, revision: int = 1, *, media: Sequence[str] = (PICTURE,), **changes: Any):
    sightings = tuple(
        Sighting(
            sighting_id=f"s-{digest[-1]}",
            reference_id="ref-1",
            media_digest=digest,
            media_url="https://cdn.example/1.jpg",
            score=0.9,
            region=(0, 0, 10, 20),
            transform=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
            description="as it is",
            algorithm="v1",
        )
        for digest in media
    )
    given: dict[str, Any] = {
        "use_id": use_id,
        "revision": revision,
        "occurred_at": NOON,
        "verdict": "unlicensed",
        "reasons": (Reason(dimension="license", text="no license with this brand"),),
        "platform": "instagram",
        "post_id": "p1",
        "account": "thief",
        "twin_id": "twin-1",
        "talent_id": "talent-1",
        "agency_id": "agency-1",
        "started_at": NOON,
        "sightings": sightings,
    }
    return InfringementState(**{**given, **changes})


def a_record(found: InfringementState, offset: int = 0) -> Record:
    return Record(INFRINGEMENTS.name, 0, offset, found.message_key().encode(), found.encode())


class Receiver:
    """An agency's server: keeps what it was sent, answers as it is told."""

    def __init__(self) -> None:
        self.port = 0
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.status: Callable[[int], int] = lambda _: 200
        self.pause_s = 0.0
        self.under_way = 0
        self.under_way_max = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.received.append((headers, body))
                self.under_way += 1
                self.under_way_max = max(self.under_way_max, self.under_way)
                await asyncio.sleep(self.pause_s)
                self.under_way -= 1
                writer.write(f"HTTP/1.1 {self.status(len(self.received))} Told\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        writer.close()

    def told(self, secret: str) -> list[dict[str, Any]]:
        """The payloads, each with a signature that this secret verifies."""
        return [Webhook(secret).verify(body, headers) for headers, body in self.received]


@asynccontextmanager
async def listening(receiver: Receiver, port: int = 0) -> AsyncIterator[Receiver]:
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", port)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


class NoDeadLetters:
    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        raise AssertionError(f"not expected: {error!r}") from error


class Keys:
    """API keys by their text: `role:tenant`, `role:tenant:test` for the sandbox."""

    async def caller_of(self, api_key: str) -> Caller | None:
        role, tenant, *test = api_key.split(":")
        return Caller(f"key-{tenant}", role, tenant or None, livemode=not test)  # type: ignore[arg-type]


class House:
    """The parts of the service, put together as `__main__` does, on the stack's database."""

    def __init__(self, stack: Any, port: int) -> None:
        self.stack = stack
        self.worker = Database(stack.database_for("alerts_worker"), "alerts", connections_max=8)
        self.api = Database(stack.database_for("alerts_api"), "alerts", connections_max=4)
        self.cipher = MultiFernet([Fernet(Fernet.generate_key())])
        self.http = SafeHttp(AllowedAddresses.parse(f"127.0.0.1:{port}"))
        self.endpoints = EndpointStore(self.api, self.cipher)
        self.infringements = Infringements(CaseStore(self.worker), NoDeadLetters(), lambda: None)
        app = build_app(CaseStore(self.api), self.endpoints, self.http, Keys(), overlap=OVERLAP)
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://alerts")

    def queue(self, *, lease_s: float = 30.0, per_endpoint: int = 4) -> DeliveryStore:
        return DeliveryStore(self.worker, self.cipher, lease=timedelta(seconds=lease_s), per_endpoint=per_endpoint)

    async def take(self, *states: InfringementState) -> None:
        await self.infringements.handle([a_record(found, offset) for offset, found in enumerate(states)])

    @asynccontextmanager
    async def delivering(self, *, loops: int = 1, pauses_s: Sequence[float] = (0.1, 0.1, 0.1)) -> AsyncIterator[None]:
        sending = Sending(deadline_s=2.0, pauses_s=pauses_s)
        tasks = [
            asyncio.create_task(Deliverer(self.queue(), self.http, sending, concurrency_max=50).run())
            for _ in range(loops)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, method: str, path: str, key: str = "agency:agency-1", **more: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        return await self.client.request(method, path, headers=headers, **more)

    async def endpoint(self, url: str, key: str = "agency:agency-1") -> dict[str, Any]:
        answer = await self.ask("POST", "/v1/endpoints", key, json={"url": url})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def deliveries(self) -> list[dict[str, Any]]:
        async with self.worker.transaction() as connection:
            return await every(connection, "select * from deliveries order by sequence, delivery_id")

    async def statuses(self) -> list[str]:
        return [row["status"] for row in await self.deliveries()]

    async def are(self, *statuses: str) -> bool:
        """Have the deliveries exactly these statuses?"""
        return await self.statuses() == list(statuses)

    async def close(self) -> None:
        await self.client.aclose()
        await self.http.aclose()
        await self.worker.close()
        await self.api.close()


@asynccontextmanager
async def standing_house(stack: Any, port: int) -> AsyncIterator[House]:
    """A house with empty tables; it may send to this port of 127.0.0.1."""
    with psycopg.connect(stack.database, autocommit=True) as owner:
        owner.execute(
            "truncate alerts.cases, alerts.case_steps, alerts.alerts, alerts.endpoints, alerts.endpoint_secrets,"
            " alerts.deliveries"
        )
    found = House(stack, port)
    await found.worker.open()
    await found.api.open()
    try:
        yield found
    finally:
        await found.close()


async def until(condition: Callable[[], Any], *, within_s: float = 10.0) -> None:
    """Wait until the condition (perhaps awaitable) holds."""
    ends = time.monotonic() + within_s
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.02)

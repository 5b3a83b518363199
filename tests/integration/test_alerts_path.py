"""Alerts on real PostgreSQL and Kafka, with a real receiver that checks signatures as an agency would."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest
from cryptography.fernet import Fernet, MultiFernet
from standardwebhooks import Webhook, WebhookVerificationError

from services.alerts.api import build_app
from services.alerts.delivery import Delivered, TryAgain
from services.alerts.delivery_store import DeliveryStore
from services.alerts.endpoint_store import EndpointStore
from services.alerts.handlers import Sending
from services.alerts.store import CaseStore
from services.alerts.worker import Deliverer, Infringements
from shared.access import Caller
from shared.database import Database, every
from shared.events import AccessState, InfringementState, Reason, Sighting
from shared.events.topics import ACCESS, INFRINGEMENTS
from shared.ids import digest_of
from shared.kafka import Record
from shared.kafka.client import connection as kafka_connection
from shared.kafka.producer import SteadyProducer
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
        return await self.client.request(method, path, headers={"Authorization": f"Bearer {key}"}, **more)

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

    async def close(self) -> None:
        await self.client.aclose()
        await self.http.aclose()
        await self.worker.close()
        await self.api.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as found:
        yield found


@pytest.fixture
async def house(stack: Any, receiver: Receiver) -> AsyncIterator[House]:
    with psycopg.connect(stack.database, autocommit=True) as owner:
        owner.execute(
            "truncate alerts.cases, alerts.case_steps, alerts.alerts, alerts.endpoints, alerts.endpoint_secrets,"
            " alerts.deliveries"
        )
    found = House(stack, receiver.port)
    await found.worker.open()
    await found.api.open()
    yield found
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


async def test_an_infringement_is_told_once_signed_and_within_a_second(house: House, receiver: Receiver) -> None:
    secret = (await house.endpoint(receiver.url))["secret"]
    found = an_infringement("use-1")
    async with house.delivering():
        began = time.monotonic()
        await house.take(found, found)
        await house.take(found)
        await until(lambda: receiver.received)
        assert time.monotonic() - began < 1.0
        await asyncio.sleep(0.5)
    (told,) = receiver.told(secret)
    assert told["type"] == "infringement.opened"
    assert (told["data"]["use_id"], told["data"]["sequence"]) == ("use-1", 1)
    assert await house.statuses() == ["delivered"]


async def test_changes_and_withdrawal_arrive_in_order_with_growing_sequence(house: House, receiver: Receiver) -> None:
    secret = (await house.endpoint(receiver.url))["secret"]
    receiver.status = lambda count: 500 if count <= 2 else 200
    async with house.delivering():
        await house.take(
            an_infringement("use-1", 1),
            an_infringement("use-1", 2, media=(PICTURE, OTHER_PICTURE)),
            an_infringement("use-1", 3, status="withdrawn"),
        )
        await until(lambda: len(receiver.received) >= 5)
    told = [(payload["type"], payload["data"]["sequence"]) for payload in receiver.told(secret)]
    assert told == [
        ("infringement.opened", 1),
        ("infringement.opened", 1),
        ("infringement.opened", 1),
        ("infringement.changed", 2),
        ("infringement.withdrawn", 3),
    ]


async def test_a_receiver_that_is_down_gets_the_same_alert_when_it_is_back(house: House) -> None:
    down = Receiver()
    async with listening(down):
        pass
    house.http._allowed = house.http._network._allowed = AllowedAddresses.parse(f"127.0.0.1:{down.port}")
    secret = (await house.endpoint(down.url))["secret"]
    async with house.delivering(pauses_s=(0.2,) * 20):
        await house.take(an_infringement("use-1"))

        async def tried() -> bool:
            return (await house.deliveries())[0]["attempts"] >= 2

        await until(tried)
        async with listening(down, down.port):
            await until(lambda: down.received)
            await asyncio.sleep(0.5)
    assert len(down.told(secret)) == 1
    (row,) = await house.deliveries()
    assert (row["status"], row["last_status"]) == ("delivered", 200)
    assert row["attempts"] >= 3


async def test_each_attempt_has_its_own_id_and_the_alert_keeps_its_own(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    receiver.status = lambda count: 503 if count == 1 else 200
    async with house.delivering():
        await house.take(an_infringement("use-1"))
        await until(lambda: len(receiver.received) == 2)
    first, second = (headers for headers, _ in receiver.received)
    assert first["webhook-id"] == second["webhook-id"]
    assert first["twintally-delivery-id"] != second["twintally-delivery-id"]
    assert receiver.received[0][1] == receiver.received[1][1]


async def test_after_the_last_attempt_it_is_given_up_and_shown(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    receiver.status = lambda _: 404
    async with house.delivering(pauses_s=(0.05,)):
        await house.take(an_infringement("use-1"))
        await until(lambda: _are(house, "gave_up"))
    shown = (await house.ask("GET", "/v1/cases/use-1")).json()["alerts"][0]["deliveries"][0]
    assert (shown["status"], shown["attempts"], shown["last_status"]) == ("gave_up", 2, 404)
    assert shown["last_reason"] == "the endpoint answered 404"


async def _are(house: House, *statuses: str) -> bool:
    return await house.statuses() == list(statuses)


async def test_410_disables_the_endpoint_and_cancels_what_waits(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    receiver.status = lambda _: 410
    await house.take(an_infringement("use-1", 1), an_infringement("use-1", 2, verdict="out_of_scope"))
    async with house.delivering():
        await until(lambda: _are(house, "failed", "cancelled"))
        await house.take(an_infringement("use-2"))
        await asyncio.sleep(0.3)
    (endpoint,) = (await house.ask("GET", "/v1/endpoints")).json()
    assert (endpoint["status"], endpoint["disabled_because"]) == ("disabled", "the endpoint answered 410 Gone")
    assert len(receiver.received) == 1


async def test_an_address_that_is_not_allowed_fails_for_good_with_its_reason(house: House) -> None:
    caller = Caller("key", "agency", "agency-1", livemode=True)
    await house.endpoints.add(caller, url="http://10.0.0.1/", secret="whsec_" + "QUJD" * 8, now=NOON)
    await house.take(an_infringement("use-1"))
    async with house.delivering():
        await until(lambda: _are(house, "failed"))
    (row,) = await house.deliveries()
    assert row["attempts"] == 1
    assert "not a public address" in row["last_reason"]


async def test_a_rotated_secret_goes_on_signing_until_its_overlap_ends(house: House, receiver: Receiver) -> None:
    made = await house.endpoint(receiver.url)
    rotated = (await house.ask("POST", f"/v1/endpoints/{made['endpoint_id']}/rotate")).json()
    async with house.delivering():
        await house.take(an_infringement("use-1"))
        await until(lambda: receiver.received)
    assert len(receiver.told(made["secret"])) == len(receiver.told(rotated["secret"])) == 1
    receiver.received.clear()
    async with house.worker.transaction() as connection:
        await connection.execute("update endpoint_secrets set expires_at = now() where expires_at is not null")
    async with house.delivering():
        await house.take(an_infringement("use-2"))
        await until(lambda: receiver.received)
    assert len(receiver.told(rotated["secret"])) == 1
    with pytest.raises(WebhookVerificationError):
        receiver.told(made["secret"])


async def test_secrets_are_encrypted_at_rest_and_shown_once(house: House, receiver: Receiver) -> None:
    made = await house.endpoint(receiver.url)
    assert made["secret"].startswith("whsec_")
    (listed,) = (await house.ask("GET", "/v1/endpoints")).json()
    assert listed["secret"] is None
    async with house.worker.transaction() as connection:
        (row,) = await every(connection, "select secret from endpoint_secrets")
    assert made["secret"].encode() not in bytes(row["secret"])


async def test_two_loops_at_once_never_send_one_alert_twice(house: House, receiver: Receiver) -> None:
    secret = (await house.endpoint(receiver.url))["secret"]
    receiver.pause_s = 0.02
    async with house.delivering(loops=3):
        await house.take(*(an_infringement(f"use-{number}") for number in range(60)))
        await until(lambda: len(receiver.received) >= 60)
        await asyncio.sleep(0.5)
    assert sorted(payload["data"]["use_id"] for payload in receiver.told(secret)) == sorted(
        f"use-{number}" for number in range(60)
    )
    assert set(await house.statuses()) == {"delivered"}
    assert receiver.under_way_max <= 4


async def test_a_slow_endpoint_does_not_hold_up_another_agency(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    await house.endpoint(receiver.url, "agency:agency-2")
    receiver.pause_s = 1.0
    async with house.delivering():
        await house.take(*(an_infringement(f"use-{number}") for number in range(8)))
        await until(lambda: len(receiver.received) == 4)
        await house.take(an_infringement("use-of-2", agency_id="agency-2"))
        await until(lambda: any(b"use-of-2" in body for _, body in receiver.received), within_s=0.9)


async def test_a_worker_that_died_in_an_attempt_costs_a_repeat_never_a_loss(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    await house.take(an_infringement("use-1"))
    queue = house.queue(lease_s=0.2)
    (died,) = await queue.claim(10)
    assert await queue.claim(10) == []
    await asyncio.sleep(0.25)
    (again,) = await queue.claim(10)
    assert (again.event_id, again.number) == (died.event_id, 2)
    # The first comes back late: its failure says nothing any more, its success does.
    await queue.finish(died, TryAgain(timedelta(hours=1), "late", None))
    assert (await house.deliveries())[0]["last_reason"] is None
    await queue.finish(died, Delivered(200))
    await queue.finish(again, TryAgain(timedelta(hours=1), "late", None))
    assert await house.statuses() == ["delivered"]


async def test_an_expired_lease_and_a_late_success_do_not_send_again(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    await house.take(an_infringement("use-1"))
    queue = house.queue(lease_s=0.0)
    (first,) = await queue.claim(10)
    await queue.finish(first, Delivered(200))
    assert await queue.claim(10) == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1/", "not a public address"),
        ("http://169.254.169.254/latest", "not a public address"),
        ("http://[::1]/", "not a public address"),
        ("ftp://agency.example/", "http"),
        ("https://user:word@agency.example/", "password"),
        ("https://agency.example:8443/", "port"),
    ],
)
async def test_an_endpoint_that_we_would_not_ask_is_refused_at_once(house: House, url: str, says: str) -> None:
    answer = await house.ask("POST", "/v1/endpoints", json={"url": url})
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["body", "url"]
    assert says in problem["msg"]


async def test_a_deleted_endpoint_gets_nothing_more(house: House, receiver: Receiver) -> None:
    made = await house.endpoint(receiver.url)
    await house.take(an_infringement("use-1"))
    assert (await house.ask("DELETE", f"/v1/endpoints/{made['endpoint_id']}")).status_code == 204
    assert (await house.ask("DELETE", f"/v1/endpoints/{made['endpoint_id']}")).status_code == 404
    async with house.delivering():
        await house.take(an_infringement("use-2"))
        await asyncio.sleep(0.4)
    assert await house.statuses() == ["cancelled"]
    assert receiver.received == []
    assert (await house.ask("GET", "/v1/endpoints")).json() == []


async def test_the_past_makes_no_live_alert(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    async with house.delivering():
        await house.take(an_infringement("use-1", backfill=True))
        await asyncio.sleep(0.4)
    assert receiver.received == []
    (alert,) = (await house.ask("GET", "/v1/cases/use-1")).json()["alerts"]
    assert (alert["kind"], alert["digested"], alert["deliveries"]) == ("opened", True, [])


async def test_sandbox_alerts_go_to_sandbox_endpoints_only(house: House, receiver: Receiver) -> None:
    await house.endpoint(receiver.url)
    secret = (await house.endpoint(receiver.url, "agency:agency-1:test"))["secret"]
    async with house.delivering():
        await house.take(an_infringement("use-1", livemode=False))
        await until(lambda: receiver.received)
        await asyncio.sleep(0.3)
    (told,) = receiver.told(secret)
    assert told["data"]["livemode"] is False
    assert (await house.ask("GET", "/v1/cases/use-1")).status_code == 404
    assert (await house.ask("GET", "/v1/cases/use-1", "agency:agency-1:test")).status_code == 200


async def test_a_tenant_sees_its_own_and_the_operator_all(house: House, receiver: Receiver) -> None:
    made = await house.endpoint(receiver.url)
    await house.take(an_infringement("use-1"), an_infringement("use-2", agency_id="agency-2"))
    foreign = "agency:agency-2"
    assert (await house.ask("GET", "/v1/cases/use-1", foreign)).status_code == 404
    assert (await house.ask("POST", "/v1/cases/use-1/acknowledge", foreign)).status_code == 404
    assert (await house.ask("POST", f"/v1/endpoints/{made['endpoint_id']}/rotate", foreign)).status_code == 404
    assert (await house.ask("DELETE", f"/v1/endpoints/{made['endpoint_id']}", foreign)).status_code == 404
    assert (await house.ask("GET", "/v1/endpoints", foreign)).json() == []
    assert await _uses(house, foreign) == ["use-2"]
    assert await _uses(house, "agency:agency-1") == ["use-1"]
    assert sorted(await _uses(house, "operator:")) == ["use-1", "use-2"]
    assert (await house.ask("GET", "/v1/cases", "brand:b")).status_code == 403
    async with house.api.transaction() as connection:
        for table in ("cases", "case_steps", "alerts", "endpoints", "endpoint_secrets", "deliveries"):
            assert await every(connection, f"select * from {table}") == []


async def test_when_another_agency_takes_over_each_sees_its_own_part(house: House) -> None:
    await house.take(an_infringement("use-1"), an_infringement("use-1", 2, agency_id="agency-2"))
    assert await _uses(house, "agency:agency-1") == []
    shown = (await house.ask("GET", "/v1/cases/use-1", "agency:agency-2")).json()
    assert [(alert["kind"], alert["sequence"]) for alert in shown["alerts"]] == [("opened", 3)]
    assert [step["kind"] for step in shown["steps"]] == ["opened"]


async def _uses(house: House, key: str, **query: Any) -> list[str]:
    return [case["use_id"] for case in (await house.ask("GET", "/v1/cases", key, params=query)).json()["cases"]]


async def test_acknowledging_writes_who_when_and_why_once(house: House) -> None:
    await house.take(an_infringement("use-1"))
    for _ in range(2):
        answer = await house.ask("POST", "/v1/cases/use-1/acknowledge", json={"why": "we write to them"})
        assert answer.status_code == 200
    shown = answer.json()
    assert shown["status"] == "acknowledged"
    assert [(step["kind"], step["done_by"], step["why"]) for step in shown["steps"]] == [
        ("opened", "judging", "no license with this brand"),
        ("acknowledged", "key-agency-1", "we write to them"),
    ]
    assert shown["sightings"][0]["media"]["digest"] == PICTURE
    await house.take(an_infringement("use-1", 2, status="withdrawn"))
    answer = await house.ask("POST", "/v1/cases/use-1/acknowledge", json={})
    assert answer.status_code == 409
    assert "withdrawn" in answer.json()["detail"]


async def test_cases_come_in_pages_newest_first_and_by_status(house: House) -> None:
    await house.take(
        *(an_infringement(f"use-{number}", occurred_at=NOON + timedelta(minutes=number)) for number in range(5)),
        an_infringement("use-never-told", status="withdrawn"),
    )
    await house.take(an_infringement("use-3", 2, status="withdrawn"))
    first = (await house.ask("GET", "/v1/cases", params={"limit": 3})).json()
    assert [case["use_id"] for case in first["cases"]] == ["use-4", "use-3", "use-2"]
    rest = (await house.ask("GET", "/v1/cases", params={"limit": 3, "after": first["next"]})).json()
    assert [case["use_id"] for case in rest["cases"]] == ["use-1", "use-0"]
    assert rest["next"] is None
    assert await _uses(house, "agency:agency-1", status="withdrawn") == ["use-3"]
    assert (await house.ask("GET", "/v1/cases", params={"status": "odd"})).status_code == 422


async def test_the_running_service_takes_duplicates_and_poison_from_kafka(stack: Any, receiver: Receiver) -> None:
    use_id, key, agency = str(uuid4()), f"twk_{uuid4().hex}", f"agency-{uuid4().hex[:8]}"
    producer = SteadyProducer(stack.kafka_settings)
    await _give_key(producer, key, agency)
    async with _service(stack, receiver.port) as base, httpx2.AsyncClient(base_url=base) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        secret = (await client.post("/v1/endpoints", json={"url": receiver.url})).json()["secret"]
        found = an_infringement(use_id, agency_id=agency)
        await producer.send(INFRINGEMENTS.name, key=b"poison", value=b"{")
        began = time.monotonic()
        for _ in range(3):
            await producer.send(INFRINGEMENTS.name, key=use_id.encode(), value=found.encode())
        await until(lambda: receiver.received, within_s=30)
        took_s = time.monotonic() - began
        await asyncio.sleep(1.0)
        assert [payload["data"]["use_id"] for payload in receiver.told(secret)] == [use_id]
        assert [case["use_id"] for case in (await client.get("/v1/cases")).json()["cases"]] == [use_id]
        await until(lambda: _dead_letter(stack))
        assert 'twintally_alerts_deliveries_total{outcome="delivered"} 1.0' in (await client.get("/metrics")).text
        # The consumer may still join its group; once it has, an alert is out within a second.
        assert took_s < 15
        began = time.monotonic()
        again = an_infringement(use_id, 2, agency_id=agency, verdict="out_of_scope")
        await producer.send(INFRINGEMENTS.name, key=use_id.encode(), value=again.encode())
        await until(lambda: len(receiver.received) == 2)
        assert time.monotonic() - began < 1.0
    await producer.stop()


async def _give_key(producer: SteadyProducer, key: str, agency: str) -> None:
    state = AccessState(
        api_key_id=f"key-{agency}", revision=1, occurred_at=NOON, key_hash=digest_of(key.encode()), role="agency",
        tenant_id=agency,
    )  # fmt: skip
    await producer.send(ACCESS.name, key=state.message_key().encode(), value=state.encode())


async def _dead_letter(stack: Any) -> bool:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(**kafka_connection(stack.kafka_settings), enable_auto_commit=False)
    await consumer.start()
    try:
        part = TopicPartition(INFRINGEMENTS.dead_letters, 0)
        return (await consumer.end_offsets([part]))[part] > 0
    finally:
        await consumer.stop()


@asynccontextmanager
async def _service(stack: Any, receiver_port: int) -> AsyncIterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        **os.environ,
        "TWINTALLY_KAFKA": stack.kafka,
        "TWINTALLY_DATABASE_WORKER": stack.database_for("alerts_worker").get_secret_value(),
        "TWINTALLY_DATABASE_API": stack.database_for("alerts_api").get_secret_value(),
        "TWINTALLY_HTTP_PORT": str(port),
        "TWINTALLY_SECRET_KEY": Fernet.generate_key().decode(),
        "TWINTALLY_ALERTS_ALLOWED_ADDRESSES": f"127.0.0.1:{receiver_port}",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.alerts", env=env, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    log = asyncio.create_task(process.stdout.read())
    base = f"http://127.0.0.1:{port}"
    try:
        async with httpx2.AsyncClient(base_url=base, timeout=2) as client:
            await until(lambda: _is_ready(client), within_s=60)
        yield base
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 20)
        text = (await log).decode()
        print(text)
    assert code == 0
    assert f'"alerts_allowed_addresses": "127.0.0.1:{receiver_port}"' in text


async def _is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/health/ready")).status_code == 200
    except httpx2.HTTPError:
        return False


async def test_a_malformed_setting_stops_the_service_with_its_name_and_an_example() -> None:
    env = {
        **os.environ,
        "TWINTALLY_KAFKA": "127.0.0.1:1",
        "TWINTALLY_DATABASE_WORKER": "postgresql:///a",
        "TWINTALLY_DATABASE_API": "postgresql:///a",
        "TWINTALLY_HTTP_PORT": "8000",
        "TWINTALLY_SECRET_KEY": "short",
        "TWINTALLY_ALERTS_ALLOWED_ADDRESSES": "localhost:8098",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.alerts", env=env, stderr=asyncio.subprocess.PIPE
    )
    _, told = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 78
    assert "TWINTALLY_ALERTS_ALLOWED_ADDRESSES" in told.decode()
    assert "example: TWINTALLY_ALERTS_ALLOWED_ADDRESSES=127.0.0.1:8098" in told.decode()
    assert "TWINTALLY_SECRET_KEY" in told.decode()
    assert "short" not in told.decode()

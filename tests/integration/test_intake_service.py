"""Intake over HTTP on real PostgreSQL, Redis and Kafka."""

import asyncio
import base64
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.fernet import Fernet, MultiFernet
from fastapi import FastAPI
from pydantic import SecretStr
from redis.asyncio import Redis
from standardwebhooks import Webhook as Signer

from services.intake.api import build_app
from services.intake.handlers import Parts as IntakeParts
from services.intake.settings import IntakeSettings
from services.intake.store import ObjectInbox, PlatformSecrets, PostsStream, RedisMarks
from shared.access import Caller
from shared.database import Database
from shared.events.topics import POSTS
from shared.kafka.producer import SteadyProducer
from shared.objects import open_store
from tests.conftest import Parts
from tests.inbox import webhooks_in
from tests.streams import read_all

OPERATOR = Caller("key-operator", "operator", None, livemode=True)


class Keys:
    """Operator, and one platform per key `platform:NAME`."""

    async def caller_of(self, api_key: str) -> Caller | None:
        if api_key == "operator":
            return OPERATOR
        if api_key == "sandbox":
            return Caller("key-sandbox", "operator", None, livemode=False)
        kind, _, name = api_key.partition(":")
        return Caller(api_key, "platform", name, livemode=True) if kind == "platform" else None


class Intake:
    """The application with its client, and a platform of its own."""

    def __init__(
        self, app: FastAPI, client: httpx2.AsyncClient, redis: Redis, database: Database, folder: Path
    ) -> None:
        self.app = app
        self.client = client
        self.database = database
        self.redis = redis
        self.folder = folder
        self.platform = f"p-{uuid.uuid4().hex[:12]}"
        self.secret = ""

    async def register(self) -> None:
        await self.as_operator("PUT", f"/v1/platforms/{self.platform}")
        made = await self.as_operator("POST", f"/v1/platforms/{self.platform}/secrets")
        self.secret = made.json()["secret"]

    async def as_operator(self, method: str, path: str) -> httpx2.Response:
        return await self.client.request(method, path, headers={"Authorization": "Bearer operator"})

    async def send(
        self, body: bytes, *, secret: str | None = None, platform: str | None = None, message: str = "m1"
    ) -> httpx2.Response:
        now = datetime.now(UTC)
        headers = {
            "webhook-id": message,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Signer(secret or self.secret).sign(message, now, body.decode()),
        }
        path = f"/v1/platforms/{platform or self.platform}/webhooks"
        return await self.client.post(path, content=body, headers=headers)


@pytest.fixture
async def intake(stack: Parts, tmp_path: Path) -> AsyncIterator[Intake]:
    settings = IntakeSettings(
        kafka=stack.kafka,
        database_worker=stack.database_for("intake_worker"),
        database_api=stack.database_for("intake_api"),
        http_port=1,
        redis=SecretStr(stack.redis),
        store=tmp_path.as_uri(),
        secret_key=SecretStr(Fernet.generate_key().decode()),
        webhook_bytes_max=4096,
        body_within_s=0.5,
        bodies_max=2,
        bodies_bytes_max=6000,
        upload_bytes_max=1024,
    )
    database = Database(settings.database_api, "intake")
    producer = SteadyProducer(settings)
    redis = Redis.from_url(stack.redis)
    parts = IntakeParts(
        secrets=PlatformSecrets(database, MultiFernet([Fernet(Fernet.generate_key())])),
        inbox=ObjectInbox(open_store(settings.store)),
        marks=RedisMarks(redis, days=1),
        stream=PostsStream(producer),
    )
    await database.open()
    app = build_app(settings, parts, producer, Keys())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://intake") as client:
        intake = Intake(app, client, redis, database, tmp_path)
        await intake.register()
        yield intake
    await producer.stop()
    await database.close()
    await redis.aclose()


def event(post_id: str = "p1", **changes: Any) -> dict[str, Any]:
    post = {"account": "acme", "media": [{"url": "https://i.example/1.jpg"}]}
    return {
        "type": "post.published",
        "post_id": post_id,
        "occurred_at": datetime.now(UTC).isoformat(),
        "post": post,
        **changes,
    }


def body(value: object) -> bytes:
    return json.dumps(value).encode()


async def test_an_accepted_post_lies_in_the_inbox_and_in_kafka(stack: Parts, intake: Intake) -> None:
    answer = await intake.send(body(event()))
    assert answer.status_code == 202
    [result] = answer.json()["results"]
    assert result["outcome"] == "accepted"
    posts = [json.loads(record.value or b"") for record in await read_all(stack.kafka_settings, POSTS.name)]
    assert [post["id"] for post in posts if post["data"]["platform"] == intake.platform] == [result["event_id"]]
    [(about, raw)] = kept_in(intake)
    assert about["webhook-id"] == "m1"
    assert json.loads(raw)["post_id"] == "p1"


def kept_in(intake: Intake) -> list[tuple[dict[str, Any], bytes]]:
    """What lies in the inbox: of each webhook what is said about it, and its body."""
    files = (path.read_bytes() for path in sorted((intake.folder / "inbox").rglob("*")) if path.is_file())
    return [webhook for each in files for webhook in webhooks_in(each)]


async def test_a_repeat_is_a_duplicate_and_a_lost_mark_only_a_repeat(stack: Parts, intake: Intake) -> None:
    told = body(event())
    outcomes = [(await intake.send(told)).json()["results"][0]["outcome"] for _ in range(2)]
    await intake.redis.flushdb()
    outcomes.append((await intake.send(told)).json()["results"][0]["outcome"])
    assert outcomes == ["accepted", "duplicate", "accepted"]
    ids = [
        json.loads(record.value or b"")["id"]
        for record in await read_all(stack.kafka_settings, POSTS.name)
        if (record.key or b"").startswith(intake.platform.encode())
    ]
    assert len(ids) == 2
    assert len(set(ids)) == 1


async def test_marks_are_written_by_a_redis_that_came_back_empty_of_scripts(intake: Intake) -> None:
    await intake.send(body(event("before")))
    await intake.redis.script_flush()
    told = body(event("after"))
    answers = [(await intake.send(told)).json()["results"][0] for _ in range(2)]
    assert [answer["outcome"] for answer in answers] == ["accepted", "duplicate"]
    assert 0 < await intake.redis.ttl(f"intake:taken:{answers[0]['event_id']}") <= 24 * 60 * 60


async def test_a_batch_answers_per_item(intake: Intake) -> None:
    answer = await intake.send(body({"items": [event("p1"), event("p2", post={}), event("p3")]}))
    assert answer.status_code == 202
    results = answer.json()["results"]
    assert [result["outcome"] for result in results] == ["accepted", "invalid", "accepted"]
    assert any("account" in problem for problem in results[1]["problems"])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"{", 400),
        (body({"items": [{"type": "post.published"}]}), 422),
        (body({"items": []}), 422),
        (body([]), 422),
        (b'{"x": "' + b"x" * 5000 + b'"}', 413),
    ],
)
async def test_bad_bodies_are_refused_with_their_reason(intake: Intake, sent: bytes, status: int) -> None:
    answer = await intake.send(sent)
    assert answer.status_code == status
    assert answer.json()


async def test_strangers_are_refused(intake: Intake) -> None:
    told = body(event())
    other = "whsec_" + "A" * 44
    assert (await intake.send(told, secret=other)).status_code == 401
    for nowhere in ("nowhere", "Instagram", "no%20where", "x" * 100):
        answer = await intake.send(told, platform=nowhere)
        assert (answer.status_code, "No platform" in answer.text) == (404, True)
    assert (await intake.client.post(f"/v1/platforms/{intake.platform}/webhooks", content=told)).status_code == 401


async def slow(pause_s: float) -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.sleep(pause_s)


async def test_strangers_are_refused_before_their_body_is_read(intake: Intake) -> None:
    path = f"/v1/platforms/{intake.platform}/webhooks"
    claimed = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,eA=="}
    async with asyncio.timeout(5):
        for status, url, headers in (
            (404, "/v1/platforms/nowhere/webhooks", claimed),
            (401, path, {}),
            (413, path, {**claimed, "content-length": "5000"}),
        ):
            assert (await intake.client.post(url, content=slow(60), headers=headers)).status_code == status


async def test_slow_bodies_of_strangers_end_soon_and_spend_no_place_of_the_platform(intake: Intake) -> None:
    path = f"/v1/platforms/{intake.platform}/webhooks"
    claimed = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,eA=="}
    strangers = [asyncio.create_task(intake.client.post(path, content=slow(60), headers=claimed)) for _ in range(2)]
    await asyncio.sleep(0.2)
    full = await intake.send(body(event()))
    assert (full.status_code, full.headers["retry-after"]) == (503, "2")
    assert {(await each).status_code for each in strangers} == {408}
    assert (await intake.send(body(event()))).status_code == 202


async def test_bodies_that_are_too_much_together_are_told_to_come_later(intake: Intake) -> None:
    async def large() -> AsyncIterator[bytes]:
        yield b" " * 4000
        await asyncio.sleep(60)

    path = f"/v1/platforms/{intake.platform}/webhooks"
    claimed = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,eA=="}
    stranger = asyncio.create_task(intake.client.post(path, content=large(), headers=claimed))
    await asyncio.sleep(0.2)
    full = await intake.send(body(event()) + b" " * 3000)
    assert (full.status_code, full.headers["retry-after"]) == (503, "2")
    assert (await stranger).status_code == 408
    assert (await intake.send(body(event()) + b" " * 3000)).status_code == 202


async def test_a_platform_that_leaves_in_the_middle_of_its_body_leaves_no_trace_of_a_fault(intake: Intake) -> None:
    claimed = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,eA=="}
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    answered: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        answered.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/v1/platforms/{intake.platform}/webhooks",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in claimed.items()],
    }
    await intake.app(scope, receive, send)
    assert answered[0]["status"] == 400


async def test_an_uploaded_image_lies_in_the_inbox_before_its_digest_goes_on(stack: Parts, intake: Intake) -> None:
    image = uuid.uuid4().bytes * 40
    post = {"account": "acme", "media": [{"image_base64": base64.b64encode(image).decode()}]}
    assert (await intake.send(body(event(post=post)))).status_code == 202
    sha256 = hashlib.sha256(image).hexdigest()
    assert (intake.folder / "inbox" / "uploads" / intake.platform / sha256).read_bytes() == image
    posts = [json.loads(record.value or b"") for record in await read_all(stack.kafka_settings, POSTS.name)]
    [media] = [post["data"]["post"]["media"] for post in posts if post["data"]["platform"] == intake.platform]
    assert media == [{"url": None, "upload_sha256": sha256}]


async def test_a_store_that_is_away_is_503_and_nothing_is_sent(stack: Parts, intake: Intake) -> None:
    (intake.folder / "inbox").write_text("in the way of the folder")
    answer = await intake.send(body(event()))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    keys = [record.key or b"" for record in await read_all(stack.kafka_settings, POSTS.name)]
    assert not any(key.startswith(intake.platform.encode()) for key in keys)
    (intake.folder / "inbox").unlink()
    assert (await intake.send(body(event()))).status_code == 202


async def test_a_database_that_is_away_is_503(intake: Intake) -> None:
    await intake.database.close()
    for answer in (
        await intake.send(body(event()), platform="not-known-yet"),
        await intake.as_operator("PUT", "/v1/platforms/x"),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_what_was_taken_in_before_is_not_kept_again(intake: Intake) -> None:
    same = body(event())
    for message in ("m1", "m2", "m1"):
        assert (await intake.send(same, message=message)).status_code == 202
    assert [about["webhook-id"] for about, _ in kept_in(intake)] == ["m1"]


async def test_a_secret_is_rotated_with_overlap_and_revoked_at_once(intake: Intake) -> None:
    path = f"/v1/platforms/{intake.platform}/secrets"
    made = (await intake.as_operator("POST", path)).json()
    for secret in (made["secret"], intake.secret):
        assert (await intake.send(body(event()), secret=secret)).status_code == 202
    assert (await intake.as_operator("DELETE", f"{path}/{made['secret_id']}")).status_code == 204
    assert (await intake.send(body(event()), secret=made["secret"])).status_code == 401
    listed = (await intake.as_operator("GET", path)).json()
    assert [item["secret"] for item in listed] == [None, None]
    assert listed[1]["expires_at"] is not None


async def test_a_platform_keeps_only_its_own_secrets(intake: Intake) -> None:
    path = f"/v1/platforms/{intake.platform}/secrets"
    mine = {"Authorization": f"Bearer platform:{intake.platform}"}
    foreign = {"Authorization": "Bearer platform:other"}
    assert (await intake.client.post(path, headers=mine)).status_code == 201
    assert len((await intake.client.get(path, headers=mine)).json()) == 2
    assert (await intake.client.post(path, headers=foreign)).status_code == 404
    assert (await intake.client.get(path, headers=foreign)).status_code == 404
    assert (await intake.as_operator("GET", "/v1/platforms/nowhere/secrets")).status_code == 404
    secret_id = (await intake.client.get(path, headers=mine)).json()[0]["secret_id"]
    assert (await intake.client.delete(f"{path}/{secret_id}", headers=foreign)).status_code == 404
    assert (await intake.client.get(path)).status_code == 401
    for nowhere in ("Instagram", "no%20where"):
        assert (await intake.as_operator("GET", f"/v1/platforms/{nowhere}/secrets")).status_code == 404
        assert (await intake.as_operator("POST", f"/v1/platforms/{nowhere}/secrets")).status_code == 404
        assert (await intake.as_operator("PUT", f"/v1/platforms/{nowhere}")).status_code == 422
    for name in ("psec_none", "%00"):
        assert (await intake.as_operator("DELETE", f"{path}/{name}")).status_code == 404


async def test_a_sandbox_key_neither_sees_nor_revokes_live_secrets(intake: Intake) -> None:
    path = f"/v1/platforms/{intake.platform}/secrets"
    sandbox = {"Authorization": "Bearer sandbox"}
    live = (await intake.as_operator("GET", path)).json()[0]["secret_id"]
    assert (await intake.client.get(path, headers=sandbox)).json() == []
    assert (await intake.client.delete(f"{path}/{live}", headers=sandbox)).status_code == 404
    made = (await intake.client.post(path, headers=sandbox)).json()
    assert (await intake.send(body(event("s1")), secret=made["secret"])).status_code == 202
    assert (await intake.send(body(event("l1")))).status_code == 202

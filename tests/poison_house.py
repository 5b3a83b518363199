"""Every service that reads a topic, as its own process, and the poison that tests feed them."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from aiokafka import AIOKafkaProducer
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from typer.testing import CliRunner, Result

from infra.dlq.cli import app
from infra.local.stack import Stack
from shared.events import AccessState, Event, Watermark
from shared.ids import digest_of
from shared.kafka import Record, connection
from shared.kafka.producer import MAX_RECORD_BYTES
from shared.settings import KafkaSettings
from tests.builders import (
    NOON,
    a_brand,
    a_consent,
    a_license,
    a_measured,
    a_reference,
    a_sighting,
    a_split,
    a_usage,
    a_use_seen,
    an_access,
    an_infringement,
    one_of_each,
)
from tests.conftest import HOOKS

READERS = ("intake", "matching", "judging", "alerts", "royalty")
LOOKUPS = ("licenses.v1", "consents.v1", "parties.v1", "cases.v1", "allowances.v1", "clock.v1")
# royalties.v1 and statements.v1 are finance's: no consumer of ours reads them, so none of ours can fail at them.
CONSUMERS: Mapping[str, tuple[str, ...]] = {
    "posts.v1": ("matching",),
    "sightings.v1": ("judging",),
    "infringements.v1": ("alerts",),
    "usage.v1": ("royalty",),
    **dict.fromkeys(LOOKUPS, ("judging.lookups",)),
    "references.v1": ("matching.references",),
    "access.v1": tuple(f"{service}.access" for service in READERS),
}
PATIENCE_S = 60.0
OVERSIZED_BYTES = 12 * 1024 * 1024
# One per kind of reader gets the largest record that the broker takes as it is: Faust, a group, a lookup reader.
LARGEST = ("posts.v1", "usage.v1", "licenses.v1")

BY_TOPIC: Mapping[str, Event] = {event.topic.name: event for event in one_of_each()}


def good(topic: str, name: str) -> Event:
    """An event of the topic about something of this name."""
    match topic:
        case "posts.v1":
            return a_measured(post_id=name)
        case "sightings.v1":
            return a_use_seen(use_id=name, twin_id=f"twin-{name}", post_id=name)
        case "infringements.v1":
            return an_infringement(use_id=name, agency_id=f"agency-{name}")
        case "usage.v1":
            return a_usage(use_id=name, license_id=name, split=a_split(f"t-{name}", f"a-{name}"), brand_id=f"b-{name}")
        case "licenses.v1":
            return a_license(license_id=name, twin_id=f"twin-{name}")
        case "consents.v1":
            return a_consent(consent_id=name, twin_id=f"twin-{name}")
        case "parties.v1":
            return a_brand(party_id=name, accounts=())
        case "references.v1":
            return a_reference(reference_id=name, status="withdrawn", fingerprint="")
        case "access.v1":
            return an_operator(name)
        case "clock.v1":
            return Watermark(revision=1, occurred_at=NOON, service=name, end_offsets={})
        case "cases.v1":
            return BY_TOPIC[topic].model_copy(update={"use_id": name, "decisions": ()})
        case "allowances.v1":
            return BY_TOPIC[topic].model_copy(update={"allowance_id": name})
    raise AssertionError(topic)


def an_operator(name: str) -> AccessState:
    return an_access(api_key_id=name, key_hash=digest_of(name.encode()), role="operator", tenant_id=None)


def own_fault(topic: str, name: str) -> Event | None:
    """An event that can be read and that no store takes; None where nothing of the kind is known.

    There it would take a fault of our code, which work_batch treats alike (tests/unit/test_dead_letters.py).
    """
    event, nul = good(topic, name), "no\0text"
    match topic:
        case "sightings.v1":
            [version] = event.versions  # type: ignore[attr-defined]
            shown = version.model_copy(update={"sightings": (a_sighting(algorithm=nul),)})
            return event.model_copy(update={"versions": (shown,)})
        case "infringements.v1" | "allowances.v1":
            return event.model_copy(update={"account": nul})
        case "usage.v1":
            dear = event.rate_card.fee.model_copy(update={"minor": 10**30})  # type: ignore[attr-defined]
            return event.model_copy(update={"rate_card": event.rate_card.model_copy(update={"fee": dear})})  # type: ignore[attr-defined]
        case "licenses.v1":
            version = event.versions[0].model_copy(update={"split": a_split(talent=nul)})  # type: ignore[attr-defined]
            return event.model_copy(update={"versions": (version,)})
        case "parties.v1":
            account = {"platform": "instagram", "account": nul}
            return a_brand(party_id=name, accounts=(account,))
    return None


def wrong_schema(event: Event) -> bytes:
    """The event without what it is about."""
    envelope = json.loads(event.encode())
    envelope["data"] = {"strange": True}
    return json.dumps(envelope).encode()


def poison(topic: str, prefix: str) -> dict[str, tuple[bytes, bytes]]:
    """By kind: message key and value."""
    schema, fault = good(topic, f"{prefix}-schema"), own_fault(topic, f"{prefix}-fault")
    found = {
        "undecodable": (f"{prefix}-undecodable".encode(), b"\xff\xfe{\x00"),
        "undecodable-key": (b"\xff\x00" + prefix.encode(), good(topic, f"{prefix}-key").encode()),
        "schema": (schema.message_key().encode(), wrong_schema(schema)),
        # The broker takes it, because its sender compressed it; a larger one it refuses, which is no loss.
        "oversized": (f"{prefix}-oversized".encode(), b"x" * OVERSIZED_BYTES),
    }
    if topic in LARGEST:
        found["largest"] = (f"{prefix}-largest".encode(), random.Random(topic).randbytes(MAX_RECORD_BYTES - 16 * 1024))
    if fault is not None:
        found["fault"] = (fault.message_key().encode(), fault.encode())
    return found


@dataclass
class House:
    """The running services, the command line, and a producer that sends whatever it is told."""

    stack: Stack
    kafka: KafkaSettings
    producer: AIOKafkaProducer
    prefix: str = field(default_factory=lambda: uuid4().hex[:10])

    @property
    def key(self) -> str:
        """The operator's API key."""
        return f"{self.prefix}-operator"

    async def send(self, topic: str, key: bytes, value: bytes) -> Record:
        """Send to partition 0, so that what is sent between two records lies between them."""
        sent = await self.producer.send_and_wait(topic, key=key, value=value, partition=0)
        return Record(topic, 0, sent.offset, key, value)

    async def tell(self, *events: Event) -> list[Record]:
        return [await self.send(each.topic.name, each.message_key().encode(), each.encode()) for each in events]

    async def dlq(self, *words: str, code: int = 0) -> Result:
        """`twintally dlq ...` as an operator calls it."""
        env = {**self.stack.env_for("royalty"), "TWINTALLY_API_KEY": self.key, "COLUMNS": "250"}
        done = await asyncio.to_thread(CliRunner().invoke, app, words, env=env)
        assert done.exit_code == code, done.output + repr(done.exception)
        return done

    async def letters(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((await self.dlq("list", "--json", *words)).stdout)
        return found

    async def letter_of(self, record: Record, consumer: str) -> dict[str, Any]:
        """The one letter of a consumer at a record, once it is there."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            listed = await self.letters("--all", "--topic", record.topic, "--consumer", consumer)
            found[:] = [each for each in listed if (each["partition"], each["offset"]) == (0, record.offset)]
            return bool(found)

        await until(there)
        [letter] = found
        return letter

    async def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What the database's owner sees."""
        async with await AsyncConnection.connect(self.stack.database, autocommit=True) as owner:
            cursor = owner.cursor(row_factory=dict_row)
            await cursor.execute(query, values)
            return await cursor.fetchall() if cursor.description else []

    async def ask(self, service: str, method: str, path: str, key: str | None = None, **more: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        async with httpx2.AsyncClient(base_url=self.stack.url(service), timeout=10) as client:
            return await client.request(method, path, headers=headers, **more)

    async def knows(self, service: str, key: str | None = None) -> bool:
        """Does the service know this API key? Then it says what is wrong with an empty letter."""
        answer = await self.ask(service, "POST", "/v1/dead-letters/replay", key, content=b"")
        return answer.status_code == 400


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await true():
            await asyncio.sleep(0.2)


@asynccontextmanager
async def a_poison_house(folder: Path) -> AsyncIterator[House]:
    """A stack of its own: nobody else should have to read around the poison."""
    with Stack.running(folder, services=READERS, hooks=HOOKS) as stack:
        kafka = KafkaSettings(kafka=stack.kafka)
        producer = AIOKafkaProducer(**connection(kafka), compression_type="gzip", max_request_size=2 * OVERSIZED_BYTES)
        await producer.start()
        house = House(stack, kafka, producer)
        try:
            await house.tell(an_operator(house.key))
            await asyncio.gather(*(until(lambda name=service: house.knows(name)) for service in READERS))
            yield house
        finally:
            await producer.stop()
        assert {name: stack.part(name).restarts for name in READERS} == dict.fromkeys(READERS, 0), f"see {folder}"

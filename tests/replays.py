"""What the replay of a dead letter is held against: a bug that is repaired, and a like record that never failed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from services.alerts.delivery import new_secret_text
from shared.events import Event, encoded_bytes, read_event
from shared.fingerprints import Fingerprint, Picture, decode, fingerprint_reference
from shared.kafka import Record
from shared.setting_types import cipher_of
from tests.poison_house import House
from tests.streams import read_all

DERIVED = ("post_id", "use_id", "event_id", "sighting_id")


@asynccontextmanager
async def a_bug(house: House, table: str, holds: str) -> AsyncIterator[None]:
    """Inside of it a table takes only what holds: what it refuses fails for its own reason."""
    await house.rows(f"alter table {table} add constraint a_bug check ({holds}) not valid")
    try:
        yield
    finally:
        await house.rows(f"alter table {table} drop constraint a_bug")


async def given_up(house: House, event: Event, consumer: str) -> dict[str, Any]:
    """The dead letter that becomes of an event; a replay before the repair leaves it as it is."""
    [record] = await house.tell(event)
    letter = await house.letter_of(record, consumer)
    assert "fails again: CheckViolation" in (await house.dlq("replay", letter["id"], code=1)).stderr
    assert (await house.letter_of(record, consumer))["state"] == "unresolved"
    return letter


async def replayed(house: House, letter: dict[str, Any]) -> None:
    """The letter is worked, and says so."""
    assert "worked" in (await house.dlq("replay", letter["id"])).stdout
    states = {each["id"]: each["state"] for each in await house.letters("--all")}
    assert states[letter["id"]] == "replayed"


async def told_once(house: House, event: Event) -> bool:
    """Whether the event lies in its topic once, as it was sent: a replay goes past the topic."""
    key = event.message_key().encode()
    return [each.value for each in await read_all(house.kafka, event.topic.name) if each.key == key] == [event.encode()]


async def states_of(house: House, topic: str, post: str) -> list[dict[str, Any]]:
    """What a topic tells of a post, without its name and what is derived from it."""
    found = [
        read_event(each.topic, each.key, each.value)
        for each in await read_all(house.kafka, topic)
        if _can_be_read(each)
    ]
    return [_nameless(each.model_dump(mode="json")) for each in found if getattr(each, "post_id", None) == post]


def _can_be_read(record: Record) -> bool:
    """Whether it can be read: the topics are full of poison."""
    try:
        read_event(record.topic, record.key, record.value)
    except ValueError:
        return False
    return True


def _nameless(told: Any) -> Any:
    if isinstance(told, dict):
        return {name: _nameless(value) for name, value in told.items() if name not in DERIVED}
    return [_nameless(each) for each in told] if isinstance(told, list) else told


async def alerts_of(house: House, use_id: str) -> list[dict[str, Any]]:
    """What is to be told of a case, and to how many endpoints; without its name and what is derived from it."""
    rows = await house.rows(
        "select body::jsonb - 'id' as body, kind, sequence, status, revision,"
        " (select count(*) from alerts.deliveries where deliveries.event_id = alerts.event_id) as deliveries"
        " from alerts.alerts join alerts.cases using (use_id, sequence) where use_id = %s",
        use_id,
    )
    return [_nameless(row) for row in rows]


async def give_endpoint(house: House, agency: str) -> None:
    """An endpoint of an agency, at an address that alerts will not ask (RFC 5737): nothing leaves this machine."""
    cipher = cipher_of(SecretStr(house.stack.env_for("alerts")["TWINTALLY_SECRET_KEY"]))
    await house.rows(
        "insert into alerts.endpoints (endpoint_id, agency_id, livemode, url, created_at)"
        " values (%s, %s, true, 'https://203.0.113.7/alerts', clock_timestamp())",
        agency,
        agency,
    )
    await house.rows(
        "insert into alerts.endpoint_secrets (secret_id, endpoint_id, agency_id, secret, created_at)"
        " values (%s, %s, %s, %s, clock_timestamp())",
        agency,
        agency,
        agency,
        cipher.encrypt(new_secret_text().encode()),
    )


def fingerprint_of(image: bytes) -> str:
    """A reference's fingerprint as registry tells it."""
    picture = decode(image)
    assert isinstance(picture, Picture)
    fingerprint = fingerprint_reference(picture)
    assert isinstance(fingerprint, Fingerprint)
    return encoded_bytes(fingerprint.to_bytes())

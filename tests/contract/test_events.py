"""Can we still read each other? Examples of every event, derived ids, generated schemas, the layout of the topics."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cloudevents.v1.http import from_json

from infra import contract
from infra.kafka.layout import read_layout, wanted_topics
from shared.events import EVENT_CLASSES, TOPICS, Event, Unreadable, read_event
from shared.events.topics import POSTS
from shared.ids import derived_id, sighting_id, use_id
from tests.builders import NOON, ONE_HOUR, a_post, a_published, a_use_seen, one_of_each
from tests.contract.compatibility import breaking_changes

EXAMPLES = Path(__file__).parent / "examples"
RELEASED = Path(__file__).parent / "released"


def examples() -> list[Path]:
    return sorted(EXAMPLES.glob("*.json"))


def test_there_is_an_example_of_every_event_and_topic() -> None:
    types = {json.loads(path.read_text())["value"]["type"] for path in examples()}
    assert types == {event.type for event in EVENT_CLASSES}
    assert {event.topic for event in EVENT_CLASSES} == set(TOPICS)


@pytest.mark.parametrize("path", examples(), ids=lambda path: path.stem)
def test_an_example_of_an_earlier_day_is_still_read_and_says_the_same(path: Path) -> None:
    example = json.loads(path.read_text())
    event = read_event(example["topic"], example["key"].encode(), json.dumps(example["value"]).encode())
    written = json.loads(event.encode())
    # A later version may add fields; what the example says, and its id, never change.
    assert written["id"] == example["value"]["id"]
    assert contains(written, example["value"])


@pytest.mark.parametrize("event", one_of_each(), ids=lambda event: type(event).__name__)
def test_an_event_travels_as_a_cloudevent_that_its_schema_and_the_sdk_accept(event: Event) -> None:
    value = event.encode()
    jsonschema.Draft202012Validator(contract.schema_of(type(event))).validate(json.loads(value))
    seen = from_json(value)
    assert seen["id"] == str(event.event_id())
    assert seen["type"] == event.type
    assert read_event(event.topic.name, event.message_key().encode(), value) == event
    assert read_event(event.topic.name, event.message_key().encode(), value).encode() == value


def test_the_ids_of_today_are_those_of_the_golden_vectors() -> None:
    vectors = json.loads((Path(__file__).parent / "golden_ids.json").read_text())
    for vector in vectors["derived"]:
        assert str(derived_id(*vector["parts"])) == vector["id"]
    for vector in vectors["uses"]:
        assert use_id(**vector["of"]) == vector["id"]
    for vector in vectors["sightings"]:
        assert sighting_id(**vector["of"]) == vector["id"]
    for vector in vectors["events"]:
        event = next(event for event in one_of_each() if type(event).__name__ == vector["event"])
        assert str(event.event_id()) == vector["id"]


def test_a_fact_told_again_is_the_same_event_and_another_fact_is_another() -> None:
    fact = a_published()
    assert a_published().event_id() == fact.event_id()
    assert a_published(time_doubtful=True, backfill=True).event_id() == fact.event_id()
    others = (
        a_published(post=a_post(account="other")),
        a_published(occurred_at=NOON + ONE_HOUR),
        a_published(livemode=False),
        a_published(post_id="p2"),
    )
    assert len({fact.event_id(), *(other.event_id() for other in others)}) == 5


@pytest.mark.parametrize("item", [{}, {"url": "https://i.example/1", "upload_sha256": "0" * 64}])
def test_a_picture_has_an_address_or_was_uploaded(item: dict[str, str]) -> None:
    envelope = json.loads(a_published().encode())
    envelope["data"]["post"]["media"] = [item]
    with pytest.raises(Unreadable, match="exactly one of url and upload_sha256"):
        read_event(POSTS.name, b"instagram:p1", json.dumps(envelope).encode())


def test_the_id_of_a_state_follows_from_topic_key_and_revision_alone() -> None:
    assert a_use_seen(occurred_at=NOON + ONE_HOUR).event_id() == a_use_seen().event_id()
    assert a_use_seen(revision=2).event_id() != a_use_seen().event_id()


def test_a_field_that_a_newer_writer_added_is_ignored() -> None:
    envelope = json.loads(a_published().encode())
    envelope["data"]["mood"] = "cheerful"
    assert read_event(POSTS.name, b"instagram:p1", json.dumps(envelope).encode()) == a_published()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"specversion": "0.3"}, "CloudEvent"),
        ({"type": "com.twintally.consent.v1"}, "does not belong"),
        ({"data": None}, "data"),
        ({"data": {}}, "platform"),
        ({"time": "yesterday"}, "occurred_at"),
    ],
)
def test_what_cannot_be_read_says_why(change: dict[str, Any], said: str) -> None:
    envelope = json.loads(a_published().encode()) | change
    with pytest.raises(Unreadable, match=said):
        read_event(POSTS.name, b"instagram:p1", json.dumps(envelope).encode())


NESTED = b"[" * 100_000


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        b"1",
        NESTED,
        b'{"specversion": "1.0", "type": []}',
        b'{"specversion": "1.0", "type": {}}',
    ],
    ids=lambda value: repr(value)[:40],
)
def test_bytes_that_are_no_event_are_unreadable_never_a_crash(value: bytes | None) -> None:
    with pytest.raises(Unreadable):
        read_event(POSTS.name, b"k", value)


def test_a_record_under_a_foreign_message_key_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="message key"):
        read_event(POSTS.name, b"instagram:other", a_published().encode())


def test_the_checked_in_contract_is_what_the_classes_generate() -> None:
    assert contract.differences() == []


@pytest.mark.parametrize("event", EVENT_CLASSES, ids=lambda event: event.__name__)
def test_no_change_breaks_a_reader_of_the_released_schema(event: type[Event]) -> None:
    released = json.loads((RELEASED / f"{event.type}.json").read_text())
    assert breaking_changes(released, contract.schema_of(event)) == []


def test_the_topics_of_the_code_are_those_of_the_layout() -> None:
    layout = read_layout()
    assert {topic.name: topic.owner for topic in TOPICS} == {name: topic.owner for name, topic in layout.topics.items()}
    names = {topic.name for topic in wanted_topics(layout, "production")}
    assert names == {name for topic in TOPICS for name in (topic.name, topic.dead_letters)}


def contains(whole: Any, part: Any) -> bool:
    """Is everything that `part` says in `whole`?"""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and contains(whole[name], part[name]) for name in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


def test_a_revision_that_no_store_could_hold_is_unreadable() -> None:
    envelope = json.loads(a_use_seen().encode()) | {"revision": 2**40}
    with pytest.raises(Unreadable, match="revision"):
        read_event("sightings.v1", a_use_seen().message_key().encode(), json.dumps(envelope).encode())

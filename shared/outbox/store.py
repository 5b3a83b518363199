"""The table behind the outbox, and how a transaction puts an event into it."""

from collections.abc import Callable
from typing import TypeVar

from shared.database import Connection, one
from shared.events import Event, StateEvent
from shared.ids import canonical_json, digest_of
from shared.kafka.producer import MAX_RECORD_BYTES
from shared.tracing import carried

# Below the topics' max.message.bytes, with room for the record's key, headers and framing.
EVENT_BYTES_MAX = MAX_RECORD_BYTES - 64 * 1024

State = TypeVar("State", bound=StateEvent)

# Every service that publishes runs this in its first migration, inside its own schema; a later one adds `traceparent`.
TABLES = """
create table outbox (
    position bigint generated always as identity primary key,
    topic text not null,
    message_key text not null,
    event_id uuid not null,
    value bytea not null,
    bulk boolean not null,
    stored_at timestamptz not null default clock_timestamp(),
    sent_at timestamptz
);
-- What the relay reads in order, a batch at a time, however much waits (see UNSENT in relay.py).
create index outbox_unsent_live on outbox (position) where sent_at is null and not bulk;
create index outbox_unsent_bulk on outbox (position) where sent_at is null and bulk;
create index outbox_unsent_bulk_of_key on outbox (topic, message_key, position) where sent_at is null and bulk;
create index outbox_sent on outbox (sent_at) where sent_at is not null;
create table published_states (
    topic text not null,
    message_key text not null,
    revision integer not null,
    content_digest text not null,
    primary key (topic, message_key)
);
"""


class EventTooLarge(ValueError):  # noqa: N818 - it names the state of an event
    """An event that the broker would never take: in the outbox it would hold up everything behind it."""


async def put(connection: Connection, event: Event, *, bulk: bool = False) -> None:
    """Put an event into the outbox of the connection's schema; it is published when the transaction commits.

    EventTooLarge when no topic would take it: the fault of what led to it, which becomes a dead letter.
    """
    value = event.encode()
    if len(value) > EVENT_BYTES_MAX:
        raise EventTooLarge(f"{event.type} {event.message_key()}: {len(value)} bytes, at most {EVENT_BYTES_MAX}")
    await connection.execute(
        "insert into outbox (topic, message_key, event_id, value, bulk, traceparent) values (%s, %s, %s, %s, %s, %s)",
        (event.topic.name, event.message_key(), event.event_id(), value, bulk, carried()),
    )


async def ensure_state(connection: Connection, build: Callable[[int], State], *, bulk: bool = False) -> State | None:
    """Publish a state when its content changed; returns it, or None when the published one says the same.

    `build` takes the revision. The row that counts the revisions of this message key is locked until the transaction
    ends, so revisions and outbox positions of one key grow together.
    """
    draft = build(1)
    topic, key = draft.topic.name, draft.message_key()
    await connection.execute("insert into published_states values (%s, %s, 0, '') on conflict do nothing", (topic, key))
    known = await one(
        connection,
        "select revision, content_digest from published_states where topic = %s and message_key = %s for update",
        (topic, key),
    )
    digest = _digest_without_revision(draft)
    if known is None or known["content_digest"] == digest:
        return None
    state = build(known["revision"] + 1)
    await connection.execute(
        "update published_states set revision = %s, content_digest = %s where topic = %s and message_key = %s",
        (state.revision, digest, topic, key),
    )
    await put(connection, state, bulk=bulk)
    return state


def _digest_without_revision(state: StateEvent) -> str:
    return digest_of(canonical_json(state.model_dump(mode="json", exclude={"revision"})).encode())

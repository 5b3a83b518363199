"""Lookup data in judging's own schema: the highest revision wins, and what it changes is queued to be judged again."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg.types.json import Jsonb

from services.judging.domain import Account
from services.judging.freshness import Freshness
from services.judging.metrics import LOOKUPS, LOOKUPS_UNREADABLE
from shared.database import Connection, Database, every
from shared.events import (
    EVENT_CLASSES,
    BrandState,
    ConsentState,
    Event,
    LicenseState,
    StateEvent,
    TwinState,
    Unreadable,
    Watermark,
    read_event,
)
from shared.events.topics import CLOCK
from shared.kafka import Record
from shared.kafka.batches import PASSING_FAULTS
from shared.logs import get_log

log = get_log()

ATTEMPTS = 6
FIRST_PAUSE_S = 0.2
# The store's judging transactions hold the same lock shared.
LOCK_EXCLUSIVELY = "select pg_advisory_xact_lock(hashtextextended('judging:lookups', 0))"

_CLASSES: dict[str, type[Event]] = {event.type: event for event in EVENT_CLASSES}

Key = tuple[str, str]


@dataclass(frozen=True)
class Broken:
    """A lookup record that cannot be read."""

    record: Record
    error: str


@dataclass
class _Read:
    """What a batch of records says."""

    newest: dict[Key, StateEvent] = field(default_factory=dict)
    broken: dict[Key, Broken] = field(default_factory=dict)
    readable_up_to: dict[Key, int] = field(default_factory=dict)


class Lookups:
    """Learns the lookup topics; several workers may learn the same records at once."""

    def __init__(self, database: Database, freshness: Freshness, *, bulk_from: int) -> None:
        self._database = database
        self._freshness = freshness
        self._bulk_from = bulk_from

    async def learn(self, records: Sequence[Record]) -> None:
        """Store what is newer than what is known; a passing fault is repeated a bounded number of times, then raised.

        A record that cannot be read is kept in `unreadable_lookups` and stops all accusations.
        """
        read = _read(records, self._freshness)
        if not (read.newest or read.broken or read.readable_up_to):
            return
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._store(read)
                return
            except PASSING_FAULTS as error:
                if attempt == ATTEMPTS:
                    raise
                log.warning("lookups_wait", attempt=attempt, error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))

    async def _store(self, read: _Read) -> None:
        # Most records are known already after a restart: nobody is kept from judging for them.
        async with self._database.transaction() as connection:
            news = _news(read.newest, await _stored(connection, list(read.newest)))
            repaired = await _repaired(connection, read)
        if not (news or read.broken or repaired):
            return
        async with self._database.transaction() as connection:
            await connection.execute(LOCK_EXCLUSIVELY)
            before = await _stored(connection, list(read.newest))
            news = _news(read.newest, before)
            await _upsert(connection, news.values())
            await self._queue(connection, news, before)
            await _keep_broken(connection, read.broken.values())
            await _repair(connection, read.readable_up_to)
        for state in news.values():
            LOOKUPS.labels(state.topic.name).inc()

    async def _queue(self, connection: Connection, news: Mapping[Key, StateEvent], before: "Stored") -> None:
        twins = {twin for state in news.values() if (twin := _twin_of(state)) is not None}
        accounts = {account for state in news.values() for account in _accounts_of(state)}
        # Who loses an account is concerned as much as who gets it.
        accounts |= {account for key in news if key in before for account in before[key].accounts}
        await connection.execute(
            "insert into to_judge (use_id, bulk)"
            " select use_id, count(*) over () >= %s from uses where twin_id = any(%s) or account_keys && %s::text[]"
            " on conflict (use_id) do update"
            " set bulk = to_judge.bulk and excluded.bulk, attempts = 0, not_before = excluded.not_before",
            (self._bulk_from, list(twins), list(accounts)),
        )


def account_keys(accounts: Iterable[Account]) -> frozenset[str]:
    """Accounts as they stand in a column: `platform:account`."""
    return frozenset(f"{platform}:{account}" for platform, account in accounts)


def lookup_in(type_name: str, state: object) -> StateEvent:
    """The state in a row of `lookups`."""
    event = _CLASSES[type_name].model_validate(state)
    assert isinstance(event, StateEvent)  # noqa: S101 - only states are stored
    return event


def _read(records: Sequence[Record], freshness: Freshness) -> _Read:
    read = _Read()
    for record in records:
        key = (record.topic, _key_text(record.key))
        try:
            # A tombstone follows a withdrawn state, which has been learnt: it says nothing new.
            event = None if record.value is None else read_event(record.topic, record.key, record.value)
        except Unreadable as error:
            _note_broken(read, key, Broken(record, str(error)))
            continue
        if isinstance(event, Watermark):
            freshness.learn(event)
            continue
        read.broken.pop(key, None)
        if record.topic != CLOCK.name:
            read.readable_up_to[key] = record.offset
        if isinstance(event, StateEvent) and (key not in read.newest or read.newest[key].revision < event.revision):
            read.newest[key] = event
    return read


def _note_broken(read: _Read, key: Key, broken: Broken) -> None:
    record = broken.record
    log.error("lookup_unreadable", topic=record.topic, message_key=key[1], offset=record.offset, error=broken.error)
    LOOKUPS_UNREADABLE.labels(record.topic).inc()
    # A watermark that cannot be read vouches for nothing; the next one comes within a second.
    if record.topic != CLOCK.name:
        read.broken[key] = broken
        read.readable_up_to.pop(key, None)


@dataclass(frozen=True)
class _Known:
    revision: int
    accounts: frozenset[str]


Stored = Mapping[Key, _Known]


def _news(newest: Mapping[Key, StateEvent], stored: Stored) -> dict[Key, StateEvent]:
    return {key: state for key, state in newest.items() if key not in stored or stored[key].revision < state.revision}


async def _stored(connection: Connection, keys: Sequence[Key]) -> Stored:
    rows = await every(
        connection,
        "select topic, message_key, revision, account_keys from lookups join unnest(%s::text[], %s::text[])"
        " as wanted (topic, message_key) using (topic, message_key)",
        ([topic for topic, _ in keys], [message_key for _, message_key in keys]),
    )
    return {(row["topic"], row["message_key"]): _Known(row["revision"], frozenset(row["account_keys"])) for row in rows}


async def _upsert(connection: Connection, states: Iterable[StateEvent]) -> None:
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "insert into lookups (topic, message_key, revision, type, twin_id, account_keys, state)"
            " values (%s, %s, %s, %s, %s, %s, %s) on conflict (topic, message_key) do update"
            " set revision = excluded.revision, type = excluded.type, twin_id = excluded.twin_id,"
            " account_keys = excluded.account_keys, state = excluded.state"
            " where excluded.revision > lookups.revision",
            [
                (
                    state.topic.name,
                    state.message_key(),
                    state.revision,
                    state.type,
                    _twin_of(state),
                    sorted(_accounts_of(state)),
                    Jsonb(state.model_dump(mode="json")),
                )
                for state in states
            ],
        )


async def _keep_broken(connection: Connection, several: Iterable[Broken]) -> None:
    for broken in several:
        record = broken.record
        # One that an operator has dropped stays dropped when it is read again after a restart.
        await connection.execute(
            "insert into unreadable_lookups (topic, message_key, partition, record_offset, error)"
            " values (%s, %s, %s, %s, %s) on conflict (topic, message_key) do update"
            " set record_offset = excluded.record_offset, error = excluded.error, found_at = excluded.found_at,"
            " dropped_by = null where unreadable_lookups.record_offset < excluded.record_offset",
            (record.topic, _key_text(record.key), record.partition, record.offset, _text(broken.error)),
        )


async def _repaired(connection: Connection, read: _Read) -> bool:
    rows = await every(connection, "select topic, message_key, record_offset from unreadable_lookups")
    return any(read.readable_up_to.get((row["topic"], row["message_key"]), -1) > row["record_offset"] for row in rows)


async def _repair(connection: Connection, readable_up_to: Mapping[Key, int]) -> None:
    keys = list(readable_up_to)
    await connection.execute(
        "delete from unreadable_lookups using unnest(%s::text[], %s::text[], %s::bigint[])"
        " as readable (topic, message_key, record_offset) where readable.topic = unreadable_lookups.topic"
        " and readable.message_key = unreadable_lookups.message_key"
        " and readable.record_offset > unreadable_lookups.record_offset",
        ([topic for topic, _ in keys], [message_key for _, message_key in keys], list(readable_up_to.values())),
    )


def _twin_of(state: StateEvent) -> str | None:
    match state:
        case LicenseState() | ConsentState():
            return state.twin_id
        case TwinState():
            return state.party_id
        case _:
            return None


def _accounts_of(state: StateEvent) -> frozenset[str]:
    if not isinstance(state, BrandState):
        return frozenset()
    return account_keys((account.platform, account.account) for account in state.accounts)


def _key_text(key: bytes | None) -> str:
    return "" if key is None else _text(key.decode("utf-8", "backslashreplace"))


def _text(text: str) -> str:
    # PostgreSQL keeps no NUL in a text.
    return text.replace("\x00", "\\x00")

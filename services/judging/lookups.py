"""Lookup data in judging's own schema: the highest revision wins, and what it changes is queued to be judged again."""

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
    Watermark,
    read_event,
)
from shared.events.topics import CLOCK
from shared.kafka import Record
from shared.kafka.deadletters import DeadLetters, error_text
from shared.kafka.records import key_text
from shared.logs import get_log

log = get_log()

# The store's judging transactions hold the same lock shared.
LOCK_EXCLUSIVELY = "select pg_advisory_xact_lock(hashtextextended('judging:lookups', 0))"

_CLASSES: dict[str, type[Event]] = {event.type: event for event in EVENT_CLASSES}

Key = tuple[str, str]


@dataclass
class _Read:
    """What a batch of records says."""

    newest: dict[Key, StateEvent] = field(default_factory=dict)
    readable_up_to: dict[Key, int] = field(default_factory=dict)


class Lookups:
    """Learns the lookup topics; several workers may learn the same records at once."""

    def __init__(self, database: Database, freshness: Freshness, *, bulk_from: int) -> None:
        self._database = database
        self._freshness = freshness
        self._bulk_from = bulk_from

    async def learn(self, records: Sequence[Record]) -> None:
        """Store what is newer than what is known; when a record cannot be read, Unreadable, and nothing is stored."""
        read = _read(records, self._freshness)
        if not (read.newest or read.readable_up_to):
            return
        # Most records are known already after a restart: nobody is kept from judging for them.
        async with self._database.transaction() as connection:
            news = _news(read.newest, await _stored(connection, list(read.newest)))
            repaired = await _repaired(connection, read)
        if not (news or repaired):
            return
        async with self._database.transaction() as connection:
            await connection.execute(LOCK_EXCLUSIVELY)
            before = await _stored(connection, list(read.newest))
            news = _news(read.newest, before)
            await _upsert(connection, news.values())
            await self._queue(connection, news, before)
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


class AccusationStop:
    """Dead letters of lookup data: what could not be learnt stops all accusations until it is repaired or dropped."""

    def __init__(self, database: Database, letters: DeadLetters) -> None:
        self._database = database
        self._letters = letters

    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        """Stop the accusations, then keep the record."""
        message_key = key_text(record.key)
        LOOKUPS_UNREADABLE.labels(record.topic).inc()
        log.error("lookup_unreadable", topic=record.topic, message_key=message_key, offset=record.offset)
        # A watermark that cannot be read vouches for nothing; the next one comes within a second.
        if record.topic != CLOCK.name:
            async with self._database.transaction() as connection:
                await _keep_broken(connection, record, message_key, error_text(error).replace("\x00", "\\x00"))
        await self._letters.keep(record, error=error, attempts=attempts)


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
        # A tombstone follows a withdrawn state, which has been learnt: it says nothing new.
        event = None if record.value is None else read_event(record.topic, record.key, record.value)
        if isinstance(event, Watermark):
            freshness.learn(event)
            continue
        key = (record.topic, key_text(record.key))
        if record.topic != CLOCK.name:
            read.readable_up_to[key] = record.offset
        if isinstance(event, StateEvent) and (key not in read.newest or read.newest[key].revision < event.revision):
            read.newest[key] = event
    return read


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


async def _keep_broken(connection: Connection, record: Record, message_key: str, error: str) -> None:
    # One that an operator has dropped stays dropped when it is read again after a restart.
    await connection.execute(
        "insert into unreadable_lookups (topic, message_key, partition, record_offset, error)"
        " values (%s, %s, %s, %s, %s) on conflict (topic, message_key) do update"
        " set record_offset = excluded.record_offset, error = excluded.error, found_at = excluded.found_at,"
        " dropped_by = null where unreadable_lookups.record_offset < excluded.record_offset",
        (record.topic, message_key, record.partition, record.offset, error),
    )


async def _repaired(connection: Connection, read: _Read) -> bool:
    rows = await every(connection, "select topic, message_key, record_offset, dropped_by from unreadable_lookups")
    for row in rows:
        readable_up_to = read.readable_up_to.get((row["topic"], row["message_key"]), -1)
        if readable_up_to > row["record_offset"] or (
            readable_up_to == row["record_offset"] and row["dropped_by"] is None
        ):
            return True
    return False


async def _repair(connection: Connection, readable_up_to: Mapping[Key, int]) -> None:
    keys = list(readable_up_to)
    readable = ([topic for topic, _ in keys], [message_key for _, message_key in keys], list(readable_up_to.values()))
    # Replayed with other bytes, or read by newer code. In its topic it lies as it was, so it must be known as settled.
    await connection.execute(
        "update unreadable_lookups set dropped_by = 'read after all'"
        " from unnest(%s::text[], %s::text[], %s::bigint[]) as readable (topic, message_key, record_offset)"
        " where readable.topic = unreadable_lookups.topic and readable.message_key = unreadable_lookups.message_key"
        " and readable.record_offset = unreadable_lookups.record_offset and unreadable_lookups.dropped_by is null",
        readable,
    )
    await connection.execute(
        "delete from unreadable_lookups using unnest(%s::text[], %s::text[], %s::bigint[])"
        " as readable (topic, message_key, record_offset) where readable.topic = unreadable_lookups.topic"
        " and readable.message_key = unreadable_lookups.message_key"
        " and readable.record_offset > unreadable_lookups.record_offset",
        readable,
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

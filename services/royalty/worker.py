"""Royalty's stream: usage in, ledger transactions out, the offset moved in the same breath."""

from collections.abc import Callable, Sequence
from typing import assert_never

from services.royalty.domain import Booked, Outcome, Repeated, Sandbox, Unchanged
from services.royalty.handlers import on_usages
from services.royalty.metrics import CORRECTIONS, DUPLICATES, FENCED, POSTINGS, SANDBOX, UNCHANGED
from services.royalty.offsets import StoredOffsets
from services.royalty.store import PostgresLedger
from shared.database import Connection
from shared.events import Unreadable, UsageState, read_event
from shared.kafka import Record
from shared.kafka.batches import Patience, work_batch
from shared.kafka.consuming import Fenced
from shared.kafka.deadletters import DeadLetters
from shared.logs import get_log

log = get_log()

USUAL_PATIENCE = Patience()


class UsageWorker:
    """Works batches of usage.v1, each of one partition."""

    def __init__(
        self,
        offsets: StoredOffsets,
        dead_letters: DeadLetters,
        *,
        booked: Callable[[], None],
        patience: Patience = USUAL_PATIENCE,
    ) -> None:
        self._offsets = offsets
        self._dead_letters = PastDeadLetters(dead_letters, offsets)
        self._booked = booked
        self._patience = patience

    async def handle(self, records: Sequence[Record]) -> None:
        """Book a batch; what is at fault goes to the dead letters, and either way the offset moves with it."""
        try:
            await work_batch(records, self._book, self._dead_letters, self._patience)
        except Fenced:
            FENCED.inc()
            raise

    async def replay(self, records: Sequence[Record]) -> None:
        """Book dead letters as the stream would have, but move no offset: that is past them already."""
        async with self._offsets.unmoved() as connection:
            booked = await _book(records, connection)
        self._tell(booked)

    async def _book(self, records: Sequence[Record]) -> None:
        async with self._offsets.moved_past(records) as connection:
            # Read behind the fence: who no longer owns the partition makes no dead letters of it either.
            booked = await _book(records, connection)
        self._tell(booked)

    def _tell(self, booked: Sequence[tuple[UsageState, Outcome]]) -> None:
        for usage, outcome in booked:
            _tell(usage, outcome)
        self._booked()


class PastDeadLetters:
    """Dead letters behind which the stored offset moves too: otherwise the record came back after every restart.

    The letter goes first: a crash in between leaves it twice, never not at all.
    """

    def __init__(self, letters: DeadLetters, offsets: StoredOffsets) -> None:
        self._letters = letters
        self._offsets = offsets

    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        """Keep the record, then move past it; Fenced when another worker has done so."""
        await self._letters.keep(record, error=error, attempts=attempts)
        async with self._offsets.moved_past([record]):
            pass


async def _book(records: Sequence[Record], connection: Connection) -> list[tuple[UsageState, Outcome]]:
    usages = [_usage_in(record) for record in records]
    return list(zip(usages, await on_usages(usages, PostgresLedger(connection)), strict=True))


def _usage_in(record: Record) -> UsageState:
    event = read_event(record.topic, record.key, record.value)
    if not isinstance(event, UsageState):
        raise Unreadable(f"type: {event.type!r} is not usage")
    return event


def _tell(usage: UsageState, outcome: Outcome) -> None:
    match outcome:
        case Booked(transactions):
            for made in transactions:
                POSTINGS.labels(made.line).inc()
            if transactions[0].line == "reversal":
                CORRECTIONS.inc()
            lines = [made.line for made in transactions]
            log.info("usage_booked", use_id=usage.use_id, revision=usage.revision, lines=lines)
        case Unchanged():
            UNCHANGED.inc()
        case Repeated():
            DUPLICATES.inc()
        case Sandbox():
            SANDBOX.inc()
        case _:
            assert_never(outcome)

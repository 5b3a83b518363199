"""Alerts' loops: infringements in, webhooks out."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import psycopg
import psycopg_pool
from opentelemetry.trace import Span, SpanKind

from services.alerts.delivery import Attempt, Delivered, EndpointGone, Failed, GaveUp, Outcome, TryAgain
from services.alerts.handlers import Deliveries, Posts, Sending, Taken, deliver, on_infringement
from services.alerts.metrics import DELIVERIES, INFRINGEMENTS_TAKEN, OLDEST_PENDING, UNDER_WAY
from services.alerts.store import CaseStore
from shared.events import InfringementState, Unreadable, read_event
from shared.kafka import Record
from shared.kafka.batches import work_batch
from shared.kafka.deadletters import DeadLetters
from shared.kafka.spans import caused_by
from shared.logs import get_log
from shared.tracing import begun_after, ended

log = get_log()

DATABASE_AWAY = (psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed)
POLL_S = 0.2
MEASURE_S = 5.0
STOP_S = 12.0
OUTCOMES: dict[type[Outcome], str] = {
    Delivered: "delivered",
    TryAgain: "try_again",
    GaveUp: "gave_up",
    Failed: "failed",
    EndpointGone: "endpoint_gone",
}


class Infringements:
    """Takes batches of infringements.v1 into the cases, one transaction each."""

    def __init__(self, cases: CaseStore, dead_letters: DeadLetters, wake: Callable[[], None]) -> None:
        self._cases = cases
        self._dead_letters = dead_letters
        self._wake = wake

    async def handle(self, records: Sequence[Record]) -> None:
        """Store the effect of all of them; what cannot be read or worked becomes a dead letter."""
        await work_batch(records, self.take, self._dead_letters)

    async def take(self, records: Sequence[Record]) -> None:
        """Store what infringements say in one transaction; what it raises says why not."""
        # A tombstone says that the use is forgotten elsewhere; the case stays as the agency's own record.
        states = [_read(record) for record in records if record.value is not None]
        # In key order, so that two workers never wait for each other; equal keys keep their order.
        states.sort(key=lambda found: found.use_id)
        outcomes: list[tuple[InfringementState, Sequence[Taken]]] = []
        async with self._cases.transaction() as rows:
            for found in states:
                with caused_by(found.use_id):
                    outcomes.append((found, await on_infringement(found, rows)))
        self._wake()
        for found, taken in outcomes:
            for outcome in taken:
                INFRINGEMENTS_TAKEN.labels(outcome).inc()
                log.info("infringement_taken", use_id=found.use_id, revision=found.revision, outcome=outcome)


class Queue(Deliveries, Protocol):
    """The queue that the delivery loop works on."""

    async def claim(self, limit: int) -> Sequence[Attempt]:
        """Attempts that are due, ours for the length of a lease."""

    async def oldest_pending_s(self) -> float:
        """How long the oldest has been waiting."""


class Deliverer:
    """Makes the attempts that are due, many at a time; several of these may run, in one process or in many."""

    def __init__(self, queue: Queue, posts: Posts, sending: Sending, *, concurrency_max: int) -> None:
        self._queue = queue
        self._posts = posts
        self._sending = sending
        self._concurrency_max = concurrency_max
        self._under_way: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look at the queue now; for whoever has just committed an alert."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled, then let the attempts under way end."""
        try:
            while True:
                await self._claim_and_start()
        finally:
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=min(self._sending.deadline_s + 2, STOP_S))

    async def measure(self) -> None:
        """Keep the gauge of the oldest waiting alert right, until cancelled."""
        while True:
            with contextlib.suppress(*DATABASE_AWAY):
                OLDEST_PENDING.set(await self._queue.oldest_pending_s())
            await asyncio.sleep(MEASURE_S)

    async def _claim_and_start(self) -> None:
        self._woken.clear()
        room = self._concurrency_max - len(self._under_way)
        try:
            claimed = await self._queue.claim(room) if room > 0 else ()
        except DATABASE_AWAY as error:
            log.warning("deliveries_not_claimed", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(1.0)
            return
        for attempt in claimed:
            task = asyncio.create_task(self._make(attempt))
            self._under_way.add(task)
            task.add_done_callback(self._done)
        # Not `wait_for`: until Python 3.12 it forgets that it was cancelled when it is woken in the same turn.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._woken.wait()

    async def _make(self, attempt: Attempt) -> None:
        span = _span_of(attempt)
        try:
            with UNDER_WAY.track_inprogress(), ended(span):
                outcome = await deliver(
                    attempt,
                    self._posts,
                    self._queue,
                    self._sending,
                    now=datetime.now(UTC),
                    jitter=random.random(),  # noqa: S311 - spreads retries, keeps no secret
                )
                if span is not None:
                    span.set_attribute("twintally.outcome", OUTCOMES[type(outcome)])
        except DATABASE_AWAY as error:
            # The lease runs out and the alert is sent again, with the same webhook-id.
            log.warning("outcome_not_stored", event_id=str(attempt.event_id), error=f"{type(error).__name__}: {error}")
            return
        DELIVERIES.labels(OUTCOMES[type(outcome)]).inc()
        log.info(
            "alert_attempted",
            event_id=str(attempt.event_id),
            endpoint_id=attempt.endpoint_id,
            attempt=attempt.number,
            outcome=OUTCOMES[type(outcome)],
        )

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        # A free place, and perhaps the next alert of the same case.
        self._woken.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("attempt_failed", exc_info=task.exception())


def _span_of(attempt: Attempt) -> Span | None:
    about: dict[str, str | int] = {"twintally.endpoint_id": attempt.endpoint_id, "twintally.attempt": attempt.number}
    return begun_after(attempt.traceparent, "deliver alert", SpanKind.CLIENT, about)


def _read(record: Record) -> InfringementState:
    event = read_event(record.topic, record.key, record.value)
    if not isinstance(event, InfringementState):
        raise Unreadable(f"type: {event.type!r} is no infringement")
    return event

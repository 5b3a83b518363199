"""Judging's edges to the stream and to its own queue: decode, call the handler, count, confirm."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.judging.freshness import Freshness
from services.judging.handlers import (
    CannotJudge,
    IsFresh,
    judge_awaiting,
    judge_changed,
    judge_one,
    on_sightings,
)
from services.judging.metrics import (
    AWAITING_FRESH,
    FRESH,
    POSTPONED,
    REPEATED,
    TO_JUDGE,
    UNREADABLE,
    VERDICTS,
)
from services.judging.names import name_of
from services.judging.publishing import Conclusion
from services.judging.store import JudgingStore
from shared.events import Unreadable, UseSeen, read_event
from shared.kafka import Record
from shared.kafka.batches import work_batch
from shared.kafka.deadletters import DeadLetters
from shared.kafka.passing import PASSING_FAULTS
from shared.logs import get_log

log = get_log()

IDLE_PAUSE_S = 0.2
BACKLOG_PAUSE_S = 1.0

Judged = Callable[[], None]


class SightingsWorker:
    """Works batches of sightings.v1."""

    def __init__(self, store: JudgingStore, is_fresh: IsFresh, dead_letters: DeadLetters, *, judged: Judged) -> None:
        self._store = store
        self._is_fresh = is_fresh
        self._dead_letters = dead_letters
        self._judged = judged

    async def handle_batch(self, records: Sequence[Record]) -> None:
        """Store the batch's verdicts and its dead letters; what this raises means that neither was possible."""
        await work_batch(records, self.take, self._dead_letters)

    async def take(self, records: Sequence[Record]) -> None:
        """Store the verdicts on sightings; what it raises says why not."""
        # A tombstone says that matching has forgotten the use; the verdict on it stays.
        sightings = [_sighting(record) for record in records if record.value is not None]
        conclusions = await on_sightings(sightings, self._store, self._is_fresh)
        REPEATED.inc(len(sightings) - len(conclusions))
        _tell(conclusions, "sighting")
        self._judged()


class JudgingAgain:
    """Judges again what changed lookup data concerns, and what waited for it to be fresh."""

    def __init__(self, store: JudgingStore, is_fresh: IsFresh, *, batch_max: int, judged: Judged) -> None:
        self._store = store
        self._is_fresh = is_fresh
        self._batch_max = batch_max
        self._judged = judged

    async def run(self) -> None:
        """Judge until cancelled; faults of the database are waited out."""
        while True:
            try:
                worked = await self.once()
            except PASSING_FAULTS as error:
                log.warning("judging_again_waits", error=f"{type(error).__name__}: {error}")
                worked = 0
            if worked == 0:
                await asyncio.sleep(IDLE_PAUSE_S)

    async def once(self) -> int:
        """One batch of each kind; returns how many uses were judged."""
        changed = await self._batch(lambda: judge_changed(self._store, self._is_fresh, most=self._batch_max))
        _tell(changed, "lookup_changed")
        fresh = await self._batch(lambda: judge_awaiting(self._store, self._is_fresh, most=self._batch_max))
        _tell(fresh, "fresh")
        if changed or fresh:
            self._judged()
        return len(changed) + len(fresh)

    async def _batch(self, judge: Callable[[], Awaitable[list[Conclusion]]]) -> list[Conclusion]:
        try:
            return await judge()
        except CannotJudge as error:
            if isinstance(error.__cause__, PASSING_FAULTS):
                raise error.__cause__ from error
            log.warning("judging_again_failed", uses=len(error.use_ids), error=str(error.__cause__))
            return [conclusion for use_id in error.use_ids for conclusion in await self._one(use_id)]

    async def _one(self, use_id: str) -> list[Conclusion]:
        try:
            return await judge_one(use_id, self._store, self._is_fresh)
        except PASSING_FAULTS:
            raise
        except Exception as error:
            log.error("use_postponed", use_id=use_id, error=f"{type(error).__name__}: {error}")
            POSTPONED.inc()
            await self._store.postpone(use_id)
            return []


class Lookout:
    """Looks once a second at what waits; keeps what readiness and `/v1/freshness` tell."""

    def __init__(self, store: JudgingStore, freshness: Freshness) -> None:
        self._store = store
        self._freshness = freshness
        self.unreadable: tuple[str, ...] = ()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                backlog = await self._store.backlog()
            except PASSING_FAULTS as error:
                log.warning("backlog_unknown", error=f"{type(error).__name__}: {error}")
            else:
                self.unreadable = backlog.unreadable
                TO_JUDGE.set(backlog.changed)
                AWAITING_FRESH.set(backlog.awaiting_fresh)
                UNREADABLE.set(len(backlog.unreadable))
            FRESH.set(0 if self.problem() else 1)
            await asyncio.sleep(BACKLOG_PAUSE_S)

    def unreadable_problem(self) -> str | None:
        """Which lookup records stop all accusations; None when none does."""
        if not self.unreadable:
            return None
        names = "; ".join(self.unreadable)
        return f"unreadable lookup records stop all accusations; have them published again, or drop them: {names}"

    def problem(self) -> str | None:
        """Why nobody may be accused now; None when the data is fresh."""
        return self.unreadable_problem() or self._freshness.problem()


def _sighting(record: Record) -> UseSeen:
    event = read_event(record.topic, record.key, record.value)
    if not isinstance(event, UseSeen):
        raise Unreadable(f"type: {event.type} is no sighting")
    return event


def _tell(conclusions: Sequence[Conclusion], occasion: str) -> None:
    for conclusion in conclusions:
        verdict = name_of(conclusion.verdict)
        VERDICTS.labels(verdict, occasion).inc()
        log.info(
            "use_judged",
            use_id=conclusion.use_id,
            verdict=verdict,
            failed=[reason.dimension for reason in conclusion.verdict.reasons],
            occasion=occasion,
            awaiting_fresh=conclusion.awaiting_fresh,
        )

"""One function per message, attempt and request: load, decide, store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from services.alerts.delivery import (
    PAUSES_S,
    Answer,
    Attempt,
    NotAllowed,
    NotReached,
    Outcome,
    StatusTold,
    headers_of,
    outcome_of,
)
from services.alerts.domain import AlertKind, Case, News, Step, acknowledged, fold
from shared.events import InfringementState
from shared.safe_http import Answered, Refused, Unreachable


class Cases(Protocol):
    """The cases, inside one transaction."""

    async def locked(self, use_id: str) -> Case | None:
        """The case of a use; nobody else changes it until the transaction ends, even when there is none yet."""

    async def keep(self, case: Case) -> None:
        """Store it."""

    async def step(self, found: InfringementState, step: Step) -> None:
        """Write down who did what, when and why."""

    async def tell(self, news: News) -> None:
        """Store the alert, with a delivery to each active endpoint of its agency unless it waits for a digest."""


class Posts(Protocol):
    """Sends webhooks to agencies."""

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, deadline_s: float, answer_bytes_max: int
    ) -> Answered:
        """The answer; raises Refused or Unreachable."""


class Deliveries(Protocol):
    """What waits to be delivered."""

    async def finish(self, attempt: Attempt, outcome: Outcome) -> None:
        """Store what became of an attempt."""


@dataclass(frozen=True)
class Sending:
    """How an attempt is made."""

    deadline_s: float = 10.0
    pauses_s: Sequence[float] = PAUSES_S
    answer_bytes_max: int = 4096


STREAM = "judging"
Taken = AlertKind | Literal["known", "quiet"]
Acknowledgement = Literal["acknowledged", "not_open", "no_such_case"]


async def on_infringement(found: InfringementState, cases: Cases) -> Sequence[Taken]:
    """Bring the case of a use up to this state; returns what the agency hears of it."""
    folded = fold(await cases.locked(found.use_id), found)
    if folded is None:
        return ("known",)
    await cases.keep(folded.case)
    for news in folded.news:
        await cases.tell(news)
        why = "; ".join(reason.text for reason in news.infringement.reasons)
        await cases.step(news.infringement, Step(news.kind, found.occurred_at, STREAM, why))
    return tuple(news.kind for news in folded.news) or ("quiet",)


async def acknowledge(use_id: str, cases: Cases, *, by: str, why: str, now: datetime) -> Acknowledgement:
    """A person takes the case in hand; doing it twice is the same as once."""
    case = await cases.locked(use_id)
    if case is None:
        return "no_such_case"
    after = acknowledged(case)
    if after is None:
        return "not_open"
    if after != case:
        await cases.keep(after)
        await cases.step(after.infringement, Step("acknowledged", now, by, why))
    return "acknowledged"


async def deliver(
    attempt: Attempt, posts: Posts, deliveries: Deliveries, sending: Sending, *, now: datetime, jitter: float
) -> Outcome:
    """Make one attempt and store its outcome. Nothing is locked while the endpoint thinks."""
    answer = await _ask(attempt, posts, sending, now)
    outcome = outcome_of(answer, attempt=attempt.number, jitter=jitter, pauses_s=sending.pauses_s)
    await deliveries.finish(attempt, outcome)
    return outcome


async def _ask(attempt: Attempt, posts: Posts, sending: Sending, now: datetime) -> Answer:
    try:
        answered = await posts.post(
            attempt.url,
            attempt.body.encode(),
            headers_of(attempt, now),
            deadline_s=sending.deadline_s,
            answer_bytes_max=sending.answer_bytes_max,
        )
    except Refused as refused:
        return NotAllowed(str(refused))
    except Unreachable as unreachable:
        return NotReached(str(unreachable), unreachable.status)
    return StatusTold(answered.status)

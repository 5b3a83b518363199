"""What a webhook says, and what intake answers: parsing of posts, doubtful times, outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from shared.events import PostFact

FUTURE_TOLERANCE = timedelta(minutes=5)
LATE_WITHOUT_BACKFILL = timedelta(days=7)


@dataclass(frozen=True)
class Webhook:
    """A request as it came."""

    platform: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


@dataclass(frozen=True)
class Refused:
    """An item that is not a post fact; each problem names its field."""

    problems: tuple[str, ...]


@dataclass(frozen=True)
class Malformed:
    """A body that cannot be read at all."""

    problem: str


Item = PostFact | Refused


@dataclass(frozen=True)
class Parsed:
    """What a body says: an item per event in their order, and the images that the valid ones upload, by SHA-256."""

    items: Sequence[Item]
    uploads: Mapping[str, bytes]


class Outcome(Enum):
    """What became of one item."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    INVALID = "invalid"
    NOT_SENT = "not_sent"


@dataclass(frozen=True)
class ItemResult:
    """The answer for one item of a webhook, in the order in which they came."""

    outcome: Outcome
    event_id: str | None = None
    problems: tuple[str, ...] = ()


def with_doubt(fact: PostFact, received_at: datetime) -> PostFact:
    """The fact, flagged when its time cannot be trusted: in the future, or long ago without `backfill`."""
    future = fact.occurred_at > received_at + FUTURE_TOLERANCE
    long_ago = not fact.backfill and fact.occurred_at < received_at - LATE_WITHOUT_BACKFILL
    return fact.model_copy(update={"time_doubtful": True}) if future or long_ago else fact


def status_of(results: Sequence[ItemResult]) -> int:
    """202 when any item was accepted or all are known, 503 when what is new was not sent, 422 when none was valid.

    An item that was valid but not sent beside accepted ones stands in the answer; the platform sends it again.
    """
    outcomes = {result.outcome for result in results}
    if Outcome.ACCEPTED in outcomes:
        return 202
    if Outcome.NOT_SENT in outcomes:
        return 503
    return 202 if Outcome.DUPLICATE in outcomes else 422

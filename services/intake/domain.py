"""What a webhook says, and what intake answers: parsing of posts, doubtful times, outcomes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from shared.events import PostFact
from shared.tracing import carried

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


@dataclass(frozen=True)
class Marked:
    """A fact, what it is remembered by, and the trace that it is part of."""

    fact: PostFact
    event_id: str
    mark: str
    traceparent: str | None = None

    @classmethod
    def of(cls, fact: PostFact) -> "Marked":
        """Of a fact that was read."""
        event_id = str(fact.event_id())
        # The same fact with `backfill` and without are one fact, but the second copy still tells whether it is live.
        return cls(fact, event_id, f"{event_id}:backfill" if fact.backfill else event_id, carried())


@dataclass(frozen=True)
class Delivery:
    """A verified webhook that was read: an item per event in their order, and its images by SHA-256."""

    webhook: Webhook
    secret_id: str
    items: Sequence[Marked | Refused]
    uploads: Mapping[str, bytes]

    def facts(self) -> Iterator[Marked]:
        """The items that are facts."""
        return (item for item in self.items if isinstance(item, Marked))


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

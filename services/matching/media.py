"""What became of one media item, and when to try a failed fetch again."""

from dataclasses import dataclass
from datetime import timedelta

from services.matching.additions import Moment
from services.matching.domain import Seen
from shared.events import Disclosure

REASON_CHARACTERS_MAX = 500
RETRY_AFTER = (
    timedelta(seconds=2),
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=3),
)


@dataclass(frozen=True, order=True)
class ItemAt:
    """A media item by its place: the fact that carries it, and its number there from 0."""

    event_id: str
    number: int


@dataclass(frozen=True)
class Query:
    """What is kept of a search for references that come later.

    fingerprint: of the image; knew: what the index knew; disclosure: what the file said of its origin.
    """

    fingerprint: bytes
    knew: Moment
    disclosure: Disclosure | None = None


@dataclass(frozen=True)
class Searched:
    """The image was read and searched; `seen` is empty when it shows no registered twin.

    query: None when nothing is kept of it.
    """

    digest: str
    seen: tuple[Seen, ...]
    query: Query | None = None


@dataclass(frozen=True)
class Unusable:
    """There will never be a picture here: `undecodable` or `unfetchable`, and why."""

    outcome: str
    reason: str


@dataclass(frozen=True)
class Later:
    """The host did not answer in time; worth another try. `asked` is false when nobody asked it: no attempt spent."""

    reason: str
    asked: bool = True


MediaOutcome = Searched | Unusable | Later


def storable(reason: str) -> str:
    """A reason as a text of PostgreSQL can hold it, shortened."""
    return reason.encode("utf-8", "replace").decode().replace("\0", "")[:REASON_CHARACTERS_MAX]


def disclosure_of(stored: object) -> Disclosure | None:
    """What a file disclosed, from the JSON that is kept of it; None when the file was not asked."""
    return None if stored is None else Disclosure.model_validate(stored)


def next_try(attempts: int, attempts_max: int) -> timedelta | None:
    """How long to wait after so many failed attempts; None when it was the last."""
    if attempts >= attempts_max:
        return None
    return RETRY_AFTER[min(max(attempts, 1), len(RETRY_AFTER)) - 1]

"""What a case is, and what makes an agency hear of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from shared.events import InfringementState, Reason
from shared.ids import derived_id
from shared.values import Value

CaseStatus = Literal["open", "acknowledged", "held", "withdrawn"]
AlertKind = Literal["opened", "changed", "withdrawn"]


class Told(Value):
    """What the agency of a case knows: the last alert, and every media item that an alert has named.

    `digested`: it was only kept for a digest, so of what is told live the agency has not heard.
    """

    kind: AlertKind
    verdict: str
    reasons: tuple[Reason, ...]
    media_digests: tuple[str, ...]
    digested: bool = False


@dataclass(frozen=True)
class Case:
    """One infringement as an agency works on it. `sequence` counts its alerts."""

    infringement: InfringementState
    status: CaseStatus
    sequence: int
    opened_at: datetime
    told: Told | None = None


@dataclass(frozen=True)
class Step:
    """One line of a case's history."""

    kind: str
    happened_at: datetime
    done_by: str
    why: str


@dataclass(frozen=True)
class News:
    """Something that an agency has to hear: the sequence-th alert of the case."""

    kind: AlertKind
    sequence: int
    infringement: InfringementState

    @property
    def event_id(self) -> UUID:
        """Stable: the same alert has this id at every attempt and every replay."""
        return derived_id("alert", self.infringement.use_id, self.sequence)

    @property
    def digested(self) -> bool:
        """Not sent now, kept for a digest: what was filled in from the past must not storm."""
        return self.infringement.backfill


@dataclass(frozen=True)
class Folded:
    """A case after an infringement state, with what is to be told."""

    case: Case
    news: tuple[News, ...]


def fold(known: Case | None, now: InfringementState) -> Folded | None:
    """The case with this state taken in; None when it knows this revision or a higher one.

    An alert follows from the difference to what the agency was told, not to the last state: a hold in between, or
    a state that compaction took away, changes nothing in what the agency has to hear.
    """
    if known is None:
        return _with_news(Case(now, _status(None, now), 0, now.occurred_at), now)
    if now.revision <= known.infringement.revision:
        return None
    if now.agency_id != known.infringement.agency_id:
        return _moved(known, now)
    return _with_news(known, now)


def acknowledged(case: Case) -> Case | None:
    """The case in the hands of a person; None when it is not open (an acknowledged one stays as it is)."""
    if case.status == "acknowledged":
        return case
    return replace(case, status="acknowledged") if case.status == "open" else None


def _with_news(case: Case, now: InfringementState) -> Folded:
    kind = _kind_of_news(case.told, now)
    status = _status(None if kind else case.status, now)
    after = replace(case, infringement=now, status=status)
    if kind is None:
        return Folded(after, ())
    sequence = case.sequence + 1
    news = News(kind, sequence, now)
    return Folded(replace(after, sequence=sequence, told=_told(case.told, news)), (news,))


def _moved(known: Case, now: InfringementState) -> Folded:
    """Another agency represents the talent: the old one hears that its case is over, the new one of its own."""
    farewell: tuple[News, ...] = ()
    if known.told is not None and known.told.kind != "withdrawn":
        farewell = (News("withdrawn", known.sequence + 1, known.infringement),)
    fresh = Case(now, _status(None, now), known.sequence + len(farewell), now.occurred_at)
    folded = _with_news(fresh, now)
    return Folded(folded.case, (*farewell, *folded.news))


def _kind_of_news(told: Told | None, now: InfringementState) -> AlertKind | None:
    is_told_open = told is not None and told.kind != "withdrawn"
    match now.status:
        case "held":
            return None
        case "withdrawn":
            return "withdrawn" if is_told_open else None
        case "open":
            # What turned out to be live is told now, as if its first state had said so.
            if told is None or not is_told_open or (told.digested and not now.backfill):
                return "opened"
            return "changed" if _differs(told, now) else None


def _differs(told: Told, now: InfringementState) -> bool:
    """Materially: another verdict, other reasons, or a media item that no alert has named yet."""
    return (
        told.verdict != now.verdict
        or set(told.reasons) != set(now.reasons)
        or not set(_media(now)) <= set(told.media_digests)
    )


def _told(before: Told | None, news: News) -> Told:
    now = news.infringement
    named = {*(before.media_digests if before else ()), *_media(now)}
    return Told(
        kind=news.kind,
        verdict=now.verdict,
        reasons=now.reasons,
        media_digests=tuple(sorted(named)),
        digested=news.digested,
    )


def _status(worked_on: CaseStatus | None, now: InfringementState) -> CaseStatus:
    # What a person has acknowledged stays so until there is news: then a person has to look again.
    return "acknowledged" if now.status == "open" and worked_on == "acknowledged" else now.status


def _media(now: InfringementState) -> Iterator[str]:
    return (sighting.media_digest for sighting in now.sightings)

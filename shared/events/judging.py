"""usage.v1 and infringements.v1: what judging concludes of a use."""

from typing import ClassVar, Literal

from pydantic import Field

from shared.events.base import StateEvent
from shared.events.posts import Reading
from shared.events.registry import RateCard, Split
from shared.events.sightings import Sighting
from shared.events.topics import INFRINGEMENTS, USAGE, Topic
from shared.values import Id, Platform, UtcDatetime, Value

Dimension = Literal["license", "consent", "account", "platform", "territory", "term"]


class UsageState(StateEvent):
    """The billable record of a licensed use; ids only, for it is kept for ever."""

    topic: ClassVar[Topic] = USAGE
    type = "com.twintally.usage.v1"

    use_id: Id
    status: Literal["active", "void"] = "active"
    platform: Platform
    post_id: Id
    twin_id: Id
    talent_id: Id
    agency_id: Id
    brand_id: Id
    license_id: Id
    license_version: int = Field(ge=1)
    rate_card: RateCard = Field(description="by value, from the license version: the ledger needs no other topic")
    split: Split
    started_at: UtcDatetime
    ended_at: UtcDatetime | None = None
    readings: tuple[Reading, ...] = ()

    def message_key(self) -> str:
        """`use_id`."""
        return self.use_id


class Reason(Value):
    """One dimension in which a use fails."""

    dimension: Dimension
    text: str = Field(description="for people: what was found, what the license says")
    media_digest: str | None = Field(default=None, description="the media item concerned, where it is one")


class InfringementState(StateEvent):
    """A use that no license covers, or that exceeds one."""

    topic: ClassVar[Topic] = INFRINGEMENTS
    type = "com.twintally.infringement.v1"

    use_id: Id
    status: Literal["open", "held", "withdrawn"] = "open"
    verdict: Literal["unlicensed", "out_of_scope"]
    reasons: tuple[Reason, ...]
    platform: Platform
    post_id: Id
    account: str
    twin_id: Id
    talent_id: Id
    agency_id: Id
    brand_id: Id | None = None
    license_id: Id | None = None
    license_version: int | None = None
    backfill: bool = False
    started_at: UtcDatetime
    ended_at: UtcDatetime | None = None
    sightings: tuple[Sighting, ...]

    def message_key(self) -> str:
        """`use_id`."""
        return self.use_id

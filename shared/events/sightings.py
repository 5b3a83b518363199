"""sightings.v1: everything known of one twin in one post."""

from typing import ClassVar, Literal

from pydantic import Field

from shared.events.base import StateEvent
from shared.events.posts import Account, MediaUse, Reading
from shared.events.topics import SIGHTINGS, Topic
from shared.values import Digest, Id, Platform, Territory, UtcDatetime, Value

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


class Disclosure(Value):
    """What an image file says of its own origin. Nothing that it names was fetched."""

    c2pa: Literal["trusted", "valid", "absent", "broken"] = Field(
        description="Content Credentials in the file; `valid`: signed soundly, by somebody whom no trust list names"
    )
    c2pa_source_type: str | None = Field(default=None, description="digitalSourceType of the manifest's actions")
    xmp_source_type: str | None = Field(default=None, description="IPTC's DigitalSourceType, from XMP")


class Sighting(Value):
    """A reference recognised in one media item of a post."""

    sighting_id: Id
    reference_id: Id
    media_digest: Digest
    media_url: str | None = Field(description="where the image was published; null: it was uploaded")
    score: float = Field(ge=0, le=1)
    region: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1 in pixels of the published image")
    transform: Matrix = Field(description="reference pixels to pixels of the published image")
    description: str = Field(description="the transform in words")
    algorithm: str
    disclosure: Disclosure | None = Field(default=None, description="null: the file was not asked")
    platform_label: bool | None = Field(default=None, description="`ai_label_shown` of this version; null: not told")
    covered_share: float | None = Field(
        default=None, ge=0, le=1, description="of what is visible, the share that shows something else; null: not told"
    )


class VersionSeen(Value):
    """One version of the post that shows the twin, with what it said about itself."""

    event_id: Id
    shown_from: UtcDatetime
    shown_until: UtcDatetime | None = None
    account: Account
    partner_accounts: tuple[Account, ...] = ()
    paid_partnership: bool = False
    territories: tuple[Territory, ...] = ()
    media_use: MediaUse = "organic"
    product_category: str | None = None
    ai_label_shown: bool | None = None
    reposts: Id | None = None
    sightings: tuple[Sighting, ...]


class UseSeen(StateEvent):
    """One twin in one post: the versions that show it, their sightings, and all readings."""

    topic: ClassVar[Topic] = SIGHTINGS
    type = "com.twintally.use.seen.v1"

    use_id: Id
    platform: Platform
    post_id: Id
    twin_id: Id
    backfill: bool = False
    time_doubtful: bool = False
    versions: tuple[VersionSeen, ...] = Field(min_length=1, description="sorted by shown_from")
    started_at: UtcDatetime
    ended_at: UtcDatetime | None = Field(default=None, description="null while shown")
    readings: tuple[Reading, ...] = Field(default=(), description="whole and sorted by measured_at")

    def message_key(self) -> str:
        """`use_id`."""
        return self.use_id

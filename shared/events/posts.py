"""posts.v1: facts about posts, as the platforms told them."""

from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from shared.events.base import ATTRIBUTES, FactEvent, content_digest
from shared.events.topics import POSTS
from shared.ids import derived_id
from shared.values import Id, Platform, Territory, UtcDatetime, Value

COUNT_MAX = 2**63 - 1
MEDIA_MAX = 20

MediaUse = Literal["organic", "paid", "story"]
Account = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="the platform's id of a social account",
    ),
]


Address = Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\x00-\x20\x7f]+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class MediaItem(Value):
    """One picture of a post: at an address, or uploaded; never both, never neither."""

    url: Address | None = Field(default=None, description="where the platform serves the image; null: it was uploaded")
    upload_sha256: Sha256 | None = Field(
        default=None, description="the SHA-256 of the uploaded image, in hexadecimal; null: it has an address"
    )

    @model_validator(mode="after")
    def _is_one_picture(self) -> Self:
        if (self.url is None) == (self.upload_sha256 is None):
            raise ValueError("needs exactly one of url and upload_sha256")
        return self


class PostContent(Value):
    """A post as one of its versions shows it."""

    account: Account
    partner_accounts: tuple[Account, ...] = Field(default=(), max_length=20)
    paid_partnership: bool = False
    territories: tuple[Territory, ...] = Field(
        default=(), max_length=300, description="where it is shown; empty: not known"
    )
    media_use: MediaUse = "organic"
    product_category: str | None = Field(default=None, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
    ai_label_shown: bool | None = Field(default=None, description="null: the platform does not say")
    reposts: Id | None = Field(default=None, description="the post of the same platform that this one reposts")
    media: tuple[MediaItem, ...] = Field(min_length=1, max_length=MEDIA_MAX)


class PostFact(FactEvent):
    """A fact about one post."""

    topic = POSTS
    # What intake noted about its own receipt: a late repeat is the same fact.
    not_content = ATTRIBUTES | {"time_doubtful", "backfill"}

    platform: Platform
    post_id: Id
    time_doubtful: bool = Field(
        default=False, description="its time lies in the future, or far in the past without backfill"
    )
    backfill: bool = Field(default=False, description="judged and billed, alerts only digested")

    def message_key(self) -> str:
        """`platform:post_id`."""
        return f"{self.platform}:{self.post_id}"

    def event_id(self) -> UUID:
        """`[platform, post, kind, occurred_at, digest of content, livemode]`."""
        moment = self.occurred_at.isoformat()
        return derived_id(self.platform, self.post_id, self.kind, moment, content_digest(self.content()), self.livemode)


class PostPublished(PostFact):
    """A post appeared."""

    kind: ClassVar = "published"
    type = "com.twintally.post.published.v1"
    post: PostContent


class PostEdited(PostFact):
    """A post changed; the event carries the whole post as it is now."""

    kind: ClassVar = "edited"
    type = "com.twintally.post.edited.v1"
    post: PostContent


class PostDeleted(PostFact):
    """A post is gone."""

    kind: ClassVar = "deleted"
    type = "com.twintally.post.deleted.v1"


class PostMeasured(PostFact):
    """The platform counted a post's impressions."""

    kind: ClassVar = "measured"
    type = "com.twintally.post.measured.v1"
    impressions: int = Field(ge=0, le=COUNT_MAX, description="cumulative, up to occurred_at")


class Reading(Value):
    """A measured fact as it travels in states."""

    measured_at: UtcDatetime
    impressions: int = Field(ge=0, le=COUNT_MAX)

"""The `generic` adapter: our own post schema, single or batch."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal, assert_never

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from services.intake.domain import Item, Malformed, Refused, with_doubt
from shared.events import PostContent, PostDeleted, PostEdited, PostFact, PostMeasured, PostPublished, problems_of
from shared.values import Id, UtcDatetime, Value

ITEMS_MAX = 500


class _Told(Value):
    # A platform learns of a misspelt field at once, instead of wondering where it went.
    model_config = ConfigDict(extra="forbid")

    post_id: Id
    occurred_at: UtcDatetime
    backfill: bool = False


class Published(_Told):
    """A post appeared."""

    type: Literal["post.published"]
    post: PostContent


class Edited(_Told):
    """A post changed; `post` is the whole post as it is now."""

    type: Literal["post.edited"]
    post: PostContent


class Deleted(_Told):
    """A post is gone."""

    type: Literal["post.deleted"]


class Measured(_Told):
    """A post's impressions, cumulative up to `occurred_at`."""

    type: Literal["post.measured"]
    impressions: int = Field(ge=0, le=2**63 - 1)


Told = Published | Edited | Deleted | Measured
_READER: TypeAdapter[Told] = TypeAdapter(Annotated[Told, Field(discriminator="type")])


def parse(body: bytes, *, platform: str, livemode: bool, received_at: datetime) -> list[Item] | Malformed:
    """The facts of a webhook body: one object, or `{"items": [...]}` with up to 500 of them."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        return Malformed(f"the body is not JSON: {error}")
    if not isinstance(told, dict):
        return Malformed('the body must be a JSON object: one event, or {"items": [...]}')
    items = told.get("items", [told])
    if not isinstance(items, list) or not 1 <= len(items) <= ITEMS_MAX:
        return Malformed(f"items: must be a list of 1 to {ITEMS_MAX} events")
    return [_item(item, platform=platform, livemode=livemode, received_at=received_at) for item in items]


def _item(told: Any, *, platform: str, livemode: bool, received_at: datetime) -> Item:
    try:
        read = _READER.validate_json(json.dumps(told), strict=False)
    except ValidationError as error:
        return Refused(tuple(problems_of(error)))
    except RecursionError:
        return Refused(("item: nested too deeply",))
    return with_doubt(_fact(read, platform=platform, livemode=livemode), received_at)


def _fact(told: Told, *, platform: str, livemode: bool) -> PostFact:
    common: dict[str, Any] = {
        "platform": platform,
        "livemode": livemode,
        "post_id": told.post_id,
        "occurred_at": told.occurred_at,
        "backfill": told.backfill,
    }
    match told:
        case Published():
            return PostPublished(post=told.post, **common)
        case Edited():
            return PostEdited(post=told.post, **common)
        case Deleted():
            return PostDeleted(**common)
        case Measured():
            return PostMeasured(impressions=told.impressions, **common)
        case _:
            assert_never(told)

"""The `generic` adapter: our own post schema, single or batch."""

import json
from typing import Annotated, Any, Literal, assert_never

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from services.intake.domain import Item, Malformed, Parsed, Refused, Webhook, with_doubt
from services.intake.uploads import unpack
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


def parse(webhook: Webhook, *, livemode: bool, upload_bytes_max: int) -> Parsed | Malformed:
    """The facts of a webhook's body: one object, or `{"items": [...]}` with up to 500 of them.

    JSON that is neither is read as one refused item.
    """
    try:
        told = json.loads(webhook.body)
    except (ValueError, RecursionError) as error:
        return Malformed(f"the body is not JSON: {error}")
    items = _items(told)
    if isinstance(items, Refused):
        return Parsed([items], {})
    read: list[Item] = []
    uploads: dict[str, bytes] = {}
    for item in items:
        unpacked = unpack(item, upload_bytes_max)
        known = _read(unpacked.told)
        problems = (*unpacked.problems, *(known.problems if isinstance(known, Refused) else ()))
        if isinstance(known, Refused) or problems:
            read.append(Refused(problems))
            continue
        uploads |= unpacked.uploads
        read.append(with_doubt(_fact(known, platform=webhook.platform, livemode=livemode), webhook.received_at))
    return Parsed(read, uploads)


def _items(told: Any) -> list[Any] | Refused:
    if not isinstance(told, dict):
        return Refused((f'body: must be a JSON object, one event or {{"items": [...]}}; got {_form(told)}',))
    items = told.get("items", [told])
    if not isinstance(items, list) or not 1 <= len(items) <= ITEMS_MAX:
        return Refused((f"items: must be a list of 1 to {ITEMS_MAX} events; got {_form(items)}",))
    return items


def _form(told: Any) -> str:
    match told:
        case list():
            return f"a list of {len(told)}"
        case dict():
            return "an object"
        case str():
            return "a string"
        case None:
            return "null"
        case bool():
            return "true or false"
        case _:
            return "a number"


def _read(told: Any) -> Told | Refused:
    try:
        return _READER.validate_json(json.dumps(told), strict=False)
    except ValidationError as error:
        return Refused(tuple(problems_of(error)))
    except RecursionError:
        return Refused(("item: nested too deeply",))


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

"""What requests read: uses and verdicts, each caller its own."""

from datetime import datetime
from typing import Literal

from psycopg.rows import DictRow
from pydantic import AwareDatetime, BaseModel

from services.judging.names import VerdictName
from shared.access import Caller
from shared.database import Database, every, one
from shared.events import Reason


class UseView(BaseModel):
    """A use and what is concluded of it; without a verdict while lookup data is not fresh enough to accuse."""

    use_id: str
    twin_id: str
    platform: str
    post_id: str
    account: str
    started_at: AwareDatetime
    ended_at: AwareDatetime | None
    verdict: VerdictName | None
    awaiting_fresh: bool
    reasons: list[Reason]
    license_id: str | None
    license_version: int | None
    agency_id: str | None
    talent_id: str | None
    brand_id: str | None
    judged_at: AwareDatetime


class VerdictThen(BaseModel):
    """A verdict as it was judged, with the revisions of the lookup records that were known."""

    judged_at: AwareDatetime
    seen_revision: int
    verdict: VerdictName
    reasons: list[Reason]
    license_id: str | None
    license_version: int | None
    known: dict[str, int]


class UseDetail(UseView):
    """A use with every verdict on it, oldest first, and what stands published of it; null: never."""

    seen_revision: int
    usage: Literal["active", "void"] | None
    infringement: Literal["open", "held", "withdrawn"] | None
    history: list[VerdictThen]


class UnreadableLookup(BaseModel):
    """A lookup record that stops all accusations."""

    topic: str
    message_key: str
    partition: int
    offset: int
    error: str
    found_at: AwareDatetime


class UseViews:
    """The API role's view: row-level security shows each caller its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def use(self, caller: Caller, use_id: str) -> UseDetail | None:
        """One use; None when it is not the caller's."""
        async with self._database.transaction(caller) as connection:
            row = await one(connection, f"{_USES} and use_id = %(use_id)s", _asked(caller, use_id=use_id))
            # A withheld accusation stays withheld, also when it is history.
            then = await every(
                connection,
                "select * from verdict_history where use_id = %s and not awaiting_fresh order by position",
                (use_id,),
            )
        if row is None:
            return None
        history = [VerdictThen.model_validate(each) for each in then]
        return UseDetail(
            **dict(_view(row)),
            seen_revision=row["seen_revision"],
            usage=row["usage"]["status"] if row["usage"] else None,
            infringement=row["infringement"]["status"] if row["infringement"] else None,
            history=history,
        )

    async def uses(
        self,
        caller: Caller,
        *,
        twin_id: str | None,
        post: tuple[str, str] | None,
        verdict: VerdictName | None,
        limit: int,
        after: str | None,
    ) -> list[UseView]:
        """Uses by their id, after one of them; `post` is a platform and its post id."""
        platform, post_id = post or (None, None)
        asked = _asked(
            caller,
            twin_id=twin_id,
            platform=platform,
            post_id=post_id,
            verdict=verdict,
            limit=limit,
            after=after,
        )
        async with self._database.transaction(caller) as connection:
            rows = await every(connection, f"{_USES} {_ASKED}", asked)
        return [_view(row) for row in rows]

    async def unreadable(self, caller: Caller) -> list[UnreadableLookup]:
        """The lookup records that stop all accusations; the operator alone sees them."""
        async with self._database.transaction(caller) as connection:
            rows = await every(
                connection,
                "select topic, message_key, partition, record_offset as offset, error, found_at"
                " from unreadable_lookups where dropped_by is null order by topic, message_key",
            )
        return [UnreadableLookup.model_validate(row) for row in rows]

    async def drop_unreadable(self, caller: Caller, *, topic: str, message_key: str, offset: int | None) -> bool:
        """Go on without a record; False when there is none of that name (at that offset)."""
        async with self._database.transaction(caller) as connection:
            row = await one(
                connection,
                "update unreadable_lookups set dropped_by = %s"
                " where topic = %s and message_key = %s and record_offset = coalesce(%s, record_offset)"
                " and dropped_by is null returning topic",
                (caller.api_key_id, topic, message_key, offset),
            )
        return row is not None


_USES = "select * from uses where verdict is not null and livemode = %(livemode)s"

_ASKED = """
and (%(twin_id)s::text is null or twin_id = %(twin_id)s)
and (%(post_id)s::text is null or (seen ->> 'platform' = %(platform)s and seen ->> 'post_id' = %(post_id)s))
and (%(verdict)s::text is null or (verdict = %(verdict)s and not awaiting_fresh))
and (%(after)s::text is null or use_id > %(after)s)
order by use_id limit %(limit)s
"""


def _asked(caller: Caller, **asked: object) -> dict[str, object]:
    return {"livemode": caller.livemode, **asked}


def _view(row: DictRow) -> UseView:
    seen, withheld = row["seen"], row["awaiting_fresh"]
    judged_at: datetime = row["judged_at"]
    return UseView(
        use_id=row["use_id"],
        twin_id=row["twin_id"],
        platform=seen["platform"],
        post_id=seen["post_id"],
        account=seen["versions"][0]["account"],
        started_at=seen["started_at"],
        ended_at=seen["ended_at"],
        verdict=None if withheld else row["verdict"],
        awaiting_fresh=withheld,
        reasons=[] if withheld else row["reasons"],
        license_id=None if withheld else row["license_id"],
        license_version=None if withheld else row["license_version"],
        agency_id=row["agency_id"],
        talent_id=row["talent_id"],
        brand_id=row["brand_id"],
        judged_at=judged_at,
    )

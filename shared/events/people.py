"""cases.v1 and allowances.v1: what people decided."""

from typing import ClassVar, Literal

from pydantic import Field

from shared.events.base import StateEvent
from shared.events.topics import ALLOWANCES, CASES, Topic
from shared.values import Digest, Id, UtcDatetime, Value


class Decision(Value):
    """What a person decided about a use, bound to what the person saw."""

    decision_id: Id
    kind: Literal["not_our_twin", "permitted", "settled", "hold", "released", "rejected"]
    decided_at: UtcDatetime
    decided_by: Id
    media_digests: tuple[Digest, ...]
    reference_ids: tuple[Id, ...]


class CaseState(StateEvent):
    """The decisions of people on one use; never an automatic step."""

    topic: ClassVar[Topic] = CASES
    type = "com.twintally.case.v1"

    use_id: Id
    agency_id: Id
    decisions: tuple[Decision, ...] = ()

    def message_key(self) -> str:
        """`use_id`."""
        return self.use_id


class AllowanceState(StateEvent):
    """An image against a reference, or an account, that an agency allows."""

    topic: ClassVar[Topic] = ALLOWANCES
    type = "com.twintally.allowance.v1"

    allowance_id: Id
    agency_id: Id
    status: Literal["active", "withdrawn"] = "active"
    twin_id: Id
    media_digest: Digest | None = None
    reference_id: Id | None = None
    platform: str | None = None
    account: str | None = None
    expires_at: UtcDatetime | None = Field(default=None, description="null: until withdrawn")

    def message_key(self) -> str:
        """`allowance_id`."""
        return self.allowance_id

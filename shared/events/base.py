"""What all events share: an id derived from their cause, and their form as CloudEvents 1.0 in structured JSON."""

import base64
import json
from datetime import datetime
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import Field, ValidationError

from shared.events.topics import Topic
from shared.ids import canonical_json, derived_id, digest_of
from shared.values import UtcDatetime, Value

# These fields of an event are attributes of its CloudEvent, not part of `data`.
ATTRIBUTES = frozenset({"livemode", "occurred_at", "revision"})
# What an integer column holds: a larger one would fail in every consumer's store instead of at its door.
REVISION_MAX = 2**31 - 1


class Unreadable(ValueError):  # noqa: N818 - it names the state of a record, and is caught by that name
    """A record that no consumer can read: its bytes, its form, or its key are wrong."""


class Event(Value):
    """A fact or a state that one service tells the others."""

    topic: ClassVar[Topic]
    type: ClassVar[str]

    livemode: bool = True
    occurred_at: UtcDatetime = Field(description="derived from the facts, never a clock of the publisher")

    def message_key(self) -> str:
        """What Kafka partitions and compacts by."""
        raise NotImplementedError

    def event_id(self) -> UUID:
        """The id derived from the cause of the event."""
        raise NotImplementedError

    def encode(self, *, event_id: str | None = None) -> bytes:
        """The CloudEvent in structured JSON, UTF-8; the same event always gives the same bytes.

        `event_id`: its id, from a caller who has derived it already.
        """
        envelope: dict[str, Any] = {
            "specversion": "1.0",
            "id": event_id or str(self.event_id()),
            "source": f"/twintally/{self.topic.owner.replace(' ', '-')}",
            "type": self.type,
            "subject": self.message_key(),
            "datacontenttype": "application/json",
            "time": _rfc3339(self.occurred_at),
            "livemode": self.livemode,
            "data": self.model_dump(mode="json", exclude=set(ATTRIBUTES)),
        }
        if isinstance(self, StateEvent):
            envelope["revision"] = self.revision
        return canonical_json(envelope).encode()

    @classmethod
    def from_envelope(cls, envelope: dict[str, Any]) -> Self:
        """The event of a decoded CloudEvent; Unreadable names each field that is wrong."""
        data = envelope.get("data")
        if not isinstance(data, dict):
            raise Unreadable("data: must be a JSON object")
        fields = {**data, "livemode": envelope.get("livemode", True), "occurred_at": envelope.get("time")}
        if "revision" in envelope:
            fields["revision"] = envelope["revision"]
        try:
            return cls.model_validate_json(json.dumps(fields))
        except ValidationError as error:
            raise Unreadable("; ".join(problems_of(error))) from error


class FactEvent(Event):
    """Something that happened; repeated word for word it is the same event."""

    kind: ClassVar[str]
    not_content: ClassVar[frozenset[str]] = ATTRIBUTES

    def content(self) -> dict[str, Any]:
        """What tells this fact from another of its kind and time; defaults are left out: new fields keep old ids."""
        return self.model_dump(mode="json", exclude=set(self.not_content), exclude_defaults=True)


class StateEvent(Event):
    """Everything known of one thing, whole; the highest revision of a message key is the truth."""

    revision: int = Field(ge=1, le=REVISION_MAX, description="grows by one when the content changed")

    def event_id(self) -> UUID:
        """`[topic, message key, revision]`."""
        return derived_id(self.topic.name, self.message_key(), self.revision)


def content_digest(content: dict[str, Any]) -> str:
    """The digest of a fact's content in its canonical spelling."""
    return digest_of(canonical_json(content).encode())


def problems_of(error: ValidationError) -> list[str]:
    """One line per wrong field: its path, then what is wrong with it."""
    return [f"{'.'.join(map(str, item['loc'])) or 'value'}: {item['msg']}" for item in error.errors(include_url=False)]


def encoded_bytes(data: bytes) -> str:
    """Bytes as they stand in an event: standard base64."""
    return base64.b64encode(data).decode("ascii")


def decoded_bytes(text: str) -> bytes:
    """The reverse of `encoded_bytes`; ValueError when the text is not base64."""
    return base64.b64decode(text, validate=True)


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")

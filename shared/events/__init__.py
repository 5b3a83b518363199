"""The only place where the services meet: every event that travels, and how to read one."""

import json
from typing import Any

from shared.events.base import Event, FactEvent, StateEvent, Unreadable, decoded_bytes, encoded_bytes, problems_of
from shared.events.clock import Watermark
from shared.events.judging import InfringementState, Reason, UsageState
from shared.events.people import AllowanceState, CaseState, Decision
from shared.events.posts import (
    MediaItem,
    PostContent,
    PostDeleted,
    PostEdited,
    PostFact,
    PostMeasured,
    PostPublished,
    Reading,
)
from shared.events.registry import (
    AccessState,
    AgencyState,
    BrandState,
    ConsentState,
    FlatCard,
    LicenseState,
    LicenseVersion,
    PartyState,
    RateCard,
    ReferenceState,
    Representation,
    Role,
    Scope,
    Share,
    SocialAccount,
    Split,
    TalentState,
    TwinState,
)
from shared.events.royalty import Entry, RoyaltyBooked, StatementState
from shared.events.sightings import Disclosure, Sighting, UseSeen, VersionSeen
from shared.events.topics import Topic

EVENT_CLASSES: tuple[type[Event], ...] = (
    PostPublished,
    PostEdited,
    PostDeleted,
    PostMeasured,
    UseSeen,
    UsageState,
    InfringementState,
    CaseState,
    AllowanceState,
    ReferenceState,
    LicenseState,
    ConsentState,
    AgencyState,
    BrandState,
    TalentState,
    TwinState,
    AccessState,
    Watermark,
    RoyaltyBooked,
    StatementState,
)
TOPICS: tuple[Topic, ...] = tuple(dict.fromkeys(event.topic for event in EVENT_CLASSES))

_BY_TYPE = {event.type: event for event in EVENT_CLASSES}


def read_event(topic: str, key: bytes | None, value: bytes | None) -> Event:
    """The event in a record of a topic; Unreadable says what is wrong with it.

    A null value is unreadable here: only a consumer that expects tombstones may look at it before.
    """
    envelope = _envelope(value)
    told_type = envelope.get("type")
    event_class = _BY_TYPE.get(told_type) if isinstance(told_type, str) else None
    if event_class is None or event_class.topic.name != topic:
        raise Unreadable(f"type: {told_type!r} does not belong to {topic}")
    event = event_class.from_envelope(envelope)
    if key is None or key.decode("utf-8", "replace") != event.message_key():
        raise Unreadable(f"message key: {key!r} is not the event's {event.message_key()!r}")
    return event


def _envelope(value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise Unreadable("value: null")
    try:
        envelope = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"value: not JSON ({error})") from error
    if not isinstance(envelope, dict) or envelope.get("specversion") != "1.0":
        raise Unreadable("value: not a CloudEvent 1.0 in structured JSON")
    return envelope


__all__ = [
    "EVENT_CLASSES",
    "TOPICS",
    "AccessState",
    "AgencyState",
    "AllowanceState",
    "BrandState",
    "CaseState",
    "ConsentState",
    "Decision",
    "Disclosure",
    "Entry",
    "Event",
    "FactEvent",
    "FlatCard",
    "InfringementState",
    "LicenseState",
    "LicenseVersion",
    "MediaItem",
    "PartyState",
    "PostContent",
    "PostDeleted",
    "PostEdited",
    "PostFact",
    "PostMeasured",
    "PostPublished",
    "RateCard",
    "Reading",
    "Reason",
    "ReferenceState",
    "Representation",
    "Role",
    "RoyaltyBooked",
    "Scope",
    "Share",
    "Sighting",
    "SocialAccount",
    "Split",
    "StateEvent",
    "StatementState",
    "TalentState",
    "Topic",
    "TwinState",
    "Unreadable",
    "UsageState",
    "UseSeen",
    "VersionSeen",
    "Watermark",
    "decoded_bytes",
    "encoded_bytes",
    "problems_of",
    "read_event",
]

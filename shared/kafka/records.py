"""A record as our handlers see it, whichever client read it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.ids import digest_of

# More than an id of ours has, and what an index of PostgreSQL holds.
KEY_CHARACTERS_MAX = 400


@dataclass(frozen=True)
class Record:
    """One record of a topic; key and value as they lie in Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, message: Any) -> "Record":
        """From an aiokafka ConsumerRecord, or from the message of a Faust event."""
        headers = message.headers.items() if isinstance(message.headers, Mapping) else message.headers or ()
        return cls(message.topic, message.partition, message.offset, message.key, message.value, dict(headers))


def offsets_of(records: Iterable[Record]) -> dict[str, list[int]]:
    """Where records lie, for a log line: `topic/partition` to offsets."""
    offsets: dict[str, list[int]] = {}
    for record in records:
        offsets.setdefault(f"{record.topic}/{record.partition}", []).append(record.offset)
    return offsets


def key_text(key: bytes | None) -> str:
    """A message key as people and databases name it; one that is longer than any of ours is cut, with its digest."""
    if key is None:
        return ""
    # PostgreSQL keeps no NUL in a text.
    text = key.decode("utf-8", "backslashreplace").replace("\x00", "\\x00")
    return text if len(text) <= KEY_CHARACTERS_MAX else f"{text[:KEY_CHARACTERS_MAX]}... {digest_of(key)}"

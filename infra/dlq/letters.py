"""Dead letters and what became of them, folded from the records of `<topic>.dlq`: values in, values out."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from shared.events import Unreadable, read_event
from shared.kafka.deadletters import letter_id
from shared.kafka.records import key_text

SHORT = 8
DLQ = ".dlq"


@dataclass(frozen=True)
class Kept:
    """One record of a dead-letter topic without its bytes; `size` is None when its value is null."""

    topic: str
    partition: int
    offset: int
    at: datetime
    key: bytes | None
    size: int | None
    headers: Mapping[str, bytes]

    def text(self, name: str) -> str:
        """A header as text; empty when there is none."""
        return (self.headers.get(name) or b"").decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Resolved:
    """What became of a letter."""

    resolution: str
    by: str
    at: str


@dataclass(frozen=True)
class Source:
    """Where a record lies that became a dead letter."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True)
class Letter:
    """One failure of one consumer at one record, however often it was kept; `kept` is its newest copy."""

    id: str
    consumer: str
    source: Source
    kept: Kept
    first_at: datetime
    copies: int = 1
    resolved: Resolved | None = None

    @property
    def short(self) -> str:
        """The id as it is shown; any beginning of an id that fits one letter names it."""
        return self.id[:SHORT]

    @property
    def service(self) -> str:
        """The service whose consumer failed."""
        return self.consumer.partition(".")[0]

    @property
    def message_key(self) -> str:
        """The message key for people."""
        return key_text(self.kept.key)

    @property
    def state(self) -> str:
        """`unresolved`, `replayed` or `dropped`."""
        return self.resolved.resolution if self.resolved else "unresolved"


class Folding:
    """Takes in the records of dead-letter topics one by one and keeps no bytes."""

    def __init__(self) -> None:
        self._letters: dict[str, Letter] = {}
        self._resolved: dict[str, Resolved] = {}

    def add(self, kept: Kept) -> None:
        """A letter, one more copy of a letter, or what became of one."""
        if "resolution" in kept.headers:
            told = Resolved(kept.text("resolution"), kept.text("by"), kept.text("at"))
            self._resolved[kept.text("letter")] = told
            return
        letter = _letter(kept)
        known = self._letters.get(letter.id)
        if known is not None:
            letter = replace(letter, first_at=known.first_at, copies=known.copies + 1)
        self._letters[letter.id] = letter

    def letters(self) -> list[Letter]:
        """Each letter once, in the order of topic, partition, offset and consumer."""
        found = [replace(letter, resolved=self._resolved.get(name)) for name, letter in self._letters.items()]
        return sorted(found, key=lambda each: (each.source.topic, each.source.partition, each.source.offset, each.id))


def wanted(
    letters: Iterable[Letter], *, topic: str | None = None, consumer: str | None = None, resolved_too: bool = False
) -> list[Letter]:
    """The letters of a topic, of a consumer; a service's name means all its consumers."""
    return [
        letter
        for letter in letters
        if (resolved_too or letter.resolved is None)
        and topic in (None, letter.source.topic)
        and consumer in (None, letter.consumer, letter.service)
    ]


def named(letters: Iterable[Letter], beginning: str) -> Letter:
    """The letter whose id begins so; ValueError when none or several do."""
    found = [letter for letter in letters if letter.id.startswith(beginning.lower())] if beginning else []
    if len(found) == 1:
        return found[0]
    if not found:
        raise ValueError(f"no dead letter {beginning!r}; `twintally dlq list --all` shows them")
    raise ValueError(f"{beginning!r} begins {len(found)} ids: {', '.join(letter.id for letter in found[:5])}")


def why_not_instead(letter: Letter, original: bytes | None, repaired: bytes) -> str | None:
    """Why these bytes may not be worked in place of the original ones; None when they may.

    A repaired record is the same record: its message key, and its event id if the original still tells one.
    """
    try:
        event = read_event(letter.source.topic, letter.kept.key, repaired)
    except Unreadable as error:
        return f"the repaired value cannot be read as an event of {letter.source.topic}: {error}"
    told = _event_id(original)
    if told is not None and told != str(event.event_id()):
        return (
            f"event id: the repaired value is {event.event_id()}, the original {told}. It tells something else;"
            " have the owner of the topic publish it"
        )
    return None


def _event_id(value: bytes | None) -> str | None:
    try:
        envelope = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    told = envelope.get("id") if isinstance(envelope, dict) else None
    return told if isinstance(told, str) else None


def _letter(kept: Kept) -> Letter:
    consumer, source = kept.text("consumer"), _source(kept)
    name = letter_id(consumer, source.topic, source.partition, source.offset)
    return Letter(name, consumer, source, kept, first_at=kept.at)


def _source(kept: Kept) -> Source:
    topic, _, place = kept.text("source").partition("/")
    partition, _, offset = place.partition("/")
    if topic and partition.isdecimal() and offset.isdecimal():
        return Source(topic, int(partition), int(offset))
    # Not written by a consumer of ours; still something that a person should see.
    return Source(kept.topic, kept.partition, kept.offset)

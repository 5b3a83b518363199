"""Where a record goes that a consumer cannot read or work: its bytes as they were, and why."""

import asyncio
import gzip
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Literal, Protocol

from prometheus_client import Counter

from shared.ids import derived_id
from shared.kafka.producer import MAX_RECORD_BYTES, Headers, SteadyProducer
from shared.kafka.records import Record

ERROR_CHARACTERS_MAX = 2000
# No key of ours is longer than a few hundred bytes.
KEY_BYTES_MAX = 64 * 1024

Resolution = Literal["replayed", "dropped"]


class DeadLetters(Protocol):
    """Keeps what a consumer gave up on."""

    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        """Store the record for good; whatever this raises means that it is not stored."""


class KafkaDeadLetters:
    """Dead letters in `<topic>.dlq`, with the original bytes and message key.

    `kept` counts them by consumer.
    """

    def __init__(self, producer: SteadyProducer, consumer: str, kept: Counter | None = None) -> None:
        self._producer = producer
        self._consumer = consumer
        self._kept = kept

    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        """Send to the dead-letter topic and wait for the acknowledgement; NotSent otherwise."""
        key, value, how = await asyncio.to_thread(fitting, record.key, record.value)
        headers: Headers = [
            ("source", f"{record.topic}/{record.partition}/{record.offset}".encode()),
            ("consumer", self._consumer.encode()),
            ("error", error_text(error).encode()),
            ("attempts", str(attempts).encode()),
            ("code_version", version("twintally").encode()),
            *how,
        ]
        await self._producer.send(f"{record.topic}.dlq", key=key, value=value, headers=headers)
        if self._kept is not None:
            self._kept.labels(self._consumer).inc()


def letter_id(consumer: str, topic: str, partition: int, offset: int) -> str:
    """The id of a dead letter: the same failure kept twice is one letter."""
    return str(derived_id(consumer, topic, partition, offset))


def error_text(error: BaseException) -> str:
    """What went wrong, so that a header, a log line and an answer bear it: not too long, and no half characters."""
    text = f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]
    return text.encode("utf-8", "backslashreplace").decode()


def resolution_headers(letter: str, resolution: Resolution, *, by: str, at: datetime) -> Headers:
    """The headers of a record that says what became of a letter; its key is the letter's, its value null."""
    return [
        ("letter", letter.encode()),
        ("resolution", resolution.encode()),
        ("by", by.encode("utf-8", "backslashreplace")),
        ("at", at.isoformat().encode()),
    ]


def fitting(key: bytes | None, value: bytes | None) -> tuple[bytes | None, bytes | None, Headers]:
    """Key and value so that the dead letters take them, and the headers that say what was done to that end.

    Only a record that its sender had compressed can be larger than its topic's limit. It is packed as well; what is
    too large even so is cut, and its source position is then the only place where it lies whole.
    """
    if len(key or b"") + len(value or b"") <= MAX_RECORD_BYTES:
        return key, value, ()
    kept_key = key and key[:KEY_BYTES_MAX]
    cut = [("cut", f"{len(key or b'')}/{len(value or b'')}".encode())]
    room = MAX_RECORD_BYTES - len(kept_key or b"")
    if value is None or len(value) <= room:
        return kept_key, value, cut
    packed = gzip.compress(value, mtime=0)
    if len(packed) > room:
        return kept_key, value[:room], cut
    return kept_key, packed, [("packed", b"gzip"), *(cut if kept_key != key else ())]


def unpacked(value: bytes | None, headers: Mapping[str, bytes]) -> bytes | None:
    """The value of a dead letter as its consumer met it."""
    return gzip.decompress(value) if value is not None and headers.get("packed") == b"gzip" else value

"""Where a record goes that a consumer cannot read or work: its bytes as they were, and why."""

from importlib.metadata import version
from typing import Protocol

from shared.kafka.producer import Headers, SteadyProducer
from shared.kafka.records import Record


class DeadLetters(Protocol):
    """Keeps what a consumer gave up on."""

    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        """Store the record for good; whatever this raises means that it is not stored."""


class KafkaDeadLetters:
    """Dead letters in `<topic>.dlq`, with the original bytes and message key."""

    def __init__(self, producer: SteadyProducer, consumer: str) -> None:
        self._producer = producer
        self._consumer = consumer

    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        """Send to the dead-letter topic and wait for the acknowledgement; NotSent otherwise."""
        headers: Headers = [
            ("source", f"{record.topic}/{record.partition}/{record.offset}".encode()),
            ("consumer", self._consumer.encode()),
            ("error", f"{type(error).__name__}: {error}"[:2000].encode()),
            ("attempts", str(attempts).encode()),
            ("code_version", version("twintally").encode()),
        ]
        await self._producer.send(f"{record.topic}.dlq", key=record.key, value=record.value, headers=headers)

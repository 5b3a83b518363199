"""A producer that outlives a broker outage of any length."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from shared.kafka.client import KafkaAddress, connection
from shared.kafka.spans import sending
from shared.logs import get_log

log = get_log()

Headers = Sequence[tuple[str, bytes]]
# Topic, key, value, headers.
Outgoing = tuple[str, bytes | None, bytes | None, Headers]
MAX_RECORD_BYTES = 4 * 1024 * 1024
# A dead letter is a record of any size that its topic took, and headers that say why it came.
DEAD_LETTER_HEADERS_BYTES_MAX = 64 * 1024


class NotSent(Exception):  # noqa: N818 - the outcome of a send, not a programming error
    """The broker did not acknowledge in time. The record may still arrive; its derived id makes that harmless."""


class SteadyProducer:
    """An idempotent producer with `acks=all` that is replaced after any failure.

    aiokafka 0.14 never recovers an idempotent producer whose batch expired during an outage: each later send fails
    with OutOfOrderSequenceNumber. So a failed producer is dropped and the next send builds a new one, at most one
    attempt per backoff. What others have given to a dropped one has the send timeout to arrive; then it is given up.
    """

    def __init__(self, address: KafkaAddress, *, send_timeout_s: float = 8.0) -> None:
        self._address = address
        self._send_timeout_s = send_timeout_s
        self._producer: AIOKafkaProducer | None = None
        self._building = asyncio.Lock()
        self._not_before = 0.0
        self._closing: set[asyncio.Task[None]] = set()
        self.unacknowledged = 0

    async def start(self) -> None:
        """Connect; NotSent when the broker cannot be reached in time."""
        await self._current()

    async def send(
        self, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> tuple[int, int]:
        """Send one record and wait for its acknowledgement; returns (partition, offset), raises NotSent.

        What is being traced goes on in its headers.
        """
        with sending(topic) as trace_headers:
            return await self._send(topic, key=key, value=value, headers=[*headers, *trace_headers])

    async def _send(
        self, topic: str, *, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> tuple[int, int]:
        self.unacknowledged += 1
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(self._send_timeout_s):
                producer = await self._current()
                sent = await producer.send(topic, key=key, value=value, headers=headers)
                # Shielded: cancelling the future of a batch would cancel it for the others in the batch.
                metadata = await asyncio.shield(sent)
        except MessageSizeTooLargeError:
            raise
        except (KafkaError, TimeoutError, OSError) as error:
            self._drop(producer, error)
            raise NotSent(f"{topic}: {type(error).__name__}: {error}") from error
        finally:
            self.unacknowledged -= 1
        return metadata.partition, metadata.offset

    async def send_each(self, records: Sequence[Outgoing]) -> list[bool]:
        """Send records and wait for all; tells of each whether it was acknowledged in time. Those that were not may
        still arrive.
        """
        self.unacknowledged += len(records)
        producer: AIOKafkaProducer | None = None
        sent: list[asyncio.Future[Any] | None] = []
        try:
            async with asyncio.timeout(self._send_timeout_s):
                producer = await self._current()
                for topic, key, value, headers in records:
                    sent.append(await _given(producer, topic, key, value, headers))
                # Waiting leaves the futures alone: cancelling that of a batch would cancel it for others.
                if under_way := [future for future in sent if future is not None]:
                    await asyncio.wait(under_way)
        except (KafkaError, TimeoutError, OSError, NotSent) as error:
            self._drop(producer, error)
        finally:
            self.unacknowledged -= len(records)
        failures = [failure for failure in map(_error_of, sent) if failure is not None]
        if failures:
            self._drop(producer, failures[0])
        arrived = [future is not None and future.done() and _error_of(future) is None for future in sent]
        return arrived + [False] * (len(records) - len(sent))

    async def send_all(self, records: Sequence[Outgoing]) -> None:
        """Send records in order and wait for all; NotSent when any was not acknowledged (then all may be repeated).

        Nothing given to a producer that was dropped before is sent after them, but for what lies in a socket already:
        an older record would end up as the last of its key.
        """
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(self._send_timeout_s * 2):
                await self._dropped_are_closed()
                producer = await self._current()
                futures = [
                    await producer.send(topic, key=key, value=value, headers=list(headers))
                    for topic, key, value, headers in records
                ]
                await asyncio.gather(*map(asyncio.shield, futures))
        except MessageSizeTooLargeError:
            raise
        except (KafkaError, TimeoutError, OSError) as error:
            self._drop(producer, error)
            raise NotSent(f"{type(error).__name__}: {error}") from error

    async def partitions_of(self, topic: str) -> list[int]:
        """The partitions of a topic."""
        return sorted(await (await self._current()).partitions_for(topic))

    async def stop(self) -> None:
        """Flush and close; bounded by twice the send timeout."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._close(producer)
        await self._dropped_are_closed()

    async def _current(self) -> AIOKafkaProducer:
        async with self._building:
            if self._producer is None:
                loop = asyncio.get_running_loop()
                await asyncio.sleep(max(0.0, self._not_before - loop.time()))
                self._not_before = loop.time() + 0.5
                self._producer = await self._build()
            return self._producer

    async def _build(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **connection(self._address),
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            max_batch_size=131_072,
            max_request_size=MAX_RECORD_BYTES + DEAD_LETTER_HEADERS_BYTES_MAX,
            request_timeout_ms=30_000,
        )
        try:
            await producer.start()
        except BaseException as error:
            await asyncio.shield(self._close(producer))
            if isinstance(error, KafkaError | OSError):
                raise NotSent(f"cannot reach Kafka: {error}") from error
            raise
        return producer

    def _drop(self, failed: AIOKafkaProducer | None, error: BaseException) -> None:
        # Another send that failed with the same producer may have had it replaced already.
        if failed is None or failed is not self._producer:
            return
        self._producer = None
        log.warning("producer_dropped", error=f"{type(error).__name__}: {error}")
        # Closing waits for a broker that may be away; nobody else should.
        task = asyncio.create_task(self._close(failed))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _dropped_are_closed(self) -> None:
        if self._closing:
            await asyncio.wait(self._closing)

    async def _close(self, producer: AIOKafkaProducer) -> None:
        try:
            async with asyncio.timeout(self._send_timeout_s):
                # By itself, `stop` would leave a task that flushes behind when it is interrupted.
                await producer.flush()
                await producer.stop()
        except (KafkaError, TimeoutError, OSError) as error:
            log.warning("producer_close_failed", error=f"{type(error).__name__}: {error}")
            await _abandon(producer)


async def _given(
    producer: AIOKafkaProducer, topic: str, key: bytes | None, value: bytes | None, headers: Headers
) -> "asyncio.Future[Any] | None":
    """The future of a record's acknowledgement; None when no topic takes a record of its size."""
    try:
        future: asyncio.Future[Any] = await producer.send(topic, key=key, value=value, headers=list(headers))
    except MessageSizeTooLargeError as error:
        log.error("record_too_large", topic=topic, bytes=len(value or b""), error=str(error))
        return None
    # Nobody may be waiting any more when it fails.
    future.add_done_callback(_error_of)
    return future


def _error_of(future: "asyncio.Future[Any] | None") -> BaseException | None:
    if future is None or not future.done():
        return None
    return asyncio.CancelledError() if future.cancelled() else future.exception()


async def _abandon(producer: AIOKafkaProducer) -> None:
    """End a producer that cannot be closed, so that it sends nothing any more.

    An interrupted `stop` of aiokafka 0.14 leaves the task running that sends, and would send once the broker is back.
    """
    producer._closed = True
    sending = producer._sender.sender_task
    if sending is not None:
        sending.cancel()
    # Closing would wait until a broker that may be gone has taken what is written. Without connections the requests
    # under way fail, and the task that waits for them ends.
    for connection_ in tuple(producer.client._conns.values()):
        if connection_._writer is not None:
            connection_._writer.transport.abort()
    await producer.client.close()
    while sending is not None and not sending.done():
        await asyncio.wait({sending}, timeout=1.0)
        sending.cancel()

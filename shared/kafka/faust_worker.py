"""The Faust loop that loses nothing, started inside a running event loop.

Faust 0.15 confirms a message when its agent fails, when the agent is cancelled, and when a slow one is overtaken. So:
one agent that takes batches one after the other, that lets no exception out, and whose batch in hand outlives its
cancellation. No tables, no leader, no web server, no sends: those are where Faust loses, counts twice, or listens.
"""

import asyncio
import os
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

from aiokafka import TopicPartition
from aiokafka.helpers import create_ssl_context

# Before faust, so that aiokafka is mended when faust takes hold of it.
from shared.kafka.client import METADATA_MAX_AGE_MS, KafkaAddress, be_patient_with_metadata
from shared.kafka.consuming import LEFT_UNCONFIRMED, HandleBatch
from shared.kafka.records import Record
from shared.kafka.spans import processing
from shared.kafka.stall import Look, Stall, ask_ends, seen
from shared.logs import get_log

be_patient_with_metadata()

import faust  # noqa: E402

log = get_log()

FETCH_MAX_BYTES = 4 * 1024 * 1024


class FaustCrashed(Exception):  # noqa: N818 - the state of the consumer
    """Faust has given up; the process must leave and start anew."""


async def consume_with_faust(
    address: KafkaAddress,
    *,
    group: str,
    topic: str,
    handle_batch: HandleBatch,
    batch_max: int = 200,
    within_s: float = 0.05,
    stall: Stall | None = None,
) -> None:
    """Consume until cancelled: finish the batch in hand, confirm it, leave the group.

    `handle_batch` stores the effect of its records or their dead letters; when it raises, neither was possible and
    the process leaves at once with 70, so that nothing is confirmed. FaustCrashed when Faust itself gave up.
    """
    # Without tables Faust keeps nothing in its folder, and only wants one while it starts. Its own, so that no two
    # processes can meet in it, and gone at once, so that a killed one leaves none behind.
    with TemporaryDirectory(prefix=f"twintally-{group}-") as folder:
        app = _build_app(address, group=group, data_dir=folder, batch_max=batch_max)
        _consume(app, topic, handle_batch, batch_max=batch_max, within_s=within_s)
        try:
            await app.start()
        except BaseException:
            await app.stop()
            raise
    try:
        log.info("faust_consumes", group=group, topic=topic)
        async with (stall or Stall()).watching(lambda: _look(app.consumer)):
            await app.wait_until_stopped()
        raise FaustCrashed(f"{group} on {topic}: {app.crash_reason!r}")
    finally:
        await app.stop()


def _build_app(address: KafkaAddress, *, group: str, data_dir: str, batch_max: int) -> Any:
    return faust.App(
        group,
        broker=[f"aiokafka://{server}" for server in address.kafka.split(",")],
        broker_credentials=_credentials(address),
        broker_session_timeout=10.0,
        broker_heartbeat_interval=3.0,
        broker_commit_interval=1.0,
        broker_commit_every=500,
        broker_max_poll_records=max(batch_max, 200),
        consumer_max_fetch_size=FETCH_MAX_BYTES,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        producer_request_timeout=30.0,
        key_serializer="raw",
        value_serializer="raw",
        stream_buffer_maxsize=max(256, min(1024, batch_max)),
        stream_wait_empty=True,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        store="memory://",
        datadir=data_dir,
        autodiscover=False,
        web_enabled=False,
    )


def _credentials(address: KafkaAddress) -> Any:
    protocol = address.kafka_security_protocol
    context = create_ssl_context(cafile=address.kafka_ca_file) if protocol.endswith("SSL") else None
    if protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=address.kafka_username,
            password=address.kafka_password.get_secret_value() if address.kafka_password else None,
            mechanism=address.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context is not None else None


def _consume(app: Any, topic: str, handle_batch: HandleBatch, *, batch_max: int, within_s: float) -> None:
    source = app.topic(topic, key_serializer="raw", value_serializer="raw", internal=False)

    async def consume(stream: Any) -> None:
        async for events in stream.take_events(batch_max, within=within_s):
            records = [Record.of(event.message) for event in events]
            with processing(records, group=app.conf.id):
                await _to_the_end(handle_batch, records)

    app.agent(source, name=f"{app.conf.id}.consume", concurrency=1)(consume)


async def _look(consumer: Any) -> Look:
    # Faust's consumer lives on a thread with a loop of its own; what Faust does with records it does here.
    asking = ask_ends(consumer._thread._consumer, _in_hand(consumer))
    ends, positions = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking, consumer._thread.thread_loop))
    return seen(_confirmed(consumer), ends, positions, _in_hand(consumer))


def _confirmed(consumer: Any) -> dict[TopicPartition, int]:
    return {part: offset for part, offset in consumer._committed_offset.items() if offset is not None}


def _in_hand(consumer: Any) -> dict[TopicPartition, int]:
    """The first unconfirmed offset of each partition of which Faust has taken something: worked or not, both count."""
    confirmed, first = _confirmed(consumer), dict[TopicPartition, int]()
    for message in list(consumer.unacked):
        first[message.tp] = min(first.get(message.tp, message.offset), message.offset)
    for part, offsets in consumer._acked.items():
        # Faust leaves offsets behind that are confirmed already.
        worked = [offset for offset in offsets if offset >= confirmed.get(part, 0)]
        if worked:
            first[part] = min(*worked, first.get(part, worked[0]))
    return first


async def _to_the_end(handle_batch: HandleBatch, records: Sequence[Record]) -> None:
    # When the agent is cancelled, Faust confirms the batch on the way out: so it must be stored before that.
    work = asyncio.create_task(_store_or_leave(handle_batch, records))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _store_or_leave(handle_batch: HandleBatch, records: Sequence[Record]) -> None:
    try:
        await handle_batch(records)
    except BaseException:
        log.critical("leaving_unconfirmed", exc_info=True)
        os._exit(LEFT_UNCONFIRMED)

"""What our Kafka clients do while their broker is away, and the two faults of aiokafka that they mend."""

import asyncio
import contextlib
import gc
import time
from collections.abc import Iterator, Sequence

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.local.stack import Stack
from shared.kafka import Record, connection
from shared.kafka.lookup import LookupReader
from shared.kafka.producer import NotSent, SteadyProducer
from shared.settings import KafkaSettings
from tests.integration.test_kafka_clients import make_topic
from tests.streams import read_all


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own, whose broker a test may take away."""
    with Stack.running(tmp_path_factory.mktemp("outage")) as running:
        yield running


@pytest.mark.timeout(240)
async def test_a_producer_sends_again_after_an_outage_longer_than_its_request_timeout(own_broker: Stack) -> None:
    """Fault A: an idempotent producer of aiokafka never recovers from this; ours is replaced."""
    kafka = KafkaSettings(kafka=own_broker.kafka)
    topic = await make_topic(kafka, partitions=4)
    producer = SteadyProducer(kafka, send_timeout_s=3.0)
    await producer.send(topic, key=b"before", value=b"v")
    await asyncio.to_thread(own_broker.stop, "kafka")
    # In-flight batches must expire inside the producer: aiokafka's request timeout of ours is 30 s.
    refused = 0
    until = time.monotonic() + 35
    while time.monotonic() < until:
        with pytest.raises(NotSent):
            await producer.send(topic, key=b"during", value=b"v")
        refused += 1
    assert refused > 3
    await asyncio.to_thread(own_broker.start, "kafka")
    async with asyncio.timeout(60):
        while True:
            try:
                await producer.send(topic, key=b"first", value=b"v")
                break
            except NotSent:
                continue
    await asyncio.gather(*(producer.send(topic, key=str(n).encode(), value=b"v") for n in range(1000)))
    await producer.stop()
    arrived = {record.key for record in await read_all(kafka, topic)}
    assert {str(number).encode() for number in range(1000)} <= arrived


@pytest.mark.timeout(120)
async def test_nothing_of_a_dropped_producer_comes_after_what_was_sent_later(own_broker: Stack) -> None:
    kafka = KafkaSettings(kafka=own_broker.kafka)
    topic = await make_topic(kafka, partitions=1)
    producer = SteadyProducer(kafka, send_timeout_s=1.0)
    await producer.send_all([(topic, b"k", b"0", ())])
    with own_broker.paused("kafka"):
        # The first lies in a socket when the broker wakes; the second in the producer, behind it.
        for value in (b"1", b"2"):
            with pytest.raises(NotSent):
                await producer.send_all([(topic, b"k", value, ())])
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(NotSent):
                await producer.send_all([(topic, b"k", b"3", ())])
                break
    await asyncio.sleep(2.0)
    assert [record.value for record in await read_all(kafka, topic)][-1] == b"3"
    await producer.stop()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("megabytes", [0, 12])
async def test_a_stopped_producer_leaves_nothing_behind_while_the_broker_sleeps(
    own_broker: Stack, megabytes: int
) -> None:
    kafka = KafkaSettings(kafka=own_broker.kafka)
    topic = await make_topic(kafka, partitions=1)
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, about: complaints.append(str(about)))
    before = asyncio.all_tasks()
    producer = SteadyProducer(kafka, send_timeout_s=1.0)
    await producer.send(topic, key=b"k", value=b"0")
    with own_broker.paused("kafka"):
        # Megabytes fill the socket: closing it in order would wait until the broker has read them.
        values = [b"1", *(bytes(4_000_000) for _ in range(megabytes // 4))]
        with pytest.raises(NotSent):
            await producer.send_all([(topic, b"k", value, ()) for value in values])
        async with asyncio.timeout(3.0):
            await producer.stop()
        await asyncio.sleep(0)
        gc.collect()
        assert asyncio.all_tasks() == before
        assert complaints == []


@pytest.mark.timeout(120)
async def test_a_lookup_reader_says_when_it_can_no_longer_know_that_it_is_whole(own_broker: Stack) -> None:
    kafka = KafkaSettings(kafka=own_broker.kafka)
    topic = await make_topic(kafka, partitions=1)

    async def learn(records: Sequence[Record]) -> None:
        pass

    reader = LookupReader(kafka, [topic], learn)
    task = asyncio.create_task(reader.run())
    async with asyncio.timeout(60):
        while reader.problem():
            await asyncio.sleep(0.05)
        with own_broker.paused("kafka"):
            while reader.caught_up(within_s=5):
                await asyncio.sleep(0.05)
            assert reader.caught_up(within_s=60)
        while not reader.caught_up(within_s=5):
            await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.timeout(180)
async def test_a_client_burns_no_core_while_its_broker_is_away(own_broker: Stack) -> None:
    """Fault B: aiokafka asks for metadata without a pause; our patch makes it wait between attempts."""
    kafka = KafkaSettings(kafka=own_broker.kafka)
    topic = await make_topic(kafka)
    consumer = AIOKafkaConsumer(**(connection(kafka) | {"metadata_max_age_ms": 500}))
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    try:
        await consumer.getmany(timeout_ms=200)
        await asyncio.to_thread(own_broker.stop, "kafka")
        began, waited_s = time.process_time(), 8.0
        async with asyncio.timeout(60):
            until = time.monotonic() + waited_s
            while time.monotonic() < until:
                await consumer.getmany(timeout_ms=200)
                await asyncio.sleep(0.05)
        burnt_s = time.process_time() - began
        await asyncio.to_thread(own_broker.start, "kafka")
        producer = SteadyProducer(kafka)
        await producer.send(topic, key=b"k", value=b"after")
        await producer.stop()
    finally:
        await consumer.stop()
    assert burnt_s < waited_s * 0.5

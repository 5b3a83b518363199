"""What our Kafka clients do on a real broker."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from structlog.testing import capture_logs

from shared.events import Unreadable
from shared.kafka import Record, connection
from shared.kafka.batches import Patience, work_batch
from shared.kafka.consuming import GroupConsumer
from shared.kafka.deadletters import KafkaDeadLetters
from shared.kafka.lookup import LookupReader
from shared.kafka.producer import MAX_RECORD_BYTES, NotSent, SteadyProducer
from shared.settings import KafkaSettings
from tests.conftest import Parts
from tests.integration.test_faust_worker import committed
from tests.streams import read_all


async def make_topic(
    kafka: KafkaSettings, name: str = "", *, partitions: int = 3, configs: dict[str, str] | None = None
) -> str:
    name = name or f"test-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(**connection(kafka))
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(name, partitions, 1, topic_configs=configs or {}), NewTopic(f"{name}.dlq", 1, 1)]
        )
    finally:
        await admin.close()
    return name


@pytest.fixture
async def producer(stack: Parts) -> AsyncIterator[SteadyProducer]:
    producer = SteadyProducer(stack.kafka_settings)
    yield producer
    await producer.stop()


async def test_two_lookup_readers_each_learn_every_partition(stack: Parts, producer: SteadyProducer) -> None:
    topic = await make_topic(stack.kafka_settings, partitions=12)
    for number in range(60):
        await producer.send(topic, key=str(number).encode(), value=b"v")
    readings = await asyncio.gather(read_all(stack.kafka_settings, topic), read_all(stack.kafka_settings, topic))
    for records in readings:
        assert {record.key for record in records} == {str(number).encode() for number in range(60)}
        assert len({record.partition for record in records}) > 6


async def test_a_lookup_reader_knows_what_it_has_learnt(stack: Parts, producer: SteadyProducer) -> None:
    topic = await make_topic(stack.kafka_settings, partitions=1)
    _, offset = await producer.send(topic, key=b"a", value=b"1")
    learnt = asyncio.Event()

    async def learn(records: Sequence[Record]) -> None:
        await learnt.wait()

    reader = LookupReader(stack.kafka_settings, [topic], learn)
    task = asyncio.create_task(reader.run())
    await asyncio.sleep(1.0)
    assert not reader.has_learnt({topic: {0: offset + 1}})
    learnt.set()
    async with asyncio.timeout(10):
        while not reader.has_learnt({topic: {0: offset + 1}}):
            await asyncio.sleep(0.02)
    assert not reader.has_learnt({topic: {0: offset + 2}})
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_lookup_reader_goes_on_when_the_database_was_away_while_it_learnt(
    stack: Parts, producer: SteadyProducer
) -> None:
    topic = await make_topic(stack.kafka_settings, partitions=1)
    for number in range(3):
        await producer.send(topic, key=b"k", value=str(number).encode())
    learnt: list[bytes | None] = []
    away = True

    async def learn(records: Sequence[Record]) -> None:
        nonlocal away
        if away:
            away = False
            raise psycopg.OperationalError("terminating connection due to administrator command")
        learnt.extend(record.value for record in records)

    reader = LookupReader(stack.kafka_settings, [topic], learn)
    task = asyncio.create_task(reader.run())
    async with asyncio.timeout(20):
        while not reader.caught_up():
            await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert learnt == [b"0", b"1", b"2"]


async def test_a_send_that_fails_drops_only_the_producer_it_failed_with(stack: Parts) -> None:
    topic = await make_topic(stack.kafka_settings)
    producer = SteadyProducer(stack.kafka_settings, send_timeout_s=2.0)
    with capture_logs() as logs:
        first = asyncio.create_task(producer.send("no-such-topic", key=b"k", value=b"v"))
        await asyncio.sleep(1.5)
        second = asyncio.create_task(producer.send("no-such-topic", key=b"k", value=b"v"))
        await asyncio.wait({first})
        await producer.send(topic, key=b"k", value=b"with a new one")
        await asyncio.wait({second})
        await producer.send(topic, key=b"k", value=b"with the same one")
    assert isinstance(first.exception(), NotSent)
    assert isinstance(second.exception(), NotSent)
    assert [entry["event"] for entry in logs].count("producer_dropped") == 1
    await producer.stop()


async def test_poison_goes_to_the_dead_letters_with_its_bytes_and_the_rest_is_worked(
    stack: Parts, producer: SteadyProducer
) -> None:
    topic = await make_topic(stack.kafka_settings)
    worked: list[bytes | None] = []

    async def effect(records: Sequence[Record]) -> None:
        for record in records:
            if record.value == b"poison":
                raise Unreadable("value: poison")
        worked.extend(record.value for record in records)

    values = [b"1", b"poison", b"2"]
    records = [Record(topic, 0, offset, b"k", value) for offset, value in enumerate(values)]
    letters = KafkaDeadLetters(producer, "tests")
    assert await work_batch(records, effect, letters) == 1
    assert worked == [b"1", b"2"]
    [letter] = await read_all(stack.kafka_settings, f"{topic}.dlq")
    assert (letter.key, letter.value) == (b"k", b"poison")
    assert letter.headers["source"] == f"{topic}/0/1".encode()
    assert letter.headers["consumer"] == b"tests"
    assert b"poison" in letter.headers["error"]


async def test_a_record_that_fails_for_its_own_reason_is_tried_three_times(
    stack: Parts, producer: SteadyProducer
) -> None:
    topic = await make_topic(stack.kafka_settings)
    tries = 0

    async def effect(records: Sequence[Record]) -> None:
        nonlocal tries
        tries += 1
        raise ZeroDivisionError("of its own")

    patience = Patience(first_pause_s=0.01)
    record = Record(topic, 0, 0, b"k", b"v")
    assert await work_batch([record], effect, KafkaDeadLetters(producer, "tests"), patience) == 1
    assert tries == 3
    [letter] = await read_all(stack.kafka_settings, f"{topic}.dlq")
    assert letter.headers["attempts"] == b"3"


async def test_a_passing_fault_is_repeated_and_at_last_raised_never_a_dead_letter() -> None:
    tries = 0

    async def effect(records: Sequence[Record]) -> None:
        nonlocal tries
        tries += 1
        raise ConnectionError("the database is away")

    class NoLetters:
        async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
            pytest.fail("a passing fault became a dead letter")

    patience = Patience(passing_fault_attempts=4, first_pause_s=0.001)
    with pytest.raises(ConnectionError):
        await work_batch([Record("t", 0, 0, b"k", b"v")], effect, NoLetters(), patience)
    assert tries == 4


async def test_a_group_consumer_confirms_what_was_stored_and_nothing_else(
    stack: Parts, producer: SteadyProducer
) -> None:
    topic = await make_topic(stack.kafka_settings, partitions=1)
    for number in range(5):
        await producer.send(topic, key=b"k", value=str(number).encode())
    first, again = [], []

    async def store_then_stall(records: Sequence[Record]) -> None:
        first.extend(record.value for record in records)
        await asyncio.sleep(3600)

    async def store(records: Sequence[Record]) -> None:
        again.extend(record.value for record in records)

    group = f"group-{topic}"
    stalled = asyncio.create_task(
        GroupConsumer(stack.kafka_settings, group=group, topics=[topic]).run(store_then_stall)
    )
    async with asyncio.timeout(30):
        while len(first) < 5:
            await asyncio.sleep(0.05)
    stalled.cancel()
    await asyncio.gather(stalled, return_exceptions=True)
    second = asyncio.create_task(GroupConsumer(stack.kafka_settings, group=group, topics=[topic]).run(store))
    async with asyncio.timeout(30):
        while len(again) < 5:
            await asyncio.sleep(0.05)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert again == first == [str(number).encode() for number in range(5)]


async def test_a_group_whose_broker_did_not_know_the_topic_yet_works_it_once_it_does(
    stack: Parts, producer: SteadyProducer, caplog: pytest.LogCaptureFixture
) -> None:
    # As a broker that has just come back may answer.
    topic, worked = f"test-{uuid.uuid4().hex}", asyncio.Event()

    async def store(_records: Sequence[Record]) -> None:
        worked.set()

    running = asyncio.create_task(GroupConsumer(stack.kafka_settings, group=f"g-{topic}", topics=[topic]).run(store))
    try:
        async with asyncio.timeout(30):
            while f"Topic {topic} not found in cluster metadata" not in caplog.text:
                await asyncio.sleep(0.05)
        await make_topic(stack.kafka_settings, topic)
        await producer.send(topic, key=b"k", value=b"v")
        await asyncio.wait_for(worked.wait(), 40)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_was_stored_and_not_confirmed_is_confirmed_by_the_next_process(
    stack: Parts, producer: SteadyProducer
) -> None:
    topic = await make_topic(stack.kafka_settings, partitions=2)
    for number in range(6):
        await producer.send(topic, key=str(number).encode(), value=b"v")
    ends = await ends_of(stack.kafka_settings, topic)
    handled: list[Record] = []

    async def store(records: Sequence[Record]) -> None:
        handled.extend(records)

    async def stored(_partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return {(part.topic, part.partition): end for part, end in ends.items()}

    consumer = GroupConsumer(stack.kafka_settings, group=f"group-{topic}", topics=[topic], stored_offsets=stored)
    running = asyncio.create_task(consumer.run(store))
    try:
        async with asyncio.timeout(30):
            while await committed(stack.kafka_settings, topic) != ends:
                await asyncio.sleep(0.1)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert not handled


async def test_of_records_sent_together_each_is_told_whether_it_arrived(stack: Parts, producer: SteadyProducer) -> None:
    topic = await make_topic(stack.kafka_settings)
    too_large = bytes(MAX_RECORD_BYTES + 128 * 1024)
    values = [b"1", too_large, b"2", b"3"]
    arrived = await producer.send_each([(topic, b"k", value, ()) for value in values])
    assert arrived == [True, False, True, True]
    assert [record.value for record in await read_all(stack.kafka_settings, topic)] == [b"1", b"2", b"3"]
    assert producer.unacknowledged == 0


async def test_without_a_broker_none_of_the_records_sent_together_arrived() -> None:
    producer = SteadyProducer(KafkaSettings(kafka="127.0.0.1:1"), send_timeout_s=1.0)
    assert await producer.send_each([("t", b"k", b"v", ())] * 3) == [False] * 3
    assert producer.unacknowledged == 0
    await producer.stop()


async def ends_of(kafka: KafkaSettings, topic: str) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(topic, **connection(kafka))
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(list(consumer.assignment()))
        return ends
    finally:
        await consumer.stop()

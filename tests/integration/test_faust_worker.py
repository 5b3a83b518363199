"""The Faust loop on a real broker: batches arrive, poison does not stop it, a restart loses nothing."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from pydantic import SecretStr

from shared.events import Unreadable
from shared.kafka import Record, connection
from shared.kafka.batches import work_batch
from shared.kafka.consuming import HandleBatch
from shared.kafka.deadletters import KafkaDeadLetters
from shared.kafka.faust_worker import _credentials, consume_with_faust
from shared.kafka.producer import SteadyProducer
from shared.settings import KafkaSettings
from tests.conftest import Parts


@asynccontextmanager
async def admin_of(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**connection(kafka))
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def make_topic(kafka: KafkaSettings, name: str = "") -> str:
    name = name or f"faust-{uuid.uuid4().hex}"
    async with admin_of(kafka) as admin:
        await admin.create_topics([NewTopic(name, 2, 1), NewTopic(f"{name}.dlq", 1, 1)])
    return name


async def produce(kafka: KafkaSettings, topic: str, values: Sequence[bytes]) -> None:
    producer = SteadyProducer(kafka)
    try:
        await producer.send_all([(topic, value, value, ()) for value in values])
    finally:
        await producer.stop()


@asynccontextmanager
async def consuming(stack: Parts, topic: str, handle: HandleBatch) -> AsyncIterator[None]:
    loop = consume_with_faust(stack.kafka_settings, group=f"group-{topic}", topic=topic, handle_batch=handle)
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        [ended] = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(40):
        while not true():
            await asyncio.sleep(0.02)


def numbered(first: int, end: int) -> list[bytes]:
    return [str(number).encode() for number in range(first, end)]


async def test_batches_arrive_in_order_per_partition(stack: Parts) -> None:
    topic = await make_topic(stack.kafka_settings)
    await produce(stack.kafka_settings, topic, numbered(0, 1000))
    batches: list[list[Record]] = []

    async def handle(records: Sequence[Record]) -> None:
        batches.append(list(records))

    async with consuming(stack, topic, handle):
        await until(lambda: sum(map(len, batches)) >= 1000)
    seen = [record for batch in batches for record in batch]
    assert sorted(int(record.value or b"") for record in seen) == list(range(1000))
    assert max(map(len, batches)) > 1
    for partition in range(2):
        offsets = [record.offset for record in seen if record.partition == partition]
        assert offsets == sorted(offsets)


async def test_a_worker_whose_broker_did_not_know_the_topic_yet_works_it_once_it_does(
    stack: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    # As a broker that has just come back may answer: the partitions are then dealt to nobody.
    topic, seen = f"faust-{uuid.uuid4().hex}", list[bytes]()

    async def handle(records: Sequence[Record]) -> None:
        seen.extend(record.value or b"" for record in records)

    async with consuming(stack, topic, handle):
        await until(lambda: f"No partition metadata for topic {topic}" in caplog.text)
        await make_topic(stack.kafka_settings, topic)
        await produce(stack.kafka_settings, topic, numbered(0, 20))
        await until(lambda: sorted(seen) == sorted(numbered(0, 20)))


async def test_poison_goes_to_the_dead_letters_and_the_stream_moves_on(stack: Parts) -> None:
    topic = await make_topic(stack.kafka_settings)
    await produce(stack.kafka_settings, topic, [*numbered(0, 20), b"poison", *numbered(20, 40)])
    producer = SteadyProducer(stack.kafka_settings)
    stored: set[bytes] = set()
    dead = 0

    async def store(records: Sequence[Record]) -> None:
        values = [record.value or b"" for record in records]
        if b"poison" in values:
            raise Unreadable("value: poison")
        stored.update(values)

    async def handle(records: Sequence[Record]) -> None:
        nonlocal dead
        dead += await work_batch(records, store, KafkaDeadLetters(producer, "test"))

    async with consuming(stack, topic, handle):
        await until(lambda: len(stored) == 40 and dead == 1)
    await producer.stop()


async def test_a_stop_finishes_the_batch_in_hand_and_confirms_it(stack: Parts) -> None:
    topic = await make_topic(stack.kafka_settings)
    await produce(stack.kafka_settings, topic, numbered(0, 30))
    begun: list[Record] = []
    finished: list[Record] = []

    async def slowly(records: Sequence[Record]) -> None:
        begun.extend(records)
        await asyncio.sleep(1.5)
        finished.extend(records)

    async with consuming(stack, topic, slowly):
        await until(lambda: bool(begun))
    assert finished == begun
    confirmed = await committed(stack.kafka_settings, topic)
    assert sum(confirmed.values()) == len(finished)


async def test_after_a_restart_nothing_is_lost_and_what_was_confirmed_is_not_repeated(stack: Parts) -> None:
    topic = await make_topic(stack.kafka_settings)
    seen: list[bytes] = []

    async def handle(records: Sequence[Record]) -> None:
        seen.extend(record.value or b"" for record in records)

    await produce(stack.kafka_settings, topic, numbered(0, 50))
    async with consuming(stack, topic, handle):
        await until(lambda: len(seen) >= 50)
    await produce(stack.kafka_settings, topic, numbered(50, 100))
    async with consuming(stack, topic, handle):
        await until(lambda: len(set(seen)) == 100)
    assert sorted(seen) == sorted(numbered(0, 100))


async def test_faust_creates_no_topics_of_its_own(stack: Parts) -> None:
    topic = await make_topic(stack.kafka_settings)
    await produce(stack.kafka_settings, topic, [b"1"])
    async with admin_of(stack.kafka_settings) as admin:
        before = set(await admin.list_topics())
        seen: list[Record] = []

        async def handle(records: Sequence[Record]) -> None:
            seen.extend(records)

        async with consuming(stack, topic, handle):
            await until(lambda: bool(seen))
        after = set(await admin.list_topics())
    assert after - before <= {"__consumer_offsets"}


async def test_a_batch_that_can_be_stored_nowhere_ends_the_process_unconfirmed(stack: Parts) -> None:
    topic = await make_topic(stack.kafka_settings)
    await produce(stack.kafka_settings, topic, numbered(0, 5))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, stack.kafka, topic, stdout=subprocess.DEVNULL
    )
    async with asyncio.timeout(40):
        assert await child.wait() == 70
    assert sum((await committed(stack.kafka_settings, topic)).values()) == 0


async def committed(kafka: KafkaSettings, topic: str) -> dict[TopicPartition, int]:
    async with admin_of(kafka) as admin:
        found = await admin.list_consumer_group_offsets(f"group-{topic}")
    return {partition: max(0, known.offset) for partition, known in found.items()}


CHILD = """
import asyncio, sys
from shared.kafka.faust_worker import consume_with_faust
from shared.settings import KafkaSettings

async def handle(records):
    raise RuntimeError("neither the result nor the dead letter could be stored")

kafka, topic = sys.argv[1:]
asyncio.run(consume_with_faust(
    KafkaSettings(kafka=kafka), group=f"group-{topic}", topic=topic, handle_batch=handle
))
"""

STORING_CHILD = """
import asyncio, os, sys
from pathlib import Path
from shared.kafka.faust_worker import consume_with_faust
from shared.settings import KafkaSettings

kafka, topic, folder = sys.argv[1:]
stored = os.open(Path(folder) / "stored", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

async def handle(records):
    await asyncio.sleep(0.05)
    os.write(stored, b"".join(record.value + b"\\n" for record in records))

asyncio.run(consume_with_faust(
    KafkaSettings(kafka=kafka), group=f"group-{topic}", topic=topic, handle_batch=handle, batch_max=10,
))
"""


async def test_what_a_killed_worker_had_not_stored_comes_back(stack: Parts, tmp_path: Path) -> None:
    topic = await make_topic(stack.kafka_settings)
    await produce(stack.kafka_settings, topic, numbered(0, 600))
    file = tmp_path / "stored"

    def stored() -> set[bytes]:
        return set(file.read_bytes().split()) if file.exists() else set()

    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STORING_CHILD, stack.kafka, topic, str(tmp_path), stdout=subprocess.DEVNULL
    )
    await until(lambda: len(stored()) > 150)
    child.kill()
    await child.wait()
    before = stored()
    assert len(before) < 600
    again: set[bytes] = set()

    async def handle(records: Sequence[Record]) -> None:
        again.update(record.value or b"" for record in records)

    async with consuming(stack, topic, handle):
        await until(lambda: len(before | again) == 600)


async def test_a_second_worker_takes_its_share_and_gives_it_back(stack: Parts) -> None:
    topic = await make_topic(stack.kafka_settings)
    seen: dict[str, list[bytes]] = {"first": [], "second": []}

    def counting(name: str) -> HandleBatch:
        async def handle(records: Sequence[Record]) -> None:
            seen[name] += [record.value or b"" for record in records]

        return handle

    async def everything_up_to(end: int) -> None:
        await until(lambda: set(seen["first"]) | set(seen["second"]) == set(numbered(0, end)))

    async def until_the_second_has_some(numbers: Iterator[int]) -> int:
        while not seen["second"]:
            end = next(numbers)
            await produce(stack.kafka_settings, topic, numbered(end - 50, end))
            await asyncio.sleep(0.2)
        return end

    async with consuming(stack, topic, counting("first")):
        await produce(stack.kafka_settings, topic, numbered(0, 100))
        await everything_up_to(100)
        async with consuming(stack, topic, counting("second")):
            async with asyncio.timeout(40):
                end = await until_the_second_has_some(count(150, 50))
            await everything_up_to(end)
        await produce(stack.kafka_settings, topic, numbered(end, end + 100))
        await everything_up_to(end + 100)


def test_credentials_reach_the_broker_as_our_other_clients_send_them() -> None:
    secured = KafkaSettings(
        kafka="broker:9093",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_username="judging",
        kafka_password=SecretStr("secret"),
    )
    sent = credentials_to_aiokafka_auth(_credentials(secured))
    ours = connection(secured)
    for name in ("security_protocol", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password"):
        assert sent[name] == ours[name]
    assert sent["ssl_context"].verify_mode == ours["ssl_context"].verify_mode

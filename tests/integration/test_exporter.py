"""The exporter on a real broker: it tells how far groups are whose workers are gone, and outlives the broker."""

import asyncio
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from infra.exporter.broker import Broker
from infra.exporter.lag import Seen, oldest_s
from infra.kafka.layout import read_layout
from infra.local.ports import choose_ports
from shared.kafka import connection
from tests.conftest import Parts
from tests.integration.test_faust_worker import make_topic, numbered, produce


async def confirm(stack: Parts, topic: str, offsets: Mapping[int, int]) -> None:
    consumer = AIOKafkaConsumer(**connection(stack.kafka_settings), group_id=f"group-{topic}", enable_auto_commit=False)
    await consumer.start()
    parts = {TopicPartition(topic, number): offset for number, offset in offsets.items()}
    consumer.assign(list(parts))
    await consumer.commit(parts)
    await consumer.stop()


async def looked(broker: Broker) -> Seen:
    """What it sees, as soon as the broker knows the topic and coordinates groups."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(KafkaError):
                return await broker.look()
            await asyncio.sleep(0.2)


@asynccontextmanager
async def looking_at(stack: Parts, topic: str) -> AsyncIterator[Broker]:
    broker = Broker(stack.kafka_settings, {f"group-{topic}": [topic]}, [f"{topic}.dlq"])
    try:
        yield broker
    finally:
        await broker.close()


async def test_lag_is_told_of_a_group_without_workers_and_its_age_is_that_of_the_oldest_unconfirmed_record(
    stack: Parts,
) -> None:
    topic = await make_topic(stack.kafka_settings)
    async with looking_at(stack, topic) as broker:
        nothing = await looked(broker)
        assert [each.lag for each in nothing.progress] == [0, 0]
        assert oldest_s(nothing.progress, now_s=time.time()) == {f"group-{topic}": 0.0}
        await produce(stack.kafka_settings, topic, numbered(0, 20))
        await asyncio.sleep(1.5)
        between = time.time()
        await produce(stack.kafka_settings, topic, numbered(20, 60))
        never_confirmed = await looked(broker)
        assert sum(each.lag for each in never_confirmed.progress) == 60
        [age_s] = oldest_s(never_confirmed.progress, now_s=time.time()).values()
        assert time.time() - between + 1.5 <= age_s < 30
        counts = {each.part.partition: each.end for each in never_confirmed.progress}
        first_20 = dict.fromkeys(counts, 0)
        for key in numbered(0, 20):
            first_20[DefaultPartitioner()(key, [0, 1], [0, 1])] += 1
        await confirm(stack, topic, first_20)
        later = await looked(broker)
        assert sum(each.lag for each in later.progress) == 40
        [age_s] = oldest_s(later.progress, now_s=time.time()).values()
        assert age_s <= time.time() - between
        await confirm(stack, topic, counts)
        done = await looked(broker)
        assert [each.lag for each in done.progress] == [0, 0]
        assert oldest_s(done.progress, now_s=time.time()) == {f"group-{topic}": 0.0}


async def test_the_records_of_a_dead_letter_topic_are_counted(stack: Parts) -> None:
    topic = await make_topic(stack.kafka_settings)
    await produce(stack.kafka_settings, f"{topic}.dlq", numbered(0, 3))
    async with looking_at(stack, topic) as broker:
        assert (await looked(broker)).dead_letters == {f"{topic}.dlq": 3}


async def test_the_process_waits_for_its_broker_and_shows_every_group_of_the_layout(stack: Parts) -> None:
    ports = choose_ports(("exporter", "way"), {})
    env = {"TWINTALLY_KAFKA": f"127.0.0.1:{ports['way']}", "TWINTALLY_EXPORTER_PAUSE_S": "0.2"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "infra.exporter",
        env={**env, "TWINTALLY_HTTP_PORT": str(ports["exporter"])},
        stdout=subprocess.DEVNULL,
    )
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports['exporter']}") as client:
            away = await answer(client, 503)
            assert "the numbers are old; asking the broker ended with KafkaConnectionError" in away.json()["broker"]
            assert (await client.get("/health/live")).status_code == 200
            async with forwarded(ports["way"], stack.kafka):
                await answer(client, 200)
                metrics = (await client.get("/metrics")).text
    finally:
        process.terminate()
        assert await process.wait() == 0
    layout = read_layout()
    told = set(re.findall(r'twintally_consumer_lag{group="(\w+)",partition="\d+",topic="([\w.]+)"}', metrics))
    assert told == {(group, topic) for group, topics in layout.groups.items() for topic in topics}
    assert set(re.findall(r'oldest_unconfirmed_seconds{group="(\w+)"}', metrics)) == set(layout.groups)
    assert set(re.findall(r'dead_letter_records{topic="([\w.]+)"}', metrics)) == {
        f"{name}.dlq" for name in layout.topics
    }


async def answer(client: httpx2.AsyncClient, status: int) -> httpx2.Response:
    """Readiness once it has this status, and the broker was asked."""
    async with asyncio.timeout(40):
        while True:
            try:
                found = await client.get("/health/ready")
            except httpx2.ConnectError:
                found = None
            if found is not None and found.status_code == status and "not been asked" not in found.text:
                return found
            await asyncio.sleep(0.1)


@asynccontextmanager
async def forwarded(port: int, kafka: str) -> AsyncIterator[None]:
    """The broker at another port: enough for a first connection, which tells where the broker really is."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, its_port = kafka.rpartition(":")
        there, back = await asyncio.open_connection(host, int(its_port))
        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()

"""Royalty on real Kafka and PostgreSQL: duplicates, poison, rebalances; and the whole process with its command."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer
from typer.testing import CliRunner

from services.royalty.cli import app as command
from services.royalty.offsets import StoredOffsets
from services.royalty.store import open_first_period
from services.royalty.worker import UsageWorker
from shared.database import Database, every, one
from shared.events import AccessState, RoyaltyBooked, UsageState, read_event
from shared.events.topics import ACCESS, ROYALTIES, USAGE
from shared.ids import digest_of
from shared.kafka import Record, connection
from shared.kafka.consuming import GroupConsumer
from shared.kafka.deadletters import KafkaDeadLetters
from shared.kafka.producer import SteadyProducer
from shared.outbox import Relay
from tests.royalty_builders import NOON, a_usage, split


@pytest.fixture(scope="module")
async def ledger(stack) -> AsyncIterator[Database]:
    database = Database(stack.database_for("royalty_worker"), "royalty")
    await database.open()
    await open_first_period(database, "2026-11", time_zone="UTC")
    yield database
    await database.close()


@pytest.fixture(scope="module")
async def producer(stack) -> AsyncIterator[SteadyProducer]:
    producer = SteadyProducer(stack.kafka_settings)
    yield producer
    await producer.stop()


@pytest.fixture
def name() -> str:
    return uuid4().hex[:10]


def usage_of(name: str, use: int, revision: int = 1, **changed: Any) -> UsageState:
    shares = split(**{f"talent:t-{name}": 6_667, f"agency:a-{name}": 3_333})
    own = {"use_id": f"use-{name}-{use}", "brand_id": f"b-{name}", "license_id": f"license-{name}", "split": shares}
    return a_usage(revision, **(own | changed))


async def publish(producer: SteadyProducer, usages: Sequence[UsageState]) -> None:
    await producer.send_all([(USAGE.name, each.message_key().encode(), each.encode(), ()) for each in usages])


@asynccontextmanager
async def a_worker(stack: Any, ledger: Database, producer: SteadyProducer) -> AsyncIterator[None]:
    """A royalty worker with its relay, as the process runs them."""
    relay = Relay(ledger, stack.kafka_settings, topics=(ROYALTIES,))
    offsets = StoredOffsets(ledger)
    worker = UsageWorker(offsets, KafkaDeadLetters(producer, "royalty"), booked=relay.wake)
    consumer = GroupConsumer(
        stack.kafka_settings, group="royalty", topics=[USAGE.name], stored_offsets=offsets.read, batch_max=20
    )
    tasks = [asyncio.create_task(consumer.run(worker.handle)), asyncio.create_task(relay.run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(happened: Callable[[], Awaitable[bool]], *, within_s: float = 45.0) -> None:
    async with asyncio.timeout(within_s):
        while not await happened():
            await asyncio.sleep(0.1)


async def everything_in(stack: Any, topic: str) -> list[Record]:
    """Every record of a topic."""
    consumer = AIOKafkaConsumer(topic, **connection(stack.kafka_settings), auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        found: list[Record] = []
        while any([await consumer.position(part) < end for part, end in ends.items()]):
            for messages in (await consumer.getmany(timeout_ms=200)).values():
                found += map(Record.of, messages)
        return found
    finally:
        await consumer.stop()


async def end_offsets(stack: Any) -> dict[int, int]:
    consumer = AIOKafkaConsumer(USAGE.name, **connection(stack.kafka_settings))
    await consumer.start()
    try:
        return {part.partition: end for part, end in (await consumer.end_offsets(list(consumer.assignment()))).items()}
    finally:
        await consumer.stop()


async def caught_up(stack: Any, ledger: Database) -> bool:
    async with ledger.transaction() as open_:
        rows = await every(open_, "select partition, next_offset from offsets where topic = %s", (USAGE.name,))
    stored = {row["partition"]: row["next_offset"] for row in rows}
    return all(stored.get(partition, 0) >= end for partition, end in (await end_offsets(stack)).items())


async def account(ledger: Database, name: str) -> dict[str, tuple[int, int]]:
    """Per ledger account of this test: the number of entries, and what they add up to."""
    async with ledger.transaction() as open_:
        rows = await every(
            open_,
            "select ledger_account, count(*) as entries, sum(minor)::bigint as total from entries"
            " where transaction_id in (select transaction_id from transactions where license_id = %s)"
            " group by ledger_account",
            (f"license-{name}",),
        )
    return {row["ledger_account"].replace(f"-{name}", ""): (row["entries"], row["total"]) for row in rows}


async def test_duplicates_and_poison_leave_a_balanced_ledger_and_offsets_past_them(stack, ledger, producer, name):
    first = [usage_of(name, use) for use in range(60)]
    second = [usage_of(name, use, 2, status="void") for use in range(0, 60, 6)]
    await publish(producer, [*first, *first[::2]])
    await producer.send(USAGE.name, key=f"use-{name}-0".encode(), value=b'{"specversion": "1.0"')
    await producer.send(USAGE.name, key=f"use-{name}-7".encode(), value=None)
    await publish(producer, [*second, *first[::3]])
    await publish(producer, [usage_of(name, 99, fee=10**30), usage_of(name, 100, livemode=False)])
    async with a_worker(stack, ledger, producer):
        await until(lambda: caught_up(stack, ledger))
        await until(lambda: all_published(ledger))

    # Of 100.00 the talent gets 66.67; ten of sixty fees were taken back.
    expected = {
        "receivable:brand:b": (70, 50 * 10_000),
        "payable:talent:t": (70, -50 * 6_667),
        "payable:agency:a": (70, -50 * 3_333),
    }
    assert await account(ledger, name) == expected
    letters = [each for each in await everything_in(stack, USAGE.dead_letters) if name in (each.key or b"").decode()]
    assert sorted((letter.key or b"").decode().removeprefix(f"use-{name}-") for letter in letters) == ["0", "7", "99"]
    assert {letter.headers["consumer"] for letter in letters} == {b"royalty"}
    events = [read_event(each.topic, each.key, each.value) for each in await everything_in(stack, ROYALTIES.name)]
    ours = [each for each in events if isinstance(each, RoyaltyBooked) and each.license_id == f"license-{name}"]
    assert len({each.transaction_id for each in ours}) == 70

    # A new process finds nothing to do, and makes no dead letter again.
    await publish(producer, [usage_of(name, 101)])
    async with a_worker(stack, ledger, producer):
        await until(lambda: caught_up(stack, ledger))
    assert (await account(ledger, name))["receivable:brand:b"] == (71, 51 * 10_000)
    again = [each for each in await everything_in(stack, USAGE.dead_letters) if name in (each.key or b"").decode()]
    assert len(again) == 3


async def all_published(ledger: Database) -> bool:
    async with ledger.transaction() as open_:
        return await one(open_, "select from outbox where sent_at is null limit 1") is None


async def test_workers_that_come_and_go_book_everything_once(stack, ledger, producer, name):
    async def in_pieces() -> None:
        for start in range(0, 600, 20):
            await publish(producer, [usage_of(name, use) for use in range(start, start + 20)])
            await asyncio.sleep(0.05)

    async with a_worker(stack, ledger, producer):
        sending = asyncio.create_task(in_pieces())
        await asyncio.sleep(0.5)
        async with a_worker(stack, ledger, producer):
            await asyncio.sleep(1.5)
        await sending
        await until(lambda: caught_up(stack, ledger))
    assert (await account(ledger, name))["receivable:brand:b"] == (600, 600 * 10_000)


async def test_a_worker_given_up_while_it_joins_leaves_no_member_behind(stack, ledger, producer, name):
    for pause_s in (0.0, 0.02, 0.1, 0.3):
        async with a_worker(stack, ledger, producer):
            await asyncio.sleep(pause_s)
    await publish(producer, [usage_of(name, use) for use in range(24)])
    async with a_worker(stack, ledger, producer):
        # A member left behind would hold its partitions for the session timeout of 10 s, or for ever.
        await until(lambda: caught_up(stack, ledger), within_s=8.0)


async def test_the_whole_process_books_and_tells_and_stops(stack, ledger, producer, name):
    key = f"twk_{uuid4().hex}"
    access = AccessState(
        revision=1, occurred_at=NOON, api_key_id=f"key-{name}", key_hash=digest_of(key.encode()), role="finance"
    )
    await producer.send(ACCESS.name, key=access.message_key().encode(), value=access.encode())
    await publish(producer, [usage_of(name, use, fee=1_999) for use in range(3)])
    environment = stack.env_for("royalty") | {"TWINTALLY_HTTP_PORT": str(a_free_port())}
    url = f"http://127.0.0.1:{environment['TWINTALLY_HTTP_PORT']}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.royalty", env=environment, stdout=asyncio.subprocess.PIPE
    )
    draining = asyncio.create_task(process.stdout.read())
    try:
        async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
            await until(lambda: answers(client, "/health/ready", lambda told: told["access"] == "ok"))
            wanted = f"/v1/statements?payee=talent:t-{name}"
            await until(lambda: answers(client, wanted, lambda told: [each["lines"] for each in told] == [3]))
            assert (await client.get("/v1/ledger/balance")).json()["balanced"] is True
            metrics = (await client.get("/metrics")).text
        assert 'twintally_royalty_postings_total{line="fee"} 3.0' in metrics
        shown = await asyncio.to_thread(run_command, "show", f"talent:t-{name}", "--url", url, "--key", key)
        assert "39.99 EUR" in shown
        listed = await asyncio.to_thread(run_command, "list", "--json", "--url", url, "--key", key)
        (owed,) = [each for each in json.loads(listed) if each["payee"] == f"brand:b-{name}"]
        assert (owed["kind"], owed["total_minor"]) == ("receivable", 3 * 1_999)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 25) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        log = (await draining).decode()
    assert '"event": "usage_booked"' in log
    assert key not in log


async def answers(client: httpx2.AsyncClient, path: str, right: Callable[[Any], bool]) -> bool:
    try:
        answer = await client.get(path)
    except httpx2.TransportError:
        return False
    return answer.status_code == 200 and right(answer.json())


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_command(*words: str) -> str:
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    return result.output

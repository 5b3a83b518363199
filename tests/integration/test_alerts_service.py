"""The running service on real Kafka and PostgreSQL."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from cryptography.fernet import Fernet

from shared.events import AccessState
from shared.events.topics import ACCESS, INFRINGEMENTS
from shared.ids import digest_of
from shared.kafka.client import connection as kafka_connection
from shared.kafka.producer import SteadyProducer
from tests.alerts_house import NOON, Receiver, an_infringement, listening, until


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver()) as found:
        yield found


async def test_the_running_service_takes_duplicates_and_poison_from_kafka(stack: Any, receiver: Receiver) -> None:
    use_id, key, agency = str(uuid4()), f"twk_{uuid4().hex}", f"agency-{uuid4().hex[:8]}"
    producer = SteadyProducer(stack.kafka_settings)
    await _give_key(producer, key, agency)
    async with _service(stack, receiver.port) as base, httpx2.AsyncClient(base_url=base) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        secret = (await client.post("/v1/endpoints", json={"url": receiver.url})).json()["secret"]
        found = an_infringement(use_id, agency_id=agency)
        await producer.send(INFRINGEMENTS.name, key=b"poison", value=b"{")
        began = time.monotonic()
        for _ in range(3):
            await producer.send(INFRINGEMENTS.name, key=use_id.encode(), value=found.encode())
        await until(lambda: receiver.received, within_s=30)
        took_s = time.monotonic() - began
        await asyncio.sleep(1.0)
        assert [payload["data"]["use_id"] for payload in receiver.told(secret)] == [use_id]
        assert [case["use_id"] for case in (await client.get("/v1/cases")).json()["cases"]] == [use_id]
        await until(lambda: _dead_letter(stack))
        assert 'twintally_alerts_deliveries_total{outcome="delivered"} 1.0' in (await client.get("/metrics")).text
        # The consumer may still join its group; once it has, an alert is out within a second.
        assert took_s < 15
        began = time.monotonic()
        again = an_infringement(use_id, 2, agency_id=agency, verdict="out_of_scope")
        await producer.send(INFRINGEMENTS.name, key=use_id.encode(), value=again.encode())
        await until(lambda: len(receiver.received) == 2)
        assert time.monotonic() - began < 1.0
    await producer.stop()


async def _give_key(producer: SteadyProducer, key: str, agency: str) -> None:
    state = AccessState(
        api_key_id=f"key-{agency}", revision=1, occurred_at=NOON, key_hash=digest_of(key.encode()), role="agency",
        tenant_id=agency,
    )  # fmt: skip
    await producer.send(ACCESS.name, key=state.message_key().encode(), value=state.encode())


async def _dead_letter(stack: Any) -> bool:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(**kafka_connection(stack.kafka_settings), enable_auto_commit=False)
    await consumer.start()
    try:
        part = TopicPartition(INFRINGEMENTS.dead_letters, 0)
        return (await consumer.end_offsets([part]))[part] > 0
    finally:
        await consumer.stop()


@asynccontextmanager
async def _service(stack: Any, receiver_port: int) -> AsyncIterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        **os.environ,
        "TWINTALLY_KAFKA": stack.kafka,
        "TWINTALLY_DATABASE_WORKER": stack.database_for("alerts_worker").get_secret_value(),
        "TWINTALLY_DATABASE_API": stack.database_for("alerts_api").get_secret_value(),
        "TWINTALLY_HTTP_PORT": str(port),
        "TWINTALLY_SECRET_KEY": Fernet.generate_key().decode(),
        "TWINTALLY_ALERTS_ALLOWED_ADDRESSES": f"127.0.0.1:{receiver_port}",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.alerts", env=env, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    log = asyncio.create_task(process.stdout.read())
    base = f"http://127.0.0.1:{port}"
    try:
        async with httpx2.AsyncClient(base_url=base, timeout=2) as client:
            await until(lambda: _is_ready(client), within_s=60)
        yield base
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 20)
        text = (await log).decode()
        print(text)
    assert code == 0
    assert f'"alerts_allowed_addresses": "127.0.0.1:{receiver_port}"' in text


async def _is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/health/ready")).status_code == 200
    except httpx2.HTTPError:
        return False


async def test_a_malformed_setting_stops_the_service_with_its_name_and_an_example() -> None:
    env = {
        **os.environ,
        "TWINTALLY_KAFKA": "127.0.0.1:1",
        "TWINTALLY_DATABASE_WORKER": "postgresql:///a",
        "TWINTALLY_DATABASE_API": "postgresql:///a",
        "TWINTALLY_HTTP_PORT": "8000",
        "TWINTALLY_SECRET_KEY": "short",
        "TWINTALLY_ALERTS_ALLOWED_ADDRESSES": "localhost:8098",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.alerts", env=env, stderr=asyncio.subprocess.PIPE
    )
    _, told = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 78
    assert "TWINTALLY_ALERTS_ALLOWED_ADDRESSES" in told.decode()
    assert "example: TWINTALLY_ALERTS_ALLOWED_ADDRESSES=127.0.0.1:8098" in told.decode()
    assert "TWINTALLY_SECRET_KEY" in told.decode()
    assert "short" not in told.decode()

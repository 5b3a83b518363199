"""A trace on real Kafka and PostgreSQL, and a collector that is away."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest

from shared.database import Database
from shared.events.topics import CONSENTS, PARTIES
from shared.kafka import Record
from shared.outbox import Relay, ensure_state
from tests.builders import a_consent
from tests.conftest import Parts
from tests.streams import read_all
from tests.unit.test_tracing import Spans, handed_on_by

TRACEPARENT = "traceparent"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """Tracing into memory."""
    from shared import tracing

    spans = Spans()
    monkeypatch.setattr(tracing._Tracing, "tracer", spans.tracer)
    return spans


@pytest.fixture(params=["refuses", "never answers"])
def dead_collector(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a collector that takes no spans."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "never answers":
            listener.listen(128)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def told(database: Database, consent_id: str) -> None:
    async with database.transaction() as connection:
        await ensure_state(connection, lambda revision: a_consent(revision=revision, consent_id=consent_id))


async def record_of(stack: Parts, topic: str, key: str) -> Record:
    async with asyncio.timeout(30):
        while True:
            for record in await read_all(stack.kafka_settings, topic):
                if record.key == key.encode():
                    return record
            await asyncio.sleep(0.1)


async def test_an_event_takes_its_trace_through_the_outbox(stack: Parts, spans: Spans) -> None:
    database = Database(stack.database_for("matching_worker"), "matching")
    await database.open()
    traced, untraced = uuid.uuid4().hex, uuid.uuid4().hex
    relay = asyncio.create_task(Relay(database, stack.kafka_settings, topics=(CONSENTS,)).run())
    try:
        with spans.tracer.start_as_current_span("work"):
            await told(database, traced)
        await told(database, untraced)
        headers = (await record_of(stack, CONSENTS.name, traced)).headers
        assert (await record_of(stack, CONSENTS.name, untraced)).headers == {}
    finally:
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        await database.close()
    [work] = [span for span in spans.ended if span.name == "work"]
    assert headers == {TRACEPARENT: handed_on_by(work).encode()}


async def test_a_collector_that_is_away_holds_no_request_no_event_and_no_stop(
    stack: Parts, dead_collector: str
) -> None:
    headers = {"Authorization": f"Bearer {await asyncio.to_thread(key_of, stack)}"}
    async with registry(stack, dead_collector) as client:
        # More spans than the queue keeps.
        began = time.monotonic()
        for _ in range(20):
            answers = await asyncio.gather(*(client.get("/v1/brands") for _ in range(20)))
            assert {answer.status_code for answer in answers} == {401}
        made = await client.post("/v1/brands", json={"name": "Acme"}, headers=headers)
        assert made.status_code == 201, made.text
        assert time.monotonic() - began < 20
        record = await record_of(stack, PARTIES.name, f"brand:{made.json()['brand_id']}")
        assert TRACEPARENT in record.headers


def test_spans_that_nobody_takes_are_dropped_and_cost_no_work(dead_collector: str) -> None:
    code = f"""
import json, time
from shared import tracing
tracing.configure_tracing("judging", {dead_collector!r})
began = time.monotonic()
for _ in range(6000):
    with tracing._Tracing.tracer.start_as_current_span("work"):
        pass
worked = time.monotonic() - began
tracing.stop_tracing()
print(json.dumps([worked, time.monotonic() - began - worked]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    worked_s, stopped_s = json.loads(done.stdout.splitlines()[-1])
    assert worked_s < 10
    assert stopped_s < 5
    assert "Queue full" in done.stderr


def key_of(stack: Parts) -> str:
    made = subprocess.run(
        [sys.executable, "-m", "infra.cli", "keys", "bootstrap", "--force"],
        env={**os.environ, **stack.env_for("registry"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return next(word for word in made.stdout.split() if word.startswith("twk_"))


@asynccontextmanager
async def registry(stack: Parts, collector: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The registry as a process of its own; it stops in good order."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, **stack.env_for("registry"), "TWINTALLY_HTTP_PORT": str(port)}
    env |= {
        "TWINTALLY_OTLP_ENDPOINT": collector,
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "50",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.registry", env=env, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            async with asyncio.timeout(60):
                while not await is_ready(client):
                    await asyncio.sleep(0.1)
            yield client
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def is_ready(client: httpx2.AsyncClient) -> bool:
    with suppress(httpx2.HTTPError):
        return (await client.get("/health/ready")).status_code == 200
    return False

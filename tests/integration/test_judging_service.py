"""The process as it runs: sightings and lookup data in from Kafka, usage and infringements out to it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.events import (
    AccessState,
    Event,
    InfringementState,
    StateEvent,
    Unreadable,
    UsageState,
    Watermark,
    read_event,
)
from shared.events.topics import CONSENTS, INFRINGEMENTS, LICENSES, PARTIES, USAGE
from shared.ids import digest_of
from shared.kafka import Record, connection
from shared.kafka.lookup import LookupReader
from shared.kafka.producer import SteadyProducer
from tests.builders import an_access
from tests.conftest import Parts
from tests.judging_house import Names

PATIENCE_S = 40


@dataclass
class Judging:
    """A running process, its pages, and the registry and matching that tests play."""

    stack: Parts
    process: asyncio.subprocess.Process
    pages: httpx2.AsyncClient
    producer: SteadyProducer
    published: dict[tuple[str, str], StateEvent]

    async def tell(self, *events: Event) -> None:
        for event in events:
            await self.producer.send(event.topic.name, key=event.message_key().encode(), value=event.encode())

    async def usage_of(self, use_id: str) -> UsageState:
        state = await self._published(USAGE.name, use_id)
        assert isinstance(state, UsageState)
        return state

    async def infringement_of(self, use_id: str) -> InfringementState:
        state = await self._published(INFRINGEMENTS.name, use_id)
        assert isinstance(state, InfringementState)
        return state

    async def _published(self, topic: str, use_id: str) -> StateEvent:
        await until(lambda: (topic, use_id) in self.published)
        return self.published[topic, use_id]

    async def page_of(self, path: str, headers: dict[str, str]) -> Any:
        """A page once there is one: the key and the use come by other partitions than what was waited for before."""
        async with asyncio.timeout(PATIENCE_S):
            while (answer := await self.pages.get(path, headers=headers)).status_code != 200:
                await asyncio.sleep(0.1)
        return answer.json()

    async def learn(self, records: Sequence[Record]) -> None:
        for record in records:
            try:
                event = read_event(record.topic, record.key, record.value)
            except Unreadable:
                # Other tests of the same stack put poison into these topics.
                continue
            assert isinstance(event, StateEvent)
            self.published[record.topic, event.message_key()] = event

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            return await self.process.wait()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(stack: Parts, folder: Path) -> AsyncIterator[Judging]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, **stack.env_for("judging"), "TWINTALLY_HTTP_PORT": str(port)}
    with (folder / "judging.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.judging"),
            env=env,
            stdout=log,
        )
    producer = SteadyProducer(stack.kafka_settings)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as pages:
        judging = Judging(stack, process, pages, producer, {})
        reader = LookupReader(stack.kafka_settings, [USAGE.name, INFRINGEMENTS.name], judging.learn)
        reading = asyncio.create_task(reader.run())
        try:
            await ready(judging)
            yield judging
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await producer.stop()


async def ready(judging: Judging) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while judging.process.returncode is None:
            try:
                if (await judging.pages.get("/health/ready")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError(f"judging left with {judging.process.returncode}")


@asynccontextmanager
async def registry_ticks(judging: Judging) -> AsyncIterator[None]:
    """Registry's watermarks: all that it has told so far is below these offsets."""
    consumer = AIOKafkaConsumer(**connection(judging.stack.kafka_settings))
    await consumer.start()

    async def tick() -> None:
        while True:
            now = datetime.now(UTC)
            topics = [topic.name for topic in (LICENSES, CONSENTS, PARTIES)]
            parts = [TopicPartition(topic, number) for topic in topics for number in range(12)]
            ends: dict[str, dict[int, int]] = {topic: {} for topic in topics}
            for part, end in (await consumer.end_offsets(parts)).items():
                ends[part.topic][part.partition] = end
            revision = int(now.timestamp() * 1000)
            watermark = Watermark(service="registry", revision=revision, occurred_at=now, end_offsets=ends)
            await judging.tell(watermark)
            await asyncio.sleep(0.5)

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        await consumer.stop()


def an_agency_key(names: Names) -> AccessState:
    return an_access(api_key_id=names.key, key_hash=digest_of(f"twk_{names.prefix}".encode()), tenant_id=names.agency)


def forget_unreadable_lookups(stack: Parts) -> None:
    # Other tests of the same stack may have left records in the lookup topics that nobody can read.
    with psycopg.connect(stack.database, autocommit=True) as database:
        database.execute("update judging.unreadable_lookups set dropped_by = 'test'")


async def test_from_sightings_to_usage_and_infringements(stack: Parts, tmp_path: Path) -> None:
    names = Names()
    async with running(stack, tmp_path) as judging:
        forget_unreadable_lookups(stack)
        await judging.tell(names.license(), names.consent(), names.brand("acme"), names.twin_state())
        await judging.tell(names.twin_state(party_id=names.twin_2), an_agency_key(names))
        await judging.tell(names.seen("use1"), names.seen("use2", twin_id=names.twin_2))
        await judging.producer.send("sightings.v1", key=b"poison", value=b"{")
        assert (await judging.usage_of(names.use1)).license_id == names.license_1

        headers = {"Authorization": f"Bearer twk_{names.prefix}"}
        use = await judging.page_of(f"/v1/uses/{names.use2}", headers)
        assert (use["verdict"], use["awaiting_fresh"]) == (None, True)
        assert not (await judging.pages.get("/v1/freshness", headers=headers)).json()["fresh"]
        assert (INFRINGEMENTS.name, names.use2) not in judging.published

        async with registry_ticks(judging):
            infringement = await judging.infringement_of(names.use2)
            assert (infringement.status, infringement.verdict) == ("open", "unlicensed")
            late = names.license(license_id=names.license_2, twin_id=names.twin_2)
            await judging.tell(late, names.consent(consent_id=names.consent_2, twin_id=names.twin_2))
            assert (await judging.usage_of(names.use2)).license_id == names.license_2
            await until(lambda: status_of(judging, names.use2) == "withdrawn")
            use = (await judging.pages.get(f"/v1/uses/{names.use2}", headers=headers)).json()
            assert use["verdict"] == "licensed"
        metrics = (await judging.pages.get("/metrics")).text
        assert 'twintally_judging_dead_letters_total{consumer="judging"} 1.0' in metrics
        assert await judging.stop() == 0


def status_of(judging: Judging, use_id: str) -> str:
    state = judging.published[INFRINGEMENTS.name, use_id]
    assert isinstance(state, InfringementState)
    return state.status


async def test_a_killed_process_goes_on_where_it_was(stack: Parts, tmp_path: Path) -> None:
    names = Names()
    uses = [names.seen(f"use{number}") for number in range(60)]
    async with running(stack, tmp_path) as judging:
        await judging.tell(names.license(), names.consent(), names.brand("acme"), names.twin_state())
        await judging.tell(*uses[:30])
        await judging.usage_of(names.use0)
        judging.process.kill()
        await judging.process.wait()
        await judging.tell(*uses[30:])
    forget_unreadable_lookups(stack)
    async with running(stack, tmp_path) as judging:
        await until(lambda: all((USAGE.name, use.use_id) in judging.published for use in uses))

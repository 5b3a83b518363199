"""The registry as a process on real Kafka and PostgreSQL, and the command that makes its first key."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from typer.testing import CliRunner, Result

from infra.cli import app as twintally
from services.registry.cli import app as keys
from shared.events import AccessState, BrandState, Event, Watermark, read_event
from shared.ids import digest_of
from shared.kafka import Record
from shared.kafka.lookup import LookupReader


def bootstrap(stack: Any, *options: str, database: str | None = None) -> Result:
    address = database or stack.database_for("registry_worker").get_secret_value()
    env = {"TWINTALLY_DATABASE_WORKER": address, "COLUMNS": "200"}
    return CliRunner().invoke(keys, ["bootstrap", *options], env=env)


def test_the_first_key_is_made_once_per_mode_and_others_only_by_force(stack: Any):
    with psycopg.connect(stack.database) as connection:
        connection.execute("update registry.api_keys set status = 'withdrawn' where role = 'operator' and not livemode")
    first = bootstrap(stack, "--sandbox")
    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("twk_")
    assert len(first.stdout.split()) == 1
    again = bootstrap(stack, "--sandbox")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "exists already" in again.stderr
    assert "--force" in again.stderr
    forced = bootstrap(stack, "--sandbox", "--force")
    assert forced.exit_code == 0
    assert forced.stdout != first.stdout


def test_without_an_address_the_key_is_made_in_the_local_stack_that_runs_here(
    stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TWINTALLY_DATABASE_WORKER", raising=False)
    monkeypatch.chdir(tmp_path)
    nowhere = CliRunner().invoke(twintally, ["keys", "bootstrap", "--sandbox", "--force"])
    assert nowhere.exit_code == 2
    assert "TWINTALLY_DATABASE_WORKER" in nowhere.stderr
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "stack").symlink_to(stack.running.directory)
    made = CliRunner().invoke(twintally, ["keys", "bootstrap", "--sandbox", "--force"])
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("twk_")
    assert "in the database at 127.0.0.1:" in made.stderr


def test_a_database_that_cannot_be_used_is_named_with_a_remedy(stack: Any):
    away = bootstrap(stack, database="postgresql://registry_worker@127.0.0.1:1/twintally?connect_timeout=1")
    assert away.exit_code == 1
    assert "TWINTALLY_DATABASE_WORKER" in away.stderr


async def test_the_running_service_publishes_what_it_stored_and_then_the_watermark_that_covers_it(stack: Any):
    made = await asyncio.to_thread(bootstrap, stack, "--force")
    api_key = made.stdout.strip()
    async with _service(stack) as base, httpx2.AsyncClient(base_url=base) as client, _events(stack) as seen:
        client.headers["Authorization"] = f"Bearer {api_key}"
        await _until(lambda: _is_ready(client))
        brand = (await client.post("/v1/brands", json={"name": "Acme"})).json()
        await _until(lambda: _any(seen, BrandState, party_id=brand["brand_id"]))
        await _until(lambda: _any(seen, AccessState, key_hash=digest_of(api_key.encode())))
        told = next(e for e, _ in seen if isinstance(e, BrandState) and e.party_id == brand["brand_id"])
        place = next(r for e, r in seen if e is told)
        await _until(lambda: _covered(seen, told, place))
        assert told.revision == 1
        assert (
            'twintally_registry_changes_total{kind="brand",outcome="made"} 1.0' in (await client.get("/metrics")).text
        )


async def _is_ready(client: httpx2.AsyncClient) -> bool:
    with suppress(httpx2.HTTPError):
        return (await client.get("/health/ready")).status_code == 200
    return False


async def _any(seen: list[tuple[Event, Record]], kind: type[Event], **fields: str) -> bool:
    return any(
        isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
        for event, _ in seen
    )


async def _covered(seen: list[tuple[Event, Record]], event: Event, place: Record) -> bool:
    """A watermark later than the event's row promises offsets beyond it."""
    return any(
        isinstance(each, Watermark)
        and each.service == "registry"
        and each.occurred_at > event.occurred_at
        and each.end_offsets[place.topic][place.partition] > place.offset
        for each, _ in seen
    )


async def _until(true: Callable[[], Awaitable[bool]], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not await true():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def _events(stack: Any) -> AsyncIterator[list[tuple[Event, Record]]]:
    seen: list[tuple[Event, Record]] = []

    async def learn(records: Any) -> None:
        for record in records:
            with suppress(ValueError):
                seen.append((read_event(record.topic, record.key, record.value), record))

    reader = LookupReader(stack.kafka_settings, ["access.v1", "parties.v1", "clock.v1"], learn)
    task = asyncio.create_task(reader.run())
    try:
        yield seen
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _service(stack: Any) -> AsyncIterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, **stack.env_for("registry"), "TWINTALLY_HTTP_PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.registry", env=env, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

"""Two processes of matching on real Kafka and PostgreSQL: a reference before, during and after the post."""

import asyncio
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import psycopg
import pytest

from shared.events import Disclosure, Event, MediaItem, UseSeen, encoded_bytes, read_event
from shared.fingerprints import Fingerprint, Picture, decode, fingerprint_reference
from shared.ids import digest_of
from shared.kafka.producer import SteadyProducer
from tests.builders import a_post, a_published, a_reference
from tests.conftest import Parts
from tests.integration.test_matching_late import other_file, told, with_source_type
from tests.streams import read_all
from tests.system.pictures import cropped, draw, jpeg


class BusyHost:
    """Serves images by name, and asks to come later for those that it does not have yet."""

    def __init__(self) -> None:
        images: dict[str, bytes] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                image = images.get(self.path.strip("/"))
                self.send_response(503 if image is None else 200)
                self.send_header("content-length", str(len(image or b"")))
                self.end_headers()
                self.wfile.write(image or b"")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.images = images


@pytest.fixture
def host() -> Iterator[BusyHost]:
    host = BusyHost()
    thread = threading.Thread(target=host.server.serve_forever, daemon=True)
    thread.start()
    yield host
    host.server.shutdown()
    host.server.server_close()
    thread.join(5)


@asynccontextmanager
async def matching(stack: Parts, host: BusyHost) -> AsyncIterator[httpx2.AsyncClient]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"TWINTALLY_HTTP_PORT": str(port), "TWINTALLY_MEDIA_ALLOWED_ADDRESSES": host.address}
    env = {**os.environ, **stack.env_for("matching"), **own}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.matching", env=env, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(true: Callable[[], Awaitable[bool]], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not await true():
            await asyncio.sleep(0.2)


async def is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/health/ready")).status_code == 200
    except httpx2.HTTPError:
        return False


async def metric(client: httpx2.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@pytest.mark.timeout(180)
async def test_two_workers_find_a_reference_whichever_came_first(stack: Parts, host: BusyHost) -> None:
    name = uuid.uuid4().hex
    original = draw(int(name[:6], 16), (600, 750))
    image = with_source_type(jpeg(cropped(original), quality=70), "trainedAlgorithmicMedia")
    picture = decode(jpeg(original))
    assert isinstance(picture, Picture)
    made = fingerprint_reference(picture)
    assert isinstance(made, Fingerprint)
    state = a_reference(reference_id=f"{name}-ref", twin_id=name, fingerprint=encoded_bytes(made.to_bytes()))
    producer = SteadyProducer(stack.kafka_settings)

    async def tell(event: Event) -> None:
        await producer.send(event.topic.name, key=event.message_key().encode(), value=event.encode())

    async def publish(post: str) -> None:
        url = f"http://{host.address}/{name}-{post}.jpg"
        await tell(a_published(post_id=f"{name}-{post}", post=a_post(media=(MediaItem(url=url),))))

    async def stored(table: str, post: str) -> bool:
        with psycopg.connect(stack.database) as connection:
            found = connection.execute(
                f"select from matching.{table} where post_id = %s", (f"{name}-{post}",)
            ).fetchone()
        return found is not None

    async def uses() -> dict[str, list[UseSeen]]:
        found: dict[str, list[UseSeen]] = {}
        for record in await read_all(stack.kafka_settings, "sightings.v1"):
            # Other tests leave records that nobody can read.
            if name.encode() not in (record.value or b""):
                continue
            use = read_event(record.topic, record.key, record.value)
            if isinstance(use, UseSeen) and use.twin_id == name:
                found.setdefault(use.post_id.removeprefix(f"{name}-"), []).append(use)
        return found

    async def all_used() -> bool:
        return len(await uses()) == 4

    async def kept(post: str) -> bool:
        digest = digest_of(other_file(image, post)).removeprefix("sha256:")
        return (stack.running.directory / "store" / "evidence" / digest[:2] / digest).exists()

    async with AsyncExitStack() as running:
        running.push_async_callback(producer.stop)
        workers = [await running.enter_async_context(matching(stack, host)) for _ in range(2)]
        for worker in workers:
            await until(partial(is_ready, worker))
        for post in ("after", "after-2", "before"):
            host.images[f"{name}-{post}.jpg"] = other_file(image, post)
        for post in ("after", "after-2", "during"):
            await publish(post)
        await until(partial(stored, "media", "after"))
        await until(partial(stored, "media", "after-2"))
        await until(partial(stored, "pending_fetches", "during"))
        before = [await metric(worker, "twintally_matching_index_references") for worker in workers]
        await tell(state)
        for worker, count in zip(workers, before, strict=True):
            await until(partial(_more, worker, count))
        host.images[f"{name}-during.jpg"] = other_file(image, "during")
        await publish("before")
        await until(all_used, within_s=90)
        for post in ("after", "after-2", "during", "before"):
            await until(partial(kept, post))
        worked = [await metric(worker, "twintally_matching_late_matches_total") for worker in workers]
    found = await uses()
    [expected] = found["before"]
    for post, several in found.items():
        [use] = several
        assert told(use) == told(expected), post
        [sighting] = use.versions[0].sightings
        assert sighting.media_digest == digest_of(other_file(image, post))
        assert sighting.disclosure == Disclosure(c2pa="absent", xmp_source_type="trainedAlgorithmicMedia")
    # One worker held the reference against both images, the other against none.
    assert sorted(worked) == [0.0, 2.0]


async def _more(worker: httpx2.AsyncClient, count: float) -> bool:
    return await metric(worker, "twintally_matching_index_references") > count

"""Two processes of matching on real Kafka and PostgreSQL: a reference before, during and after the post."""

import asyncio
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import psycopg
import pytest

from shared.events import Disclosure, Event, MediaItem, UseSeen, read_event
from shared.ids import digest_of
from shared.kafka.producer import SteadyProducer
from tests.builders import a_post, a_published, a_reference
from tests.conftest import Parts
from tests.late_house import fingerprint_of, other_file, told, with_source_type
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


@dataclass(frozen=True)
class Process:
    """A process of matching, and its HTTP port's client."""

    own: asyncio.subprocess.Process
    client: httpx2.AsyncClient

    async def kill(self) -> None:
        """End it with -9."""
        self.own.kill()
        await self.own.wait()


@asynccontextmanager
async def matching(stack: Parts, host: BusyHost, **settings: str) -> AsyncIterator[Process]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"TWINTALLY_HTTP_PORT": str(port), "TWINTALLY_MEDIA_ALLOWED_ADDRESSES": host.address, **settings}
    env = {**os.environ, **stack.env_for("matching"), **own}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.matching", env=env, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield Process(process, client)
        if process.returncode is None:
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


class Scene:
    """One twin with a reference and a published picture of it, in files of the same pixels; names of its own."""

    def __init__(self, stack: Parts, host: BusyHost, producer: SteadyProducer) -> None:
        self.name = uuid.uuid4().hex
        original = draw(int(self.name[:6], 16), (600, 750))
        self._image = with_source_type(jpeg(cropped(original), quality=70), "trainedAlgorithmicMedia")
        print_ = fingerprint_of(jpeg(original))
        self.state = a_reference(reference_id=f"{self.name}-ref", twin_id=self.name, fingerprint=print_)
        self._stack, self._host, self._producer = stack, host, producer

    def image(self, file: str) -> bytes:
        return other_file(self._image, file)

    def show(self, file: str) -> None:
        """The host has this file from now on."""
        self._host.images[f"{self.name}-{file}.jpg"] = self.image(file)

    async def tell(self, event: Event) -> None:
        await self._producer.send(event.topic.name, key=event.message_key().encode(), value=event.encode())

    async def publish(self, post: str, file: str | None = None) -> None:
        url = f"http://{self._host.address}/{self.name}-{file or post}.jpg"
        await self.tell(a_published(post_id=f"{self.name}-{post}", post=a_post(media=(MediaItem(url=url),))))

    async def stored(self, table: str, post: str) -> bool:
        with psycopg.connect(self._stack.database) as connection:
            found = connection.execute(
                f"select from matching.{table} where post_id = %s", (f"{self.name}-{post}",)
            ).fetchone()
        return found is not None

    async def uses(self) -> dict[str, list[UseSeen]]:
        """What lies in sightings.v1 of each post."""
        found: dict[str, list[UseSeen]] = {}
        for record in await read_all(self._stack.kafka_settings, "sightings.v1"):
            # Other tests leave records that nobody can read.
            if self.name.encode() not in (record.value or b""):
                continue
            use = read_event(record.topic, record.key, record.value)
            if isinstance(use, UseSeen) and use.twin_id == self.name:
                found.setdefault(use.post_id.removeprefix(f"{self.name}-"), []).append(use)
        return found

    async def used(self, *posts: str) -> bool:
        return set(posts) <= (await self.uses()).keys()

    async def kept(self, file: str) -> bool:
        """Whether the file is evidence."""
        digest = digest_of(self.image(file)).removeprefix("sha256:")
        return (self._stack.running.directory / "store" / "evidence" / digest[:2] / digest).exists()


@pytest.fixture
async def scene(stack: Parts, host: BusyHost) -> AsyncIterator[Scene]:
    producer = SteadyProducer(stack.kafka_settings)
    yield Scene(stack, host, producer)
    await producer.stop()


@asynccontextmanager
async def two_workers(stack: Parts, host: BusyHost, **settings: str) -> AsyncIterator[list[Process]]:
    """Two processes that have read everything."""
    async with AsyncExitStack() as running:
        workers = [await running.enter_async_context(matching(stack, host, **settings)) for _ in range(2)]
        for worker in workers:
            await until(partial(is_ready, worker.client))
        yield workers


async def learnt_by_all(workers: Sequence[Process], scene: Scene) -> None:
    """Every worker has the reference of the scene in its index."""
    before = [await metric(worker.client, "twintally_matching_index_references") for worker in workers]
    await scene.tell(scene.state)
    for worker, count in zip(workers, before, strict=True):
        await until(partial(_more, worker, count))


@pytest.mark.timeout(180)
async def test_two_workers_find_a_reference_whichever_came_first(stack: Parts, host: BusyHost, scene: Scene) -> None:
    async with two_workers(stack, host) as workers:
        for file in ("after", "after-2", "before"):
            scene.show(file)
        for post in ("after", "after-2", "during"):
            await scene.publish(post)
        await until(partial(scene.stored, "media", "after"))
        await until(partial(scene.stored, "media", "after-2"))
        await until(partial(scene.stored, "pending_fetches", "during"))
        await learnt_by_all(workers, scene)
        scene.show("during")
        await scene.publish("before")
        posts = ("after", "after-2", "during", "before")
        await until(partial(scene.used, *posts), within_s=90)
        for file in posts:
            await until(partial(scene.kept, file))
        worked = [await metric(worker.client, "twintally_matching_late_matches_total") for worker in workers]
    found = await scene.uses()
    [expected] = found["before"]
    for post, several in found.items():
        [use] = several
        assert told(use) == told(expected), post
        [sighting] = use.versions[0].sightings
        assert sighting.media_digest == digest_of(scene.image(post))
        assert sighting.disclosure == Disclosure(c2pa="absent", xmp_source_type="trainedAlgorithmicMedia")
    # One worker held the reference against both images, the other against none.
    assert sorted(worked) == [0.0, 2.0]


@pytest.mark.timeout(240)
async def test_a_worker_that_is_killed_in_the_middle_of_a_claim_loses_and_repeats_nothing(
    stack: Parts, host: BusyHost, scene: Scene
) -> None:
    """It has published the uses of one image, and waits for the row of a post with the next one, when it ends."""
    first, second = ["first-1", "first-2", "first-3"], ["second-1", "second-2"]
    async with two_workers(stack, host, TWINTALLY_LATE_LEASE_S="6") as workers:
        for file, posts in (("first", first), ("second", second)):
            scene.show(file)
            for post in posts:
                await scene.publish(post, file)
            for post in posts:
                await until(partial(scene.stored, "media", post))
        with psycopg.connect(stack.database) as holding:
            holding.execute("select from matching.posts where post_id = %s for update", (f"{scene.name}-{second[1]}",))
            await learnt_by_all(workers, scene)
            holder = await until_one(workers, "twintally_matching_late_matches_total")
            await until(partial(_in_hand, stack, scene, "second"))
            await holder.kill()
        assert await claimed(stack, scene) == 1
        [other] = [worker for worker in workers if worker is not holder]
        await until(partial(scene.used, *first, *second))
        await until(partial(_none_claimed, stack, scene))
        # The stream's partitions of the one that was killed come to the other when its session has ended.
        scene.show("before")
        await scene.publish("before")
        await until(partial(scene.used, "before"), within_s=90)
        # It went on with the image that was in hand.
        assert await metric(other.client, "twintally_matching_late_matches_total") == 1.0
    found = await scene.uses()
    [expected, *_] = found["before"]
    assert sorted(found) == sorted([*first, *second, "before"])
    for post, several in found.items():
        # A relay that was killed may send the same event again; it is the same state.
        assert {use.revision for use in several} == {1}
        assert len({use.event_id() for use in several}) == 1
        assert told(several[0]) == told(expected), post


async def _more(worker: Process, count: float) -> bool:
    return await metric(worker.client, "twintally_matching_index_references") > count


async def _in_hand(stack: Parts, scene: Scene, file: str) -> bool:
    """Whether a late search has come to this image."""
    with psycopg.connect(stack.database) as connection:
        found = connection.execute(
            "select from matching.late_searches join matching.queries on number = next_number"
            " where claim is not null and media_digest = %s",
            (digest_of(scene.image(file)),),
        ).fetchone()
    return found is not None


async def until_one(workers: Sequence[Process], name: str, within_s: float = 30.0) -> Process:
    """The first worker whose metric is not 0 any more."""
    async with asyncio.timeout(within_s):
        while True:
            for worker in workers:
                if await metric(worker.client, name):
                    return worker
            await asyncio.sleep(0.1)


async def claimed(stack: Parts, scene: Scene) -> int:
    """How many late searches of the reference are claimed."""
    with psycopg.connect(stack.database) as connection:
        row = connection.execute(
            "select count(claim) from matching.late_searches where reference_id = %s", (scene.state.reference_id,)
        ).fetchone()
    assert row is not None
    return int(row[0])


async def _none_claimed(stack: Parts, scene: Scene) -> bool:
    return await claimed(stack, scene) == 0

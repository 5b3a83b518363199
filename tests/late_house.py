"""Two workers of one process on real PostgreSQL, each with an index of its own, which learns when the test says so."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from PIL import Image

from services.matching.additions import Knowledge
from services.matching.disclosure import Disclosures
from services.matching.handlers import on_facts
from services.matching.late import LateSearches
from services.matching.late_store import LateStore
from services.matching.looking import search_image
from services.matching.media import Later, MediaOutcome
from services.matching.recognition import ReferenceIndex
from services.matching.references import LiveReferences
from services.matching.store import MatchingStore
from shared.database import Database, every
from shared.events import (
    MediaItem,
    PostContent,
    PostFact,
    PostPublished,
    ReferenceState,
    UseSeen,
    encoded_bytes,
    read_event,
)
from shared.fingerprints import Fingerprint, Picture, decode, fingerprint_reference
from shared.kafka import Record
from shared.outbox import Relay
from tests.builders import a_post, a_published, a_reference
from tests.conftest import Parts
from tests.system.pictures import cropped, draw, jpeg

FIELDS_OF_ITS_OWN = {"use_id", "post_id", "revision"}


def fingerprint_of(image: bytes) -> str:
    picture = decode(image)
    assert isinstance(picture, Picture)
    made = fingerprint_reference(picture)
    assert isinstance(made, Fingerprint)
    return encoded_bytes(made.to_bytes())


class Worker:
    """One matching worker: its own index, its share of the common tables; images come from a dictionary."""

    def __init__(
        self, database: Database, stack: Parts, executor: ThreadPoolExecutor, images: dict[str, bytes]
    ) -> None:
        self.index, self.knowledge = ReferenceIndex(), Knowledge()
        self.references = LiveReferences(self.index, database, executor, self.knowledge)
        self.store = MatchingStore(database, attempts_max=3, knowledge=self.knowledge)
        self.late = LateStore(database)
        self.searches_with = partial(
            LateSearches,
            self.late,
            self.store,
            self.index,
            self.knowledge,
            Relay(database, stack.kafka_settings, topics=()),
            executor,
            index_whole=asyncio.Event().wait,
            query_days=14,
        )
        self.searches = self.searches_with()
        self.images = images
        self.gate: asyncio.Event | None = None
        self.slow = False
        self.chance = random.Random(0)

    async def learn(self, state: ReferenceState) -> None:
        """The worker reads a record of references.v1."""
        await self.references.learn([Record("references.v1", 0, 0, state.reference_id.encode(), state.encode())])

    async def forget(self, state: ReferenceState) -> None:
        """The worker reads a tombstone."""
        await self.references.learn([Record("references.v1", 0, 0, state.reference_id.encode(), None)])

    async def start(self, *states: ReferenceState) -> None:
        """The worker reads references.v1 whole, where these lie."""
        await self.references.begin()
        for state in states:
            await self.learn(state)
        await self.whole()

    async def whole(self) -> None:
        """The worker has read references.v1 to its end."""
        await self.references.until_whole(partial(asyncio.sleep, 0))

    async def see(self, *facts: PostFact) -> None:
        """The worker takes facts of posts."""
        await on_facts(facts, self.store, self, deadline_s=1.0)

    async def look(self, url: str, *, livemode: bool, deadline_s: float) -> MediaOutcome:
        if self.slow:
            return Later("no answer within 1 s")
        outcome = search_image(self.images[url], self.index, livemode, Disclosures(), self.knowledge.now())
        await asyncio.sleep(self.chance.random() * 0.1)
        if self.gate is not None:
            await self.gate.wait()
        return outcome

    async def look_at_upload(self, platform: str, sha256: str, *, livemode: bool) -> Any:
        raise AssertionError("no uploads here")

    async def work(self) -> int:
        """Work the claims that there are; how many."""
        done = 0
        while await self.searches.work_one_claim():
            done += 1
        return done


class House:
    """Two workers, a picture, and names of its own."""

    def __init__(self, database: Database, stack: Parts, executor: ThreadPoolExecutor) -> None:
        self.database = database
        self.name = uuid.uuid4().hex
        seed = int(self.name[:6], 16)
        self.original = draw(seed, (400, 500))
        self.image = jpeg(cropped(self.original), quality=70)
        self.url = f"https://images.example/{self.name}.jpg"
        self.images = {self.url: self.image}
        self._worker = partial(Worker, database, stack, executor, self.images)
        self.workers = [self.another_worker() for _ in range(2)]
        self.fingerprint = fingerprint_of(jpeg(self.original))

    def another_worker(self) -> Worker:
        """A process that starts, with an empty index."""
        return self._worker()

    def reference(self, name: str = "ref", **changes: Any) -> ReferenceState:
        made = {"reference_id": f"{self.name}-{name}", "twin_id": f"{self.name}-twin", "fingerprint": self.fingerprint}
        return a_reference(**{**made, **changes})

    def publish(self, original: Image.Image, share: float) -> PostContent:
        """A post with an image of its own, cropped from a picture."""
        url = f"https://images.example/{self.name}-{len(self.images)}.jpg"
        self.images[url] = jpeg(cropped(original, share), quality=70)
        return a_post(media=(MediaItem(url=url),))

    def post(self, name: str = "post", **changes: Any) -> PostPublished:
        content = a_post(media=(MediaItem(url=self.url),))
        return a_published(**{"post_id": f"{self.name}-{name}", "post": content, **changes})

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        async with self.database.transaction() as connection:
            return await every(connection, query, arguments)

    async def additions(self) -> list[tuple[str, int]]:
        """References that may be found, by their names here, with their revisions."""
        rows = await self.rows(
            "select reference_id, revision from reference_owners where addition is not null order by 1"
        )
        return [(row["reference_id"].removeprefix(f"{self.name}-"), row["revision"]) for row in rows]

    async def later(self) -> None:
        """Pauses and leases of late searches are over."""
        await self.rows("update late_searches set leased_until = now() - interval '1 second' returning job")

    async def uses(self, name: str = "post") -> list[UseSeen]:
        """Each state of the post's uses, as they were published."""
        rows = await self.rows("select message_key, value from outbox where topic = 'sightings.v1' order by position")
        states = [read_event("sightings.v1", row["message_key"].encode(), bytes(row["value"])) for row in rows]
        return [use for use in states if isinstance(use, UseSeen) and use.post_id == f"{self.name}-{name}"]


@asynccontextmanager
async def a_late_house(stack: Parts) -> AsyncIterator[House]:
    """A house in which no earlier test has left anything."""
    database = Database(stack.database_for("matching_worker"), "matching")
    await database.open()
    with ThreadPoolExecutor(2) as executor:
        async with database.transaction() as connection:
            # What earlier tests left: the indexes of these workers do not know their references.
            await connection.execute("delete from late_searches")
            await connection.execute("delete from queries")
            await connection.execute("update reference_owners set addition = null")
        yield House(database, stack, executor)
    await database.close()


def told(use: UseSeen) -> dict[str, Any]:
    """What a use says, but for the names that each test gives its posts and references."""
    whole = use.model_dump(mode="json", exclude=FIELDS_OF_ITS_OWN)
    for version in whole["versions"]:
        del version["event_id"]
        for sighting in version["sightings"]:
            del sighting["sighting_id"], sighting["media_digest"], sighting["media_url"]
    return whole


def other_file(image: bytes, comment: str) -> bytes:
    """A JPEG of the same pixels and another digest."""
    told = comment.encode()
    return image[:2] + b"\xff\xfe" + (len(told) + 2).to_bytes(2, "big") + told + image[2:]


def with_source_type(image: bytes, term: str) -> bytes:
    """A JPEG whose XMP has IPTC's DigitalSourceType."""
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/{term}"/></rdf:RDF></x:xmpmeta>'
    )
    segment = b"http://ns.adobe.com/xap/1.0/\0" + packet.encode()
    return image[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + image[2:]

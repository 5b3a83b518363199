"""Judging on a real database: what tests of its store share."""

import json
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from services.judging.freshness import Freshness
from services.judging.handlers import on_sightings
from services.judging.lookups import AccusationStop, Lookups
from services.judging.publishing import Conclusion
from services.judging.store import JudgingStore
from services.judging.worker import JudgingAgain
from shared.database import Database, every
from shared.events import (
    BrandState,
    ConsentState,
    Event,
    LicenseState,
    SocialAccount,
    StateEvent,
    TwinState,
    UseSeen,
    Watermark,
)
from shared.kafka import Record
from shared.kafka.lookup import learning
from tests.builders import NOON, a_brand, a_consent, a_license, a_twin, a_use_seen
from tests.conftest import Parts


class WholeReader:
    """A reader that has always learnt everything."""

    def caught_up(self, within_s: float) -> bool:
        return True

    def has_learnt(self, end_offsets: Any) -> bool:
        return True


def a_fresh_one() -> Freshness:
    freshness = Freshness(lambda: NOON)
    freshness.follow(WholeReader())
    freshness.learn(Watermark(service="registry", revision=1, occurred_at=NOON, end_offsets={}))
    return freshness


def a_record(event: Event, offset: int = 0) -> Record:
    return Record(event.topic.name, 0, offset, event.message_key().encode(), event.encode())


@dataclass(frozen=True)
class Names:
    """Names of one test only, so that tests share a schema and not their uses."""

    prefix: str = field(default_factory=lambda: uuid4().hex[:12])

    def __getattr__(self, name: str) -> str:
        if name.startswith("_"):
            raise AttributeError(name)
        return f"{self.prefix}-{name}"

    def seen(self, use: str = "use1", **changes: Any) -> UseSeen:
        named = {"use_id": f"{self.prefix}-{use}", "post_id": f"{self.prefix}-post", "twin_id": self.twin}
        seen = a_use_seen(**{**named, **changes})
        versions = tuple(
            version.model_copy(update={"account": self.account(version.account)}) for version in seen.versions
        )
        return seen.model_copy(update={"versions": versions})

    def account(self, name: str) -> str:
        return name if name.startswith(self.prefix) else f"{self.prefix}-{name}"

    def license(self, **changes: Any) -> LicenseState:
        named = {"license_id": self.license_1, "twin_id": self.twin, "brand_id": self.brand_1, "agency_id": self.agency}
        return a_license(**{**named, "talent_id": self.talent, **changes})

    def consent(self, **changes: Any) -> ConsentState:
        return a_consent(**{"consent_id": self.consent_1, "twin_id": self.twin, **changes})

    def brand(self, *accounts: str, **changes: Any) -> BrandState:
        confirmed = tuple(SocialAccount(platform="instagram", account=self.account(name)) for name in accounts)
        return a_brand(**{"party_id": self.brand_1, "accounts": confirmed, **changes})

    def twin_state(self, **changes: Any) -> TwinState:
        return a_twin(**{"party_id": self.twin, "agency_id": self.agency, "talent_id": self.talent, **changes})


class KeptLetters:
    """Dead letters in a list."""

    def __init__(self) -> None:
        self.kept: list[Record] = []

    async def keep(self, record: Record, *, error: BaseException, attempts: int) -> None:
        self.kept.append(record)


class House:
    """One judging process on a database, driven by hand; `fresh` says what its reader would say."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = JudgingStore(database)
        self.lookups = Lookups(database, a_fresh_one(), bulk_from=3)
        self.letters = KeptLetters()
        self.learn = learning(self.lookups.learn, AccusationStop(database, self.letters))
        self.fresh = True
        self.again = JudgingAgain(self.store, self.is_fresh, batch_max=5, judged=lambda: None)

    def is_fresh(self) -> bool:
        return self.fresh

    async def see(self, *sightings: UseSeen) -> list[Conclusion]:
        return await on_sightings(sightings, self.store, self.is_fresh)

    async def know(self, *states: StateEvent) -> None:
        await self.learn([a_record(state) for state in states])

    async def settle(self) -> None:
        while await self.again.once():
            pass

    async def published(self, names: Names) -> dict[str, dict[str, Any]]:
        """What is published of the uses of these names in the end, by topic and use.

        Revisions are left out, and names; a void usage equals none, a withdrawn infringement equals none.
        """
        async with self.database.transaction() as connection:
            rows = await every(
                connection,
                "select distinct on (topic, message_key) topic, message_key, value from outbox"
                " where message_key like %s order by topic, message_key, position desc",
                (f"{names.prefix}-%",),
            )
        found: dict[str, dict[str, Any]] = {}
        for row in rows:
            text = bytes(row["value"]).decode().replace(names.prefix, "NAME")
            envelope = {name: told for name, told in json.loads(text).items() if name not in {"id", "revision"}}
            if envelope["data"]["status"] not in {"void", "withdrawn"}:
                found[f"{row['topic']} {row['message_key'].removeprefix(names.prefix)}"] = envelope
        return found

    async def statuses(self, names: Names) -> dict[str, str]:
        """The statuses of all published revisions, by topic, of a test with one use."""
        async with self.database.transaction() as connection:
            rows = await every(
                connection,
                "select topic, value from outbox where message_key like %s order by position",
                (f"{names.prefix}-%",),
            )
        told: dict[str, list[str]] = {}
        for row in rows:
            told.setdefault(row["topic"], []).append(json.loads(bytes(row["value"]))["data"]["status"])
        return {topic: " ".join(statuses) for topic, statuses in told.items()}


@asynccontextmanager
async def a_house(stack: Parts) -> AsyncIterator[House]:
    database = Database(stack.database_for("judging_worker"), "judging")
    await database.open()
    try:
        yield House(database)
    finally:
        await database.close()


def in_batches(chance: random.Random, things: Iterable[Event]) -> list[Sequence[Event]]:
    rest, batches = list(things), []
    while rest:
        size = chance.randint(1, 4)
        batches.append(rest[:size])
        rest = rest[size:]
    return batches

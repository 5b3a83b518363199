"""What came of it, held against what must be true: facts, sightings, verdicts, usage, cases, ledger."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from infra.demo import watching
from infra.demo.compare import differences, name_of
from infra.demo.outcome import Outcome
from infra.demo.truth import Truth
from infra.exporter.broker import Broker
from shared.events import StateEvent, UsageState, UseSeen, read_event
from shared.events.topics import (
    CASES,
    CONSENTS,
    INFRINGEMENTS,
    LICENSES,
    PARTIES,
    POSTS,
    REFERENCES,
    SIGHTINGS,
    USAGE,
)
from shared.kafka import Record
from shared.settings import KafkaSettings
from tests.chaos.arena import Arena
from tests.chaos.logs import STAGES
from tests.chaos.people import Ledger
from tests.chaos.tale import Post
from tests.streams import read_all

SHOWN_MAX = 30
STATES = (SIGHTINGS, USAGE, INFRINGEMENTS, CASES, LICENSES, CONSENTS, PARTIES, REFERENCES)


@dataclass
class Findings:
    """Everything that differs from the truth, by kind."""

    lost: list[str] = field(default_factory=list)
    billed_twice: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.lost, *self.billed_twice, *self.differing]


def settled(arena: Arena) -> str | None:
    """What is still under way; None when nothing is."""
    with psycopg.connect(arena.stack.database, connect_timeout=5) as connection:
        for schema in ("registry", "matching", "judging", "alerts", "royalty"):
            if _number(connection, f"select count(*) from {schema}.outbox where sent_at is null"):
                return f"{schema} has events to publish"
        for what in ("matching.pending_fetches", "judging.to_judge"):
            if _number(connection, f"select count(*) from {what}"):
                return f"{what} is not empty"
    # What a killed worker had not confirmed comes back when its session is over: the end is after that.
    lag = asyncio.run(_lag(KafkaSettings(kafka=arena.stack.kafka)))
    return f"{lag} records are unconfirmed" if lag else None


async def _lag(kafka: KafkaSettings) -> int:
    broker = Broker(kafka, {stage: (topic,) for stage, topic in STAGES.items()}, ())
    try:
        return sum(each.lag for each in (await broker.look()).progress)
    finally:
        await broker.close()


def find(arena: Arena, ledger: Ledger, *, still: str | None = None) -> Findings:
    """Read everything once and compare; `still`: what has not come to an end."""
    kafka = KafkaSettings(kafka=arena.stack.kafka)
    findings = Findings()
    facts, states = asyncio.run(_topics(kafka, findings))
    sightings, usage = states[SIGHTINGS.name], states[USAGE.name]
    findings.lost += _lost(arena, ledger, facts)
    findings.differing += [f"never ended: {still}"] if still else []
    nothing = Outcome(now=arena.now)
    found = watching.read_outcome(arena.house, _truth(arena, ledger, nothing), Counter(), nothing)
    findings.differing += differences(_truth(arena, ledger, found), found)
    findings.differing += _sightings(arena, ledger, sightings)
    findings.differing += _usages(arena, ledger, usage)
    findings.billed_twice += _billed(arena, ledger)
    return findings


def _truth(arena: Arena, ledger: Ledger, found: Outcome) -> Truth:
    """The counters of processes that were killed say nothing: facts and images are compared elsewhere."""
    return Truth(
        now=arena.now,
        cast=arena.cast,
        sendings=(),
        uses=tuple(use for post in ledger.posts for use in post.uses),
        accepted=found.accepted,
        duplicates=found.duplicates,
        media={},
    )


async def _topics(kafka: KafkaSettings, findings: Findings) -> tuple[set[str], dict[str, dict[str, Any]]]:
    """The ids of all facts; the newest state of every key, by topic."""
    facts = {str(read_event(each.topic, each.key, each.value).event_id()) for each in await read_all(kafka, POSTS.name)}
    return facts, {topic.name: _newest(await read_all(kafka, topic.name), findings) for topic in STATES}


def _newest(records: Sequence[Record], findings: Findings) -> dict[str, Any]:
    """The newest state of every key; that a lower revision is the last record of a key is a finding."""
    newest: dict[str, StateEvent] = {}
    last: dict[str, int] = {}
    for record in records:
        state = read_event(record.topic, record.key, record.value)
        assert isinstance(state, StateEvent)
        key = state.message_key()
        last[key] = state.revision
        if key not in newest or newest[key].revision < state.revision:
            newest[key] = state
    findings.differing += [
        f"{newest[key].topic.name} {key}: revision {revision} is the last record, {newest[key].revision} the newest"
        for key, revision in last.items()
        if revision < newest[key].revision
    ]
    return newest


def _lost(arena: Arena, ledger: Ledger, in_topic: set[str]) -> Iterator[str]:
    with psycopg.connect(arena.stack.database) as connection:
        stored = {str(row[0]) for row in connection.execute("select event_id from matching.facts")}
    for post in ledger.posts:
        for fact in post.facts:
            event_id = ledger.event_ids.get(fact)
            if event_id is None:
                yield f"{fact.kind} of {fact.post}: never accepted"
            elif event_id not in in_topic:
                yield f"{fact.kind} of {fact.post}: accepted, and not in posts.v1"
            elif event_id not in stored:
                yield f"{fact.kind} of {fact.post}: accepted, and not known to matching"
    sent = set(ledger.event_ids.values())
    for name, found in (("posts.v1", in_topic), ("matching", stored)):
        yield from (f"{event_id}: in {name}, and never accepted" for event_id in sorted(found - sent))


def _by_name(arena: Arena, states: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{state.platform}/{state.post_id}/{arena.house.name_of(state.twin_id)}": state for state in states.values()
    }


def _sightings(arena: Arena, ledger: Ledger, states: Mapping[str, UseSeen]) -> Iterator[str]:
    digest_of = _digests(arena.published)
    found = _by_name(arena, states)
    expected = {name: shown for post in ledger.posts for name, shown in _shown(post).items()}
    for name in sorted(found.keys() - expected.keys()):
        yield f"sightings of {name}: none expected"
    for name, versions in expected.items():
        state = found.get(name)
        seen = [] if state is None else [_seen(version) for version in state.versions]
        wanted = [(each.shown_from, {digest_of[picture] for picture in each.pictures}) for each in versions]
        if seen != wanted:
            yield f"sightings of {name}: {len(wanted)} versions expected, {seen} found"


def _seen(version: Any) -> tuple[Any, set[str]]:
    return version.shown_from, {sighting.media_digest for sighting in version.sightings}


def _shown(post: Post) -> dict[str, Any]:
    return {name_of(use): post.shown[use.twin] for use in post.uses}


def _usages(arena: Arena, ledger: Ledger, states: Mapping[str, UsageState]) -> Iterator[str]:
    found = {name: state for name, state in _by_name(arena, states).items() if state.status == "active"}
    expected = {name_of(use): use for post in ledger.posts for use in post.uses if use.last.license}
    for name in sorted(found.keys() ^ expected.keys()):
        yield f"usage of {name}: {'expected, none' if name in expected else 'none expected, one'} found"
    for name in found.keys() & expected.keys():
        license = arena.house.name_of(found[name].license_id)
        if license != expected[name].last.license or (found[name].ended_at is not None) != expected[name].ended:
            yield f"usage of {name}: of {license}, ended {found[name].ended_at}: not as expected"


def _billed(arena: Arena, ledger: Ledger) -> Iterator[str]:
    """The net of every use in the ledger: its fee once, or nothing."""
    with psycopg.connect(arena.stack.database) as connection:
        rows = connection.execute(
            "select platform, post_id, twin_id, sum(minor) filter (where kind = 'receivable')"
            " from royalty.transactions join royalty.entries using (transaction_id) group by 1, 2, 3"
        ).fetchall()
    found = {f"{row[0]}/{row[1]}/{arena.house.name_of(row[2])}": int(row[3]) for row in rows}
    for post in ledger.posts:
        for use in post.uses:
            fee = arena.cast.license_of(use.last.license).fee_minor if use.last.license else 0
            if found.get(name_of(use), 0) > fee:
                yield f"{name_of(use)}: {fee} expected, {found[name_of(use)]} billed"


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in folder.iterdir()}


def _number(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0

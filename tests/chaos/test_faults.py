"""The world fails while posts stream in: connections are late, cut, frozen, refused. The services recover alone."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from rich.console import Console

from infra.local.services import SERVICES as SERVICE_TABLE
from tests.chaos.arena import SERVICES, Arena, arena_in
from tests.chaos.people import Ledger, Platforms, changes, until_done
from tests.chaos.play import FOLDER, settle
from tests.chaos.tale import Teller

ONE_OF_EACH = tuple(SERVICE_TABLE[name] for name in SERVICES)
READY_S = 60.0
# Longer than every client's timeout: aiokafka gives a batch up after 30 s.
OUTAGE_S = 60.0
TICKS_PER_S = 100
WITH_DATABASE = SERVICES
READS_KAFKA = ("intake", "matching", "judging", "alerts", "royalty")


@dataclass
class Flow:
    """Posts that stream in, and what intake answered so far."""

    arena: Arena
    ledger: Ledger
    platforms: Platforms

    def answers(self, name: str) -> int:
        return self.ledger.answers.get(name, 0)


@pytest.fixture
def flow(request: pytest.FixtureRequest) -> Iterator[Flow]:
    folder = FOLDER / "faults" / str(request.node.name)[:60]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with arena_in(folder, ONE_OF_EACH, doors=True) as arena:
        ledger = Ledger()
        posts = Teller(arena.cast, arena.now, seed=13).posts()
        platforms = Platforms(arena, posts, ledger, per_s=2.0, seed=13)
        platforms.start()
        try:
            yield Flow(arena, ledger, platforms)
        finally:
            platforms.finish()


def ends_well(flow: Flow) -> None:
    """Everything that was sent is there once, and nobody had to be started again."""
    wait_until(lambda: all(ready(flow.arena, name) for name in SERVICES), READY_S)
    flow.platforms.finish()
    findings = settle(flow.arena, flow.ledger, Console())
    assert restarts(flow.arena) == dict.fromkeys(SERVICES, 0)
    assert not [*flow.ledger.problems, *findings.all]
    assert len(flow.ledger.posts) > 20


def ready(arena: Arena, service: str) -> bool:
    return health(arena, service)[0] == 200


def health(arena: Arena, service: str) -> tuple[int, dict[str, Any]]:
    try:
        answer = httpx2.get(f"{arena.stack.url(service)}/health/ready", timeout=3)
    except httpx2.HTTPError:
        return 0, {}
    return answer.status_code, answer.json()


def wait_until(what: Callable[[], bool], within_s: float) -> None:
    until = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until, f"not within {within_s:g} s"
        time.sleep(0.3)


def cpu_s(arena: Arena, service: str) -> float:
    """Processor seconds of the service's process so far."""
    fields = Path(f"/proc/{arena.stack.part(service).pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def restarts(arena: Arena) -> dict[str, int]:
    return {name: arena.stack.part(name).restarts for name in SERVICES}


@pytest.mark.timeout(400)
def test_the_broker_is_away_for_a_minute_in_full_flow(flow: Flow) -> None:
    """Faults A and B of aiokafka: nothing is lost, intake says 503 and accepts again alone, nobody burns a core."""
    arena, door = flow.arena, flow.arena.doors["kafka"]
    wait_until(lambda: flow.answers("accepted") > 10, 60)
    for change in changes(arena):
        until_done(arena, change)
    door.shut()
    began, used = time.monotonic(), {name: cpu_s(arena, name) for name in SERVICES}
    wait_until(lambda: all(not ready(arena, name) for name in READS_KAFKA), 30)
    time.sleep(max(0.0, OUTAGE_S - (time.monotonic() - began)))
    burnt = {name: (cpu_s(arena, name) - used[name]) / (time.monotonic() - began) for name in SERVICES}
    assert flow.answers("503") > 0
    accepted = flow.answers("accepted")
    door.open()
    wait_until(lambda: flow.answers("accepted") > accepted + 5, READY_S)
    assert {name: share for name, share in burnt.items() if share > 0.35} == {}
    ends_well(flow)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_connection_is_late_reset_frozen_and_refused_in_turn(flow: Flow) -> None:
    arena = flow.arena
    wait_until(lambda: flow.answers("accepted") > 10, 60)
    due = changes(arena)
    for name, door in arena.doors.items():
        door.slow()
        time.sleep(6)
        door.open()
        for _ in range(3):
            door.slam()
            time.sleep(1.5)
        door.freeze()
        time.sleep(9)
        if name == "postgres":
            assert_said(arena, WITH_DATABASE, "database", "does not answer")
        door.open()
        time.sleep(2)
        door.shut()
        time.sleep(14)
        if name == "kafka":
            assert_said(arena, READS_KAFKA, "access", "is Kafka reachable?")
        if name == "valkey":
            # Without marks a repeat passes, and nothing is refused.
            assert ready(arena, "intake")
        door.open()
        wait_until(lambda: all(ready(arena, each) for each in SERVICES), READY_S)
        if due:
            until_done(arena, due.pop(0))
    for change in due:
        until_done(arena, change)
    ends_well(flow)


def assert_said(arena: Arena, services: tuple[str, ...], check: str, words: str) -> None:
    """Each service says in its readiness what is away."""
    told = {name: health(arena, name) for name in services}
    assert all(status == 503 and words in checks[check] for status, checks in told.values()), told

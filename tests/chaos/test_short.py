"""Two of every service in full flow: side by side, handed over in order, then killed (long: `make test-chaos`)."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console

from infra.demo.cast import REFERENCES_PER_TWIN
from infra.demo.house import House
from shared.events.topics import REFERENCES
from shared.settings import KafkaSettings
from tests.chaos.arena import Arena
from tests.chaos.logs import STAGES, LogWatch
from tests.chaos.play import FOLDER, Plan, Report, play, tell
from tests.chaos.tale import TWINS
from tests.streams import read_all

KILLS = 28
SIDE_BY_SIDE_S = 15.0
WAIT_S = 60.0
BOTH = tuple(name for stage in STAGES for name in (stage, f"{stage}-2"))


@dataclass
class Beginning:
    """What was seen before the first kill."""

    indexed: list[float] = field(default_factory=list)
    partitions: set[int] = field(default_factory=set)
    batches: dict[str, list[int]] = field(default_factory=dict)
    twice_side_by_side: dict[str, int] = field(default_factory=dict)
    twice_after_handover: dict[str, int] = field(default_factory=dict)
    alerts_told: int = 0
    alerts_told_twice: int = 0

    def see(self, arena: Arena, watch: LogWatch) -> None:
        """Two of each side by side for a while; then the second of each stage is handed over by SIGTERM."""
        time.sleep(SIDE_BY_SIDE_S)
        wait_until(lambda: all(watch.batches.get(name) for name in BOTH) and alerts_of(arena)["alerts"])
        found = asyncio.run(read_all(KafkaSettings(kafka=arena.stack.kafka), REFERENCES.name))
        self.partitions = {record.partition for record in found}
        self.indexed = [index_of(house) for house in (arena.house, arena.house_of_seconds)]
        self.batches = {name: list(sizes) for name, sizes in watch.batches.items()}
        self.twice_side_by_side = watch.handled_twice()
        told = alerts_of(arena)
        self.alerts_told, self.alerts_told_twice = len(told["alerts"]), told["repeated"]
        for stage in STAGES:
            arena.stack.restart(f"{stage}-2")
        # Until each has its partitions again: what the handing over repeats has been repeated by then.
        known = {name: len(watch.batches[name]) for name in BOTH}
        wait_until(lambda: all(len(watch.batches[name]) > known[name] for name in BOTH))
        self.twice_after_handover = watch.handled_twice()


def wait_until(what: Callable[[], Any]) -> None:
    """Or not: what it waits for is asserted by the tests."""
    until = time.monotonic() + WAIT_S
    while not what() and time.monotonic() < until:
        time.sleep(0.3)


def alerts_of(arena: Arena) -> dict[str, Any]:
    told: dict[str, Any] = arena.house.http.get(f"{arena.house.control_url}/alerts").json()
    return told


def index_of(house: House) -> float:
    return sum(house.metric("matching", "twintally_matching_index_references").values())


@pytest.fixture(scope="module")
def played() -> tuple[Beginning, Report]:
    seed = int(os.environ.get("TWINTALLY_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    console, beginning = Console(width=160), Beginning()
    report = play(Plan(seed, KILLS), FOLDER / "short", console, beginning.see)
    report.save(FOLDER / "short" / "report.json")
    tell(report, console)
    return beginning, report


@pytest.mark.timeout(600)
def test_both_processes_of_every_stage_work(played: tuple[Beginning, Report]) -> None:
    batches = played[0].batches
    assert all(batches.get(name) for name in BOTH), batches


def test_both_matching_workers_know_every_reference(played: tuple[Beginning, Report]) -> None:
    assert played[0].partitions == set(range(12))
    assert played[0].indexed == [len(TWINS) * REFERENCES_PER_TWIN] * 2


def test_side_by_side_no_attempt_is_made_twice(played: tuple[Beginning, Report]) -> None:
    assert played[0].alerts_told > 0
    assert played[0].alerts_told_twice == 0


def test_a_handover_repeats_no_more_than_the_batches_in_hand(played: tuple[Beginning, Report]) -> None:
    beginning = played[0]
    repeated = {stage: beginning.twice_after_handover[stage] - beginning.twice_side_by_side[stage] for stage in STAGES}
    largest = {
        stage: max(size for name in (stage, f"{stage}-2") for size in beginning.batches.get(name, [0]))
        for stage in STAGES
    }
    # The one who leaves and the one who stays each had a batch in hand when the partitions were dealt again, twice:
    # once for the leaving and once for the joining.
    assert all(repeated[stage] <= 4 * largest[stage] for stage in STAGES), (repeated, largest)


def test_nothing_is_lost_and_nothing_billed_twice_while_everything_is_killed(played: tuple[Beginning, Report]) -> None:
    assert not played[1].problems()

"""Killed with -9 at the worst moments, one after the other, while posts stream in; each is named in `cut.py`."""

import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from infra.local.services import Service
from tests.chaos.arena import SERVICES, Arena, arena_in
from tests.chaos.cut import ARMED, MOMENTS, Moment, mark_of
from tests.chaos.findings import Findings
from tests.chaos.people import Ledger, Platforms, changes, until_done
from tests.chaos.play import FOLDER, settle
from tests.chaos.tale import Teller

SEED = 11
WITHIN_S = 150.0


@dataclass(frozen=True)
class Cut:
    """What came of it."""

    marks: Path
    ledger: Ledger
    findings: Findings
    restarts: dict[str, int]


@pytest.fixture(scope="module")
def played() -> Iterator[Cut]:
    """One process of each service, that dies at each of its moments once."""
    folder = FOLDER / "moments"
    shutil.rmtree(folder, ignore_errors=True)
    marks = folder / "marks"
    marks.mkdir(parents=True)
    services = tuple(
        Service(name, (sys.executable, "-m", "tests.chaos.cut", name, str(marks.absolute()))) for name in SERVICES
    )
    with arena_in(folder, services) as arena:
        ledger = Ledger()
        posts = Teller(arena.cast, arena.now, SEED).posts()
        platforms = Platforms(arena, posts, ledger, per_s=3.0, seed=SEED)
        (marks / ARMED).touch()
        platforms.start()
        try:
            for change in changes(arena):
                until_done(arena, change)
            wait_for_all(marks)
        finally:
            platforms.finish()
        findings = settle(arena, ledger, Console())
        yield Cut(marks, ledger, findings, restarts_of(arena))


def wait_for_all(marks: Path) -> None:
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until and not all(mark_of(marks, moment).exists() for moment in MOMENTS):
        time.sleep(0.2)


def restarts_of(arena: Arena) -> dict[str, int]:
    return {name: arena.stack.part(name).restarts for name in SERVICES}


@pytest.mark.timeout(420)
@pytest.mark.parametrize("moment", MOMENTS, ids=[moment.name for moment in MOMENTS])
def test_a_process_was_killed_at_this_moment(played: Cut, moment: Moment) -> None:
    assert mark_of(played.marks, moment).exists()


def test_every_kill_was_one_of_these(played: Cut) -> None:
    assert played.restarts == {name: sum(each.service == name for each in MOMENTS) for name in SERVICES}


def test_and_all_of_it_ended_as_if_nobody_had_been_killed(played: Cut) -> None:
    assert not played.ledger.problems
    assert len(played.ledger.posts) > 10
    assert not played.findings.all

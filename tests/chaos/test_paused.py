"""A process that sleeps beyond its session, and wakes when its work went to another (SIGSTOP, then SIGCONT)."""

import shutil
import time
from collections.abc import Iterable

import pytest
from rich.console import Console

from tests.chaos.arena import Arena, arena_in
from tests.chaos.holding import in_hand
from tests.chaos.logs import STAGES, LogWatch
from tests.chaos.people import Ledger, Platforms, changes, until_done
from tests.chaos.play import FOLDER, settle
from tests.chaos.tale import Teller

SEED = 12
WARM_UP_S = 8.0
# Longer than a session of ours (10 s) and than a transaction may idle (15 s).
WORKERS_SLEEP_S = 22.0
# Longer than the connection that holds a relay's lock may idle (30 s).
RELAYS_SLEEP_S = 38.0


@pytest.mark.long
@pytest.mark.timeout(480)
def test_who_wakes_after_its_work_went_to_another_does_no_harm() -> None:
    folder = FOLDER / "paused"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with arena_in(folder) as arena:
        ledger, watch = Ledger(), LogWatch(arena.stack.directory / "logs")
        watch.start(arena.workers)
        posts = Teller(arena.cast, arena.now, SEED).posts()
        platforms = Platforms(arena, posts, ledger, per_s=3.0, seed=SEED)
        platforms.start()
        due = changes(arena)
        try:
            # Until something of every kind is on its way.
            time.sleep(WARM_UP_S)
            asleep = pause_with_a_batch_in_hand(arena, watch)
            time.sleep(WORKERS_SLEEP_S)
            wake(arena, asleep.values())
            until_done(arena, due.pop(0))
            relays = pause_relays_in_a_batch(arena, watch)
            for change in due:
                until_done(arena, change)
            time.sleep(RELAYS_SLEEP_S)
            took_over = {service: watch.relays[service] for service in relays}
            wake(arena, relays.values())
            time.sleep(3.0)
        finally:
            platforms.finish()
        findings = settle(arena, ledger, Console())
        watch.stop()
        restarts = {name: arena.stack.part(name).restarts for name in arena.workers}
    assert set(asleep) == set(STAGES), "no batch was in hand at every stage"
    assert all(took_over[service] != relay for service, relay in relays.items())
    assert all(count > 0 for count in watch.handled_twice().values()), watch.handled_twice()
    assert not [*ledger.problems, *findings.all]
    slept = {*asleep.values(), *relays.values()}
    assert {name: restarts[name] for name in slept} == dict.fromkeys(slept, 0), "who woke died of it"


def pause_with_a_batch_in_hand(arena: Arena, watch: LogWatch) -> dict[str, str]:
    """A worker of every stage sleeps inside its transaction; by stage.

    From the last stage on: a process that sleeps may be the one that publishes for the next.
    """
    asleep = {}
    for stage in reversed(STAGES):
        with in_hand(arena, watch, stage) as holder:
            if holder is not None:
                arena.stack.pause(holder)
                asleep[stage] = holder
    return asleep


def pause_relays_in_a_batch(arena: Arena, watch: LogWatch) -> dict[str, str]:
    """The relays of four services sleep with events that the broker has not acknowledged; by service."""
    relays = {service: watch.relays[service] for service in ("registry", "matching", "judging", "royalty")}
    with arena.stack.paused("kafka"):
        time.sleep(1.5)
        for relay in relays.values():
            arena.stack.pause(relay)
    return relays


def wake(arena: Arena, names: Iterable[str]) -> None:
    for name in names:
        arena.stack.resume(name)

"""The machine fails while posts stream in: a disk is full, a clock jumps by an hour. All goes on alone afterwards.

The full disks are real (a tmpfs each, so their tests need root); a clock is wrong for one process at a time, the
database keeps the right one. docs/runbook.md argues what no test can play.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from infra.local.postgres import Postgres
from infra.local.services import Service
from shared.settings import KafkaSettings
from tests.chaos.arena import SERVICES, Arena, arena_in
from tests.chaos.findings import find, settled
from tests.chaos.logs import STAGES
from tests.chaos.own_clock import RIGHT, set_clock
from tests.chaos.people import Ledger, Platforms, changes, until_done
from tests.chaos.play import FOLDER, PROJECT
from tests.chaos.small_disk import NotMounted, SmallDisk, small_disk
from tests.chaos.tale import Teller
from tests.chaos.test_faults import health, ready, wait_until
from tests.streams import read_all

SEED = 17
# Kafka refuses records that claim to be over an hour from now, so a little more than an hour.
JUMP_S = 3_660.0
DISKS_MB = {"store": 64, "postgres": 400, "kafka": 400}
PATIENCE_S = 60.0
SETTLE_S = 120.0


@dataclass
class Machine:
    """The house with its disks and clocks, and posts that stream in."""

    arena: Arena
    ledger: Ledger
    platforms: Platforms
    disks: dict[str, SmallDisk]
    without_disks: str

    def disk(self, part: str) -> SmallDisk:
        """The disk of this part; without any the test is skipped, and says what it needs."""
        if self.without_disks:
            pytest.skip(self.without_disks)
        return self.disks[part]

    def answers(self, name: str) -> int:
        return self.ledger.answers.get(name, 0)

    def log_of(self, service: str) -> str:
        return (self.arena.stack.directory / "logs" / f"{service}.log").read_text(errors="replace")

    def metric(self, service: str, name: str) -> float:
        return sum(self.arena.house.metric(service, f"twintally_{service}_{name}").values())

    def set_clocks(self, *services: str, ahead_s: float) -> None:
        for service in services:
            set_clock(clock_of(self.arena.stack.directory.parent, service), ahead_s)

    def goes_on(self) -> None:
        """Everybody is ready, and posts are taken in and matched, without anybody's help."""
        wait_until(lambda: all(ready(self.arena, name) for name in SERVICES), PATIENCE_S)
        accepted, worked = self.answers("accepted"), self.metric("matching", "facts_total")
        wait_until(lambda: self.answers("accepted") > accepted + 2, PATIENCE_S)
        wait_until(lambda: self.metric("matching", "facts_total") > worked, PATIENCE_S)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    folder = FOLDER / "disk-and-clock"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with ExitStack() as until_the_end:
        disks, without_disks = {}, ""
        try:
            for name, place in places(folder.absolute() / "stack").items():
                disks[name] = until_the_end.enter_context(small_disk(place, DISKS_MB[name]))
        except NotMounted as error:
            without_disks = str(error)
        services = tuple(
            Service(name, (sys.executable, "-m", "tests.chaos.own_clock", name, str(clock_of(folder.absolute(), name))))
            for name in SERVICES
        )
        arena = until_the_end.enter_context(arena_in(folder, services))
        ledger = Ledger()
        platforms = Platforms(arena, Teller(arena.cast, arena.now, SEED).posts(), ledger, per_s=3.0, seed=SEED)
        platforms.start()
        until_the_end.callback(platforms.finish)
        for change in changes(arena):
            until_done(arena, change)
        yield Machine(arena, ledger, platforms, disks, without_disks)


def places(stack: Path) -> dict[str, Path]:
    """Where a stack in this folder keeps what may fill a disk."""
    database = Postgres(stack / "postgres", port=0)
    return {"store": stack / "store", "postgres": database.home, "kafka": stack / "kafka" / "data"}


def clock_of(folder: Path, service: str) -> Path:
    return folder / f"{service}.clock"


@pytest.mark.timeout(400)
def test_while_the_store_is_full_intake_says_503_and_keeps_nothing_half_and_matching_waits(machine: Machine) -> None:
    disk = machine.disk("store")
    wait_until(lambda: machine.answers("accepted") > 3, PATIENCE_S)
    # What is accepted meanwhile shows pictures of which nothing is kept yet.
    machine.arena.stack.pause("matching")
    accepted = machine.answers("accepted")
    wait_until(lambda: machine.answers("accepted") > accepted + 8, PATIENCE_S)
    disk.fill()
    refused = machine.answers("503")
    wait_until(lambda: machine.answers("503") > refused + 3, PATIENCE_S)
    accepted = machine.answers("accepted")
    machine.arena.stack.resume("matching")
    wait_until(lambda: "No space left on device" in machine.log_of("matching"), PATIENCE_S)
    wait_until(lambda: machine.answers("503") > refused + 10, PATIENCE_S)
    assert machine.answers("accepted") == accepted
    files = [each for each in disk.folder.rglob("*") if each.is_file()]
    assert [each for each in files if each.stat().st_size == 0 or "#" in each.name] == []
    disk.free()
    machine.goes_on()


@pytest.mark.timeout(300)
def test_while_the_database_is_full_workers_wait_and_intake_goes_on(machine: Machine) -> None:
    disk = machine.disk("postgres")
    disk.fill()
    wait_until(lambda: any("DiskFull" in machine.log_of(name) for name in STAGES), PATIENCE_S)
    accepted = machine.answers("accepted")
    wait_until(lambda: machine.answers("accepted") > accepted + 5, PATIENCE_S)
    disk.free()
    machine.goes_on()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_while_the_brokers_disk_is_full_it_stops_and_intake_says_503(machine: Machine) -> None:
    disk = machine.disk("kafka")
    wait_until(lambda: machine.answers("accepted") > 10, PATIENCE_S)
    disk.fill()
    wait_until(lambda: machine.arena.stack.part("kafka").restarts > 0, 2 * PATIENCE_S)
    refused = machine.answers("503")
    wait_until(lambda: machine.answers("503") > refused + 3, PATIENCE_S)
    disk.free()
    machine.arena.stack.wait_ready("kafka", 2 * PATIENCE_S)
    machine.goes_on()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ahead_s", [JUMP_S, -JUMP_S], ids=["ahead", "behind"])
def test_while_intakes_clock_is_wrong_it_takes_nothing_in(machine: Machine, ahead_s: float) -> None:
    refused = machine.answers("401")
    machine.set_clocks("intake", ahead_s=ahead_s)
    wait_until(lambda: machine.answers("401") > refused + 2, PATIENCE_S)
    assert machine.arena.house.metric("intake", "twintally_intake_webhooks_total")['{status="401"}'] > 2
    machine.set_clocks("intake", ahead_s=RIGHT)
    machine.goes_on()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("ahead_s", "told"), [(JUMP_S, "s old; is registry running?"), (-JUMP_S, "s ahead of this one")]
)
def test_while_judgings_clock_is_wrong_nobody_is_accused(machine: Machine, ahead_s: float, told: str) -> None:
    machine.set_clocks("judging", ahead_s=ahead_s)
    wait_until(lambda: machine.metric("judging", "lookups_fresh") == 0, PATIENCE_S)
    assert told in machine.arena.house.call("judging", "GET", "/v1/freshness")["problem"]
    published = infringements_of(machine.arena)
    judged = machine.metric("judging", "verdicts_total")
    wait_until(lambda: machine.metric("judging", "verdicts_total") > judged + 3, PATIENCE_S)
    assert infringements_of(machine.arena) == published
    machine.set_clocks("judging", ahead_s=RIGHT)
    wait_until(lambda: machine.metric("judging", "lookups_fresh") == 1, PATIENCE_S)


def infringements_of(arena: Arena) -> int:
    with psycopg.connect(arena.stack.database) as connection:
        row = connection.execute("select count(*) from judging.outbox where topic = 'infringements.v1'").fetchone()
    return int(row[0]) if row else 0


@pytest.mark.timeout(300)
def test_while_the_others_clocks_are_ahead_their_events_wait_and_behind_they_go_on(machine: Machine) -> None:
    others = ("registry", "matching", "alerts", "royalty")
    machine.set_clocks(*others, ahead_s=JUMP_S)
    # Kafka takes nothing from the future: it stays in the outbox.
    wait_until(lambda: "InvalidTimestamp" in machine.log_of("matching"), PATIENCE_S)
    wait_until(lambda: machine.metric("matching", "outbox_unsent") > 0, PATIENCE_S)
    # No watermark comes either, and the dates that registry would set are known to be wrong.
    wait_until(lambda: machine.metric("judging", "lookups_fresh") == 0, PATIENCE_S)
    assert "s ahead of the database's" in health(machine.arena, "registry")[1]["clock"]
    machine.set_clocks(*others, ahead_s=-JUMP_S)
    booked = machine.metric("royalty", "postings_total")
    wait_until(lambda: machine.metric("judging", "lookups_fresh") == 1, PATIENCE_S)
    wait_until(lambda: machine.metric("royalty", "postings_total") > booked, PATIENCE_S)
    machine.set_clocks(*others, ahead_s=RIGHT)
    machine.goes_on()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("run", ["short", pytest.param("long", marks=pytest.mark.long)])
def test_and_nothing_was_lost_billed_twice_or_told_wrongly(machine: Machine, run: str) -> None:
    machine.platforms.finish()
    assert not machine.ledger.problems
    assert settle(machine) == []
    topics = [f"{topic}.dlq" for topic in STAGES.values()]
    kafka = KafkaSettings(kafka=machine.arena.stack.kafka)
    assert [each for topic in topics for each in asyncio.run(read_all(kafka, topic))] == []


def settle(machine: Machine) -> list[str]:
    """What differs in the end; that agencies refused what was signed by a wrong clock does not count."""
    until = time.monotonic() + SETTLE_S
    while True:
        wait_no_longer(machine.arena)
        waits = settled(machine.arena)
        found = find(machine.arena, machine.ledger, still=waits).all
        wrong = [each for each in found if not (each.startswith("alerts: ") and each.endswith("did not verify"))]
        if not wrong or time.monotonic() > until:
            return wrong
        time.sleep(2.0)


def wait_no_longer(arena: Arena) -> None:
    """What the runbook has an operator do when something waits for a moment which a wrong clock has set."""
    fences = (PROJECT / "docs" / "runbook.md").read_text().split("```sql")[1:]
    statements = next(one.partition("```")[0] for one in fences if "alerts.deliveries" in one.partition("```")[0])
    with psycopg.connect(arena.stack.database) as connection:
        connection.execute(statements.encode())

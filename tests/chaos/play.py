"""Plays posts while everything is killed, and proves that nothing was lost and nothing billed twice.

`python -m tests.chaos.play --kills 1000 --seed 7` writes `var/chaos/report.json`; logs stay under `var/chaos/`.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos.arena import Arena, arena_in, commit_of
from tests.chaos.findings import SHOWN_MAX, Findings, find, settled
from tests.chaos.logs import LogWatch
from tests.chaos.monkey import Monkey, all_killed
from tests.chaos.people import Ledger, Platforms, changes, until_done
from tests.chaos.tale import Teller

PROJECT = Path(__file__).parent.parent.parent
FOLDER = PROJECT / "var" / "chaos"
SETTLE_S = 240.0
CALM_S = 3.0
MOVES_SHOWN_MAX = 60
HIT_AGAIN_MAX = 3


@dataclass(frozen=True)
class Plan:
    """How much, and from which seed."""

    seed: int
    kills: int
    posts_per_s: float = 4.0
    pause_s: float = 1.5


@dataclass
class Report:
    """What is written for people and for the record."""

    plan: Plan
    commit: str
    kills: Counter[str]
    moves: list[str]
    handled_twice: dict[str, int]
    findings: Findings
    ledger: Ledger
    warnings: Counter[str]
    seconds: float

    def problems(self) -> list[str]:
        """Why the run proves nothing, or proves the contrary; empty when all is well."""
        found = [*self.findings.all, *self.ledger.problems]
        found += [
            f"no kill made a record be handled twice in {stage}"
            for stage, count in self.handled_twice.items()
            if not count
        ]
        if not all_killed(self.kills):
            found.append(f"not every service was killed: {dict(self.kills)}")
        if self.kills_of_services < self.plan.kills:
            found.append(f"{self.plan.kills} kills were planned, {self.kills_of_services} made")
        return found

    @property
    def kills_of_services(self) -> int:
        """Kills that hit a living process of a service."""
        return self.kills.total() - self.kills["kafka"]

    def save(self, path: Path) -> None:
        """As JSON."""
        told = {
            "commit": self.commit,
            "seed": self.plan.seed,
            "posts": len(self.ledger.posts),
            "facts": len(self.ledger.event_ids),
            "uses": sum(len(post.uses) for post in self.ledger.posts),
            "answers": self.ledger.answers,
            "kills": dict(sorted(self.kills.items())),
            "kills_of_services": self.kills_of_services,
            "handled_twice": self.handled_twice,
            "lost": len(self.findings.lost),
            "billed_twice": len(self.findings.billed_twice),
            "differing": len(self.findings.differing),
            "problems": self.problems()[:200],
            "warnings": dict(self.warnings.most_common(60)),
            "moves": self.moves,
            "seconds": round(self.seconds, 1),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def play(plan: Plan, folder: Path, console: Console, first: Callable[[Arena, LogWatch], None] | None = None) -> Report:
    """One run; its logs stay in `folder`. `first` is done in full flow, before the first kill."""
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    console.print(f"seed {plan.seed}, {plan.kills} kills; logs in {folder}", highlight=False, soft_wrap=True)
    with arena_in(folder) as arena:
        ledger, watch = Ledger(), LogWatch(arena.stack.directory / "logs")
        watch.start(arena.workers)
        posts = Teller(arena.cast, arena.now, plan.seed).posts()
        platforms = Platforms(arena, posts, ledger, per_s=plan.posts_per_s, seed=plan.seed)
        monkey = Monkey(arena, watch, plan.seed)
        platforms.start()
        try:
            if first is not None:
                first(arena, watch)
            _kill(arena, monkey, plan, console)
        finally:
            platforms.finish()
        findings = settle(arena, ledger, console)
        watch.stop()
    return Report(
        plan=plan,
        commit=commit_of(PROJECT),
        kills=monkey.kills,
        moves=monkey.done,
        handled_twice=watch.handled_twice_by_kills(),
        findings=findings,
        ledger=ledger,
        warnings=watch.lines,
        seconds=time.monotonic() - began,
    )


def _kill(arena: Arena, monkey: Monkey, plan: Plan, console: Console) -> None:
    """Make every move; in between people change their minds."""
    chance, moves = random.Random(plan.seed), monkey.plan(plan.kills)
    # All minds are changed in the first four fifths, so that kills follow the last change too.
    due = changes(arena)
    places = sorted(chance.sample(range(int(len(moves) * 0.8)), len(due)))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("moves", total=len(moves))
        for number, move in enumerate(monkey.until(plan.kills, moves)):
            while places and places[0] == number:
                places.pop(0)
                until_done(arena, due.pop(0))
            monkey.move(move)
            progress.update(task, advance=1, description=move)
            time.sleep(plan.pause_s * chance.uniform(0.3, 1.7))
    # A kill may find a batch that was confirmed in this moment: a stage in which nothing came twice is hit again.
    for _ in range(HIT_AGAIN_MAX):
        for stage in [stage for stage, count in monkey.watch.handled_twice_by_kills().items() if not count]:
            monkey.move(f"kill in hand {stage}")
            time.sleep(plan.pause_s)


def settle(arena: Arena, ledger: Ledger, console: Console) -> Findings:
    """Until nothing differs and nothing is under way, or the time is over."""
    for name in (*arena.workers, "kafka", "postgres", "valkey"):
        arena.stack.wait_ready(name, 120)
    until = time.monotonic() + SETTLE_S
    while True:
        waits = settled(arena)
        findings = Findings() if waits else find(arena, ledger)
        if not waits and not findings.all:
            return findings
        if time.monotonic() > until:
            return find(arena, ledger, still=waits)
        console.print(f"waiting: {waits or f'{len(findings.all)} differences'}", highlight=False, soft_wrap=True)
        time.sleep(CALM_S)


def tell(report: Report, console: Console) -> None:
    """For people: what was done and what came of it; how to do it again when it failed."""
    uses = sum(len(post.uses) for post in report.ledger.posts)
    console.print(
        f"{len(report.ledger.posts)} posts, {len(report.ledger.event_ids)} facts, {uses} uses;"
        f" {report.kills.total()} kills {dict(sorted(report.kills.items()))}; handled twice {report.handled_twice}",
        highlight=False,
        soft_wrap=True,
    )
    problems = report.problems()
    for problem in problems[:SHOWN_MAX]:
        console.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
    if problems:
        moves = ", ".join(report.moves) if len(report.moves) <= MOVES_SHOWN_MAX else "in the report"
        console.print(
            f"{len(problems)} problems. Again: python -m tests.chaos.play --seed {report.plan.seed} --kills"
            f" {report.plan.kills}; the moves were: {moves}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def main() -> int:
    """Play from the command line."""
    parser = argparse.ArgumentParser(description="kill everything while posts stream in; nothing may be lost")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--pause-s", type=float, default=1.5)
    parser.add_argument("--posts-per-s", type=float, default=4.0)
    asked = parser.parse_args()
    console = Console()
    # Ended from outside, it stops what it started.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    plan = Plan(asked.seed, asked.kills, posts_per_s=asked.posts_per_s, pause_s=asked.pause_s)
    report = play(plan, FOLDER / "long", console)
    report.save(FOLDER / "report.json")
    tell(report, console)
    return 1 if report.problems() else 0


if __name__ == "__main__":
    raise SystemExit(main())

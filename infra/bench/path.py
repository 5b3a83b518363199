"""`python -m infra.bench.path`: what the whole path does, from a signed webhook to the ledger and the agency.

It starts the whole house on parts of its own, plays several phases, prints what they found beside the goals, and
writes var/bench/path.json. Figures of a shared machine are for comparing within a run. docs/bench.md says what each
number means and how it is taken.
"""

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import httpx2
import psycopg
import typer
from aiokafka.errors import KafkaError
from rich.console import Console

from infra.bench import flowing, report
from infra.bench.backlog import NotDone
from infra.bench.growing import grow
from infra.bench.playing import Failed, within_s
from infra.bench.rehearsal import Pools, rehearse
from infra.bench.sizes import PHASES, Phase, Sizes
from infra.bench.stage import Bench, Folders, bench_in
from infra.bench.taking_in import take_in
from infra.bench.workers import cost_by_workers
from infra.demo.house import DemoError
from infra.demo.play import Steps
from infra.local.faults import StackError

FOLDER = Path("var/bench")
FAULTS = (Failed, NotDone, DemoError, StackError, OSError, httpx2.HTTPError, psycopg.Error, KafkaError, ValueError)

Found = dict[str, Any]
Play = Callable[[Bench, Pools], Found]
PLAYS: Mapping[Phase, Play] = {
    "idle": lambda bench, _pools: flowing.idle(bench),
    "steady": flowing.steady,
    "saturate": flowing.saturate,
    "workers": cost_by_workers,
    "growth": grow,
    "intake": lambda bench, _pools: take_in(bench),
}


def bench_path(
    references: Annotated[int, typer.Option(min=8, help="registered, four of each twin")] = 2_000,
    pictures: Annotated[int, typer.Option(min=20, help="published ones of 1080 x 1350, shown by turns")] = 400,
    seconds: Annotated[float, typer.Option(min=10, help="of the steady stream")] = 300,
    rate: Annotated[float, typer.Option(min=0.1, help="posts per second of the steady stream")] = 20,
    twin_share: Annotated[float, typer.Option(min=0.05, max=0.9, help="of the pictures show a twin")] = 0.3,
    saturate_posts: Annotated[int, typer.Option(min=20, help="the backlog that is put in at once")] = 3_000,
    growth_posts: Annotated[int, typer.Option(min=20, help="cheap facts, for the memory")] = 50_000,
    growth_image_share: Annotated[
        float, typer.Option(min=0.01, max=1, help="of them are posts with a small picture, the others readings")
    ] = 0.3,
    workers: Annotated[
        str, typer.Option(help="numbers of matching processes, the first one is compared with")
    ] = "1,2,4",
    worker_posts: Annotated[int, typer.Option(min=20, help="the backlog for each of them")] = 1_500,
    rounds: Annotated[int, typer.Option(min=1, help="of intake and a bare endpoint, by turns")] = 7,
    round_s: Annotated[float, typer.Option(min=0.5, help="seconds of each")] = 6,
    connections: Annotated[int, typer.Option(min=1, max=150, help="of the client in them")] = 128,
    phase: Annotated[
        list[str] | None, typer.Option(help=f"only this one (may be repeated): {', '.join(PHASES)}")
    ] = None,
    out: Annotated[Path, typer.Option(help="where the report goes")] = FOLDER / "path.json",
) -> None:
    """Measure the whole path. Exit code 1 when a phase failed; a missed goal is told, and no failure."""
    sizes = Sizes(
        references=references,
        pictures=pictures,
        seconds=seconds,
        per_s=rate,
        twin_share=twin_share,
        saturate_posts=saturate_posts,
        growth_posts=growth_posts,
        growth_image_share=growth_image_share,
        workers=_numbers(workers),
        worker_posts=worker_posts,
        rounds=rounds,
        round_s=round_s,
        connections=connections,
        phases=_phases(phase),
    )
    console = Console()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _give_up)
    try:
        told = play(sizes, Folders(FOLDER), console)
    except FAULTS as fault:
        console.print(f"[red]Nothing could be measured.[/] {fault}", highlight=False, soft_wrap=True)
        console.print(f"What the services said: {Folders(FOLDER).stack / 'logs'}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from fault
    except KeyboardInterrupt as stop:
        console.print("Given up; nothing was left running.")
        raise typer.Exit(130) from stop
    report.write(told, out)
    report.show(told, console)
    console.print(f"Written to {out}", highlight=False)
    raise typer.Exit(1 if told["failed"] else 0)


def play(sizes: Sizes, folders: Folders, console: Console) -> Found:
    """Play all phases; one that fails says why, and the others still report."""
    began = time.monotonic()
    found: Found = {}
    failed: dict[str, str] = {}
    with Steps(console) as steps, bench_in(folders, sizes, steps) as bench:
        if "idle" in sizes.phases:
            _play("idle", bench, Pools((), (), ()), found, failed, console)
        pools = rehearse(bench)
        found["left_out"] = pools.left_out
        for phase in sizes.phases:
            if phase != "idle":
                _play(phase, bench, pools, found, failed, console)
    found["seconds"] = round(time.monotonic() - began, 1)
    return report.report_of(found, failed, sizes)


def _play(phase: Phase, bench: Bench, pools: Pools, found: Found, failed: dict[str, str], console: Console) -> None:
    try:
        # What an earlier phase that failed left to do would be counted for this one.
        bench.lookout.until_done(within_s(0))
        found.update(PLAYS[phase](bench, pools))
    except FAULTS as fault:
        failed[phase] = f"{type(fault).__name__}: {fault}"
        console.print(f"[red]✗[/] {phase}: {failed[phase]}", highlight=False, soft_wrap=True)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(1 <= number <= 12 for number in numbers):
        raise typer.BadParameter(
            f"must be numbers from 1 to 12 with commas between; got {text!r}", param_hint="--workers"
        )
    return numbers


def _phases(wanted: list[str] | None) -> tuple[Phase, ...]:
    unknown = sorted(set(wanted or ()) - set(PHASES))
    if unknown:
        told = f"must be of {', '.join(PHASES)}; got {', '.join(unknown)}"
        raise typer.BadParameter(told, param_hint="--phase")
    return tuple(phase for phase in PHASES if not wanted or phase in wanted)


def _give_up(_number: int, _frame: FrameType | None) -> None:
    # Once is enough: a second signal would interrupt what stops everything.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(bench_path)

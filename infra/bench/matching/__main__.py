"""`python -m infra.bench.matching`: our search beside python-threatexchange's PDQ signal and index.

The same files in one run, one thread each, by turns of a few queries, so that what else the machine does hits both.
Prints images per core-second, where the time goes and what was found; writes var/bench/matching.json.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from infra.bench.matching.pictures import Amounts, Files, drawn, photographed
from infra.bench.matching.report import Side, report_of
from infra.bench.matching.turns import EndedError, Seat

FOLDER = Path("var/bench")
AT_A_TIME = 10
PEER = FOLDER / "peer" / "bin" / "python"


def bench_matching(
    references: Annotated[int, typer.Option(min=2, help="to be registered")] = 2_000,
    queries: Annotated[int, typer.Option(min=10, help="to be searched, one in ten showing a reference")] = 300,
    rounds: Annotated[int, typer.Option(min=1, help="over all queries")] = 3,
    photos: Annotated[
        Path | None, typer.Option(help="a folder of photographs in place of drawn people", exists=True, file_okay=False)
    ] = None,
    peer: Annotated[Path, typer.Option(help="the interpreter that has threatexchange")] = PEER,
    out: Annotated[Path, typer.Option(help="where the report goes")] = FOLDER / "matching.json",
) -> None:
    """Compare, print, write. A missed goal is told, and no failure."""
    console = Console()
    if not peer.exists():
        raise typer.BadParameter(f"{peer} is missing; run `make bench-matching`, which builds it", param_hint="--peer")
    try:
        files = _files(Amounts(references, queries), photos, console)
        with _seats(peer) as (ours, theirs):
            told = _compared(ours, theirs, files, rounds, console)
    except (EndedError, OSError, ValueError) as fault:
        what = f"the searcher `{fault}` ended; its words stand above" if isinstance(fault, EndedError) else str(fault)
        console.print(f"[red]Nothing could be measured:[/] {what}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from fault
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    _show(told, console)
    console.print(f"Written to {out}", highlight=False)


def _files(amounts: Amounts, photos: Path | None, console: Console) -> Files:
    with _bar(console, "making pictures") as step:
        if photos is None:
            return drawn(FOLDER / "matching" / "drawn", amounts, step)
        return photographed(FOLDER / "matching" / "photos", photos, amounts, step)


@contextmanager
def _bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _seats(peer: Path) -> Iterator[tuple[Seat, Seat]]:
    ours = Seat("ours", Path(sys.executable), "infra.bench.matching.ours")
    theirs = Seat("peer", peer, "infra.bench.matching.peer")
    try:
        yield ours, theirs
    finally:
        ours.close()
        theirs.close()


def _compared(ours: Seat, theirs: Seat, files: Files, rounds: int, console: Console) -> dict[str, Any]:
    sides = _registered(ours, theirs, files, console)
    parts = [files.queries[start : start + AT_A_TIME] for start in range(0, len(files.queries), AT_A_TIME)]
    for seat in (ours, theirs):
        seat.search(parts[0])  # warm
    with _bar(console, "searching by turns") as step:
        for number in range(rounds):
            for side in sides:
                side.rounds.append({})
            for place, part in enumerate(parts, start=1):
                for seat, side in zip((ours, theirs), sides, strict=True):
                    side.rounds[-1].update(zip(part, seat.search(part), strict=True))
                step(number * len(parts) + place, rounds * len(parts))
    return report_of(*sides, files.told)


def _registered(ours: Seat, theirs: Seat, files: Files, console: Console) -> tuple[Side, Side]:
    """Both at the same time: how long it takes is not what is compared here."""
    with console.status(f"registering {len(files.references)} references (minutes)"):
        for seat in (ours, theirs):
            seat.begin(register=[str(path) for path in files.references])
        return Side(ours.end()), Side(theirs.end())


def _show(told: dict[str, Any], console: Console) -> None:
    table = Table("per image", "ours, ms", "of those that show nothing", "peer, ms", title=told["pictures"])
    for stage, ms in told["stages"].items():
        table.add_row(stage, f"{ms:.2f}", f"{told['stages_none'].get(stage, 0):.2f}", "")
    for stage, ms in told["peer_stages"].items():
        table.add_row(stage, "", "", f"{ms:.2f}")
    table.add_row("all", f"{told['ours_ms']:.2f}", f"{told['ours_none_ms']:.2f}", f"{told['peer_ms']:.2f}")
    table.add_row("images per core-second", f"{1000 / told['ours_ms']:.1f}", "", f"{1000 / told['peer_ms']:.1f}")
    table.add_row("found, of one in ten", f"{told['recall']:.3f}", "", f"{told['peer_recall']:.3f}")
    table.add_row("false matches", str(told["false_matches"]), "", str(told["peer_false_matches"]))
    console.print(table)
    verdict = "reached" if told["ratio"] >= told["goal"] else "missed"
    console.print(f"ratio {told['ratio']:.2f} (rounds: {told['ratios']}); the goal of {told['goal']} is {verdict}")


if __name__ == "__main__":
    typer.run(bench_matching)

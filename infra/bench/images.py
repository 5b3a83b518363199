"""`python -m infra.bench.images`: what a published image costs the recognition, on pictures that the demo draws.

One thread, the same files in one run: registration, then searches of edited copies and of strangers, with the share of
each stage. Figures of a shared machine are for comparing within a run. Writes var/bench/images.json.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

from infra.demo.edits import edited
from infra.demo.pictures import Shot, draw, look_of, to_jpeg
from services.matching.recognition import ReferenceIndex, warm_up
from shared.fingerprints import Fingerprint, Picture, Undecodable, decode, fingerprint_query, fingerprint_reference

TWINS, SHOTS, STRANGERS = 30, 4, 60
EDITS = (("recompress",), ("crop", "recompress"), ("flip", "resize"), ("caption",), ("screenshot",))
OUT = Path("var/bench/images.json")
T = TypeVar("T")


class Stages:
    """Processor milliseconds of this thread, by stage."""

    def __init__(self) -> None:
        self.ms: dict[str, list[float]] = {}

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        """The result of the work, whose time is kept under the stage."""
        start = time.thread_time()
        result = work()
        self.ms.setdefault(stage, []).append((time.thread_time() - start) * 1000)
        return result


def main() -> None:
    """Run and print."""
    console = Console()
    warm_up()
    stages, index = Stages(), ReferenceIndex()
    pictures = {}
    for number in track(range(TWINS * SHOTS), "registering", console=console, transient=True):
        twin, shot = divmod(number, SHOTS)
        picture = draw(look_of(twin), Shot(number, number, shot, "AI generated"))
        pictures[number] = picture
        file = to_jpeg(picture)
        fingerprint = stages.timed("register", lambda file=file: _registered(file))  # type: ignore[misc]
        stages.timed("add", lambda: index.add(f"ref-{number}", f"twin-{twin}", True, fingerprint))  # noqa: B023
    found = wrong = 0
    for number in track(range(TWINS * SHOTS), "searching copies", console=console, transient=True):
        file = edited(pictures[number], EDITS[number % len(EDITS)], number)
        names = _search(file, index, stages)
        found += f"ref-{number}" in names
        wrong += len(names - {f"ref-{number}"})
    for number in track(range(STRANGERS), "searching strangers", console=console, transient=True):
        seed = 5_000 + number
        picture = draw(look_of(seed), Shot(seed, seed, 0, "AI generated"))
        wrong += len(_search(to_jpeg(picture), index, stages))
    report = {
        "references": len(index),
        "recall": round(found / (TWINS * SHOTS), 4),
        "false_matches": wrong,
        "median_cpu_ms": {stage: round(median(times), 2) for stage, times in stages.ms.items()},
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    _print(report, console)


def _registered(file: bytes) -> Fingerprint:
    fingerprint = fingerprint_reference(_picture(file))
    if not isinstance(fingerprint, Fingerprint):
        raise SystemExit(f"a drawn picture cannot be registered: {fingerprint.reason}")
    return fingerprint


def _picture(file: bytes) -> Picture:
    picture = decode(file)
    if isinstance(picture, Undecodable):
        raise SystemExit(f"a drawn picture cannot be decoded: {picture.reason}")
    return picture


def _search(file: bytes, index: ReferenceIndex, stages: Stages) -> set[str]:
    picture = stages.timed("decode", lambda: _picture(file))
    query = stages.timed("describe", lambda: fingerprint_query(picture))
    return {match.reference_id for match in stages.timed("search", lambda: index.search(query, livemode=True))}


def _print(report: dict[str, object], console: Console) -> None:
    table = Table("stage", "CPU ms (median)", title=f"{report['references']} references")
    times = report["median_cpu_ms"]
    if isinstance(times, dict):
        for stage, ms in times.items():
            table.add_row(stage, f"{ms:.2f}")
    console.print(table)
    console.print(f"recall {report['recall']}, false matches {report['false_matches']}; written to {OUT}")


if __name__ == "__main__":
    main()

"""`python -m infra.bench.index --photos DIR`: what a search costs, holds and finds as references become many.

References are made up of real descriptors (see `bank`); among them stand photos that are searched for, edited in 20
ways and then once more. Filling does not ask what references share, since by their making they share nothing:
`register_ms` is told by references that are added afterwards, one by one. Writes var/bench/index.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infra.bench.bank import EDITS, Bank, bank_of
from infra.bench.print_files import kept_in
from services.matching.recognition import ReferenceIndex, warm_up
from services.matching.recognition.index import holding
from services.matching.recognition.prints import Prints
from services.matching.recognition.shelf import Batch, Name
from shared.fingerprints import Picture, QueryFingerprint, fingerprint_query

FOLDER = Path("var/bench")
SIZES = (10_000, 100_000, 1_000_000)
PHOTOS_MAX = 240
QUERIES, ADDED = 400, 20
PART = 2_000
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
BYTES_NEEDED = 20_000  # of memory for each reference while tables are built; whole fingerprints stay in files
FILE_BYTES_NEEDED, SAVED_BYTES_NEEDED = 28_000, 40_000  # of disk for each: whole fingerprints; an index that is saved
SAVED_MAX = 100_000  # references of an index that is saved and loaded again: 3.5 GB


@dataclass(frozen=True)
class Measured:
    """One size. bytes_per_reference: what a search may touch of every reference; cold: what only candidates need."""

    references: int
    search_cpu_ms: float
    search_p95_ms: float
    bytes_per_reference: int
    cold_bytes_per_reference: int
    resident_bytes_per_reference: int
    recall: float
    recall_relative: float | None
    found: float
    register_ms: float
    fill_s: float
    save_s: float | None
    load_s: float | None


def filled(bank: Bank, references: int, folder: Path, console: Console) -> ReferenceIndex:
    """An index of the wanted photos and as many made-up references as are missing, all of different twins."""
    photos = [Name(f"photo-{number}", f"photo-{number}") for number in range(len(bank.wanted))]
    made_up = [Name(f"made-up-{number}", f"made-up-{number}") for number in range(references - len(photos))]

    def parts() -> Iterator[Prints]:
        yield Prints.of(bank.wanted)
        for first in track(range(0, len(made_up), PART), f"filling {references}", console=console):
            yield Prints.of([bank.made_up(number) for number in range(first, min(first + PART, len(made_up)))])

    return holding(Batch((*photos, *made_up), kept_in(folder, parts())))


def measured(bank: Bank, references: int, at_first: float | None, console: Console) -> Measured:
    """Fill an index, search it, save it, add to it."""
    with TemporaryDirectory(dir=FOLDER) as folder:
        return _measured(bank, references, at_first, Path(folder), console)


def _measured(bank: Bank, references: int, at_first: float | None, folder: Path, console: Console) -> Measured:
    before, began = _resident(), time.monotonic()
    index = filled(bank, references, folder, console)
    fill_s, resident = time.monotonic() - began, _resident() - before
    queries = [(f"photo-{number}", query) for number, query in _asked(bank)]
    times, proposed, found = [], 0, 0
    for name, query in track(queries, f"searching {references}", console=console):
        start = time.thread_time()
        matches = index.search(query, livemode=True)
        times.append((time.thread_time() - start) * 1000)
        found += any(match.reference_id == name for match in matches)
        proposed += name in index.candidates(query, livemode=True)
    recall, hot = proposed / len(queries), index.hot_bytes(livemode=True)
    save_s, load_s = _saved(index, folder) if references <= SAVED_MAX else (None, None)
    return Measured(
        references,
        round(float(np.mean(times)), 2),
        round(float(np.percentile(times, 95)), 2),
        hot // references,
        index.cold_bytes(livemode=True) // references,
        resident // references,
        round(recall, 4),
        None if at_first is None else round(recall / at_first, 4),
        round(found / len(queries), 4),
        round(_register_ms(index, bank, references), 2),
        round(fill_s, 1),
        save_s,
        load_s,
    )


def _saved(index: ReferenceIndex, folder: Path) -> tuple[float, float]:
    """Seconds to write the index to a file, and for a new one to hold what is in it."""
    path, began = folder / "index", time.monotonic()
    index.save(path, None)
    written, loaded = time.monotonic(), ReferenceIndex()
    loaded.load(path)
    if len(loaded) != len(index):
        raise RuntimeError(f"{len(index)} references were saved and {len(loaded)} loaded")
    return round(written - began, 2), round(time.monotonic() - written, 2)


def _asked(bank: Bank) -> Iterator[tuple[int, QueryFingerprint]]:
    """Photos and queries that show them: an edited one is edited once more, or all would be found at any size."""
    # An odd step, so that every kind of edit is among them.
    step = max(1, len(bank.queries) // QUERIES) | 1
    for number, (photo, picture) in enumerate(bank.queries[::step]):
        grey, _ = EDITS[(7 * number + 3) % len(EDITS)](picture.grey, np.random.default_rng(number))
        yield photo, fingerprint_query(Picture(grey, grey.shape[1], grey.shape[0], ""))


def _register_ms(index: ReferenceIndex, bank: Bank, references: int) -> float:
    times = []
    for number in range(references, references + ADDED):
        made = bank.made_up(number)
        start = time.thread_time()
        index.add(f"added-{number}", f"added-{number}", True, made)
        times.append((time.thread_time() - start) * 1000)
    return float(np.median(times))


def _resident() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _free_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def run(bank: Bank, sizes: Sequence[int], minutes: float, console: Console) -> list[Measured]:
    """Every size that time, memory and disk allow, the smallest first: recall is told relative to it."""
    until, results = time.monotonic() + minutes * 60, list[Measured]()
    for size in sorted(sizes):
        last = results[-1] if results else None
        if last is not None and time.monotonic() + last.fill_s * 1.3 * size / last.references > until:
            console.print(f"{size} references left out: they would not be filled in {minutes:g} minutes")
            continue
        if _free_bytes() < size * BYTES_NEEDED:
            console.print(f"{size} references left out: {size * BYTES_NEEDED >> 30} GiB of memory are not free")
            continue
        on_disk = size * (FILE_BYTES_NEEDED + (SAVED_BYTES_NEEDED if size <= SAVED_MAX else 0))
        if shutil.disk_usage(FOLDER).free < on_disk:
            console.print(f"{size} references left out: {on_disk >> 30} GiB of disk are not free")
            continue
        results.append(measured(bank, size, results[0].recall if results else None, console))
        console.print_json(json.dumps(asdict(results[-1])))
        _write(bank, results)
    return results


def _write(bank: Bank, results: Sequence[Measured]) -> None:
    """What is measured so far: the largest size may yet fail."""
    told = {"flipped_bits_median": float(np.median(bank.flips)), "sizes": list(map(asdict, results))}
    (FOLDER / "index.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _print(results: Sequence[Measured], console: Console) -> None:
    table = Table("", *(f"{one.references:,}" for one in results), title="the index, one thread")
    for name in Measured.__dataclass_fields__:
        table.add_row(name, *(str(getattr(one, name)) for one in results))
    console.print(table)


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path, help="a folder of a few hundred photos, such as the evaluation kit's")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--minutes", type=float, default=30.0, help="no size is begun that would end later")
    parser.add_argument("--jobs", type=int, default=2, help="processes that describe photos")
    asked, console = parser.parse_args(), Console()
    if asked.photos is None:
        console.print("skipped: real photos are needed; name a folder with a few hundred: make bench-index PHOTOS=DIR")
        return 0
    photos = sorted(path for path in asked.photos.glob("*") if path.suffix.lower() in SUFFIXES)
    if len(photos) < 20:
        print(f"--photos {asked.photos}: has {len(photos)} photos, at least 20 are needed", file=sys.stderr)
        return 2
    chosen = photos[:: max(1, len(photos) // PHOTOS_MAX)][:PHOTOS_MAX]
    bank = bank_of(chosen, FOLDER, asked.jobs, console)
    warm_up()
    results = run(bank, asked.sizes, asked.minutes, console)
    _print(results, console)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

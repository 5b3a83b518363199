"""`python -m tests.fuzz.play`: mutated files through decoding, fingerprints and what they disclose of their origin.

In child processes under a memory cap: nothing may raise, crash, hang or take more memory than that. What was found lies
in var/fuzz, a file each, and exit code is 1 then; `--file PATH` reads one again. The seed is printed; `--seed N --only
NUMBER` does one mutation again, unless it is of a signed file: these are signed anew each time.
"""

import argparse
import multiprocessing
import os
import resource
import secrets
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from services.matching.credentials import read_credentials
from services.matching.disclosure import Disclosures
from shared.fingerprints import Picture, Undecodable, decode, fingerprint_query, fingerprint_reference
from shared.fingerprints.decode import WORK_SIDE_MAX_PX
from tests.fuzz.corpus import corpus
from tests.fuzz.mutations import mutated

FOLDER = Path("var/fuzz")
AT_A_TIME = 250
PATIENCE_S = 60.0
# Resident, beyond what a child began with. The largest picture that is read, a WebP of 100 million pixels, takes 1,514.
MEMORY_MAX_MB = 1_600
ROOM_BYTES = 4 * 1024**3  # of address space beyond what a child begins with: a belt for the machine, not the measure
REFERENCE_EVERY = 8


@dataclass(frozen=True)
class Finding:
    """A mutation that did what none may."""

    number: int
    what: str


def examine(data: bytes, number: int) -> str:
    """What came of a file, in some words; raises when something is not as promised."""
    told = disclosures().of(data)
    credentials = "" if told.c2pa == "absent" else f", credentials {told.c2pa}"
    return _decoded(data, number) + credentials + (", XMP read" if told.xmp_source_type else "")


@cache
def disclosures() -> Disclosures:
    """With the parser of credentials in this very process: what brings it down must be seen."""
    return Disclosures(read=read_credentials)


def _decoded(data: bytes, number: int) -> str:
    result = decode(data)
    if isinstance(result, Undecodable):
        assert result.reason, "no reason was given"
        return "undecodable: " + result.reason.partition(":")[0].partition(" has ")[0].partition(" is ")[0][:40]
    assert isinstance(result, Picture)
    grey = result.grey
    assert grey.dtype.name == "uint8", grey.dtype
    assert grey.ndim == 2, grey.shape
    assert max(grey.shape) <= WORK_SIDE_MAX_PX, grey.shape
    assert grey.flags.c_contiguous
    fingerprint_query(result)
    if number % REFERENCE_EVERY == 0:
        fingerprint_reference(result)
    return f"decoded as {result.format}"


def peak_mb() -> float:
    """The most that this process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Batch:
    """Some mutations in a forked child, which tells where it is: a crash names its mutation."""

    def __init__(self, files: Sequence[bytes], seed: int, numbers: range) -> None:
        context = multiprocessing.get_context("fork")
        self.numbers, self._at = numbers, context.Value("q", numbers.start)
        self.told, end = context.Pipe(duplex=False)
        self._child = context.Process(target=_work, args=(files, seed, numbers, self._at, end))
        self._child.start()
        end.close()
        self._last, self._moved = numbers.start, time.monotonic()

    def result(self) -> dict[str, Any] | None:
        """What the child told, or how it ended; None while it works."""
        if self.told.poll():
            try:
                told: dict[str, Any] = self.told.recv()
            except EOFError:
                self._child.join()
                return self._ended(f"the process ended with {self._child.exitcode}")
            self._child.join()
            return told
        if self._at.value != self._last:
            self._last, self._moved = self._at.value, time.monotonic()
        elif time.monotonic() - self._moved > PATIENCE_S:
            self._child.kill()
            self._child.join()
            return self._ended(f"took longer than {PATIENCE_S:.0f} s")
        return None

    def _ended(self, what: str) -> dict[str, Any]:
        at = self._at.value
        # What came of those before it went down with the process; they ended well, or it would stand at one of them.
        lost = Counter({"not told, as the process ended later": at - self.numbers.start})
        return {"done": at + 1, "outcomes": lost, "findings": [Finding(at, what)]}


def _work(files: Sequence[bytes], seed: int, numbers: range, at: Any, end: Connection) -> None:
    warnings.simplefilter("ignore")
    # Parsers of pictures complain on standard error, of every second file here, and credentials in our log.
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    room = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    outcomes: Counter[str] = Counter()
    findings = []
    heaviest, peak, began = numbers.start, 0.0, peak_mb()
    for number in numbers:
        at.value = number
        try:
            outcomes[examine(mutated(files, seed, number), number)] += 1
        except Exception as problem:
            findings.append(Finding(number, f"raised {type(problem).__name__}: {problem}"[:300]))
        if peak_mb() - began > peak:
            heaviest, peak = number, peak_mb() - began
        if peak > MEMORY_MAX_MB:
            findings.append(Finding(number, f"took {peak:.0f} MB of memory, more than {MEMORY_MAX_MB}"))
            break
    end.send({"done": number + 1, "outcomes": outcomes, "findings": findings, "peak": (peak, heaviest)})
    end.close()


@dataclass
class Played:
    """What a run came to; `peak`: megabytes and the mutation that took them."""

    outcomes: Counter[str]
    findings: list[Finding]
    peak: tuple[float, int]


def play(files: Sequence[bytes], seed: int, mutations: int, jobs: int, progress: Progress) -> Played:
    """All mutations, in so many children at a time."""
    waiting = [range(first, min(first + AT_A_TIME, mutations)) for first in range(0, mutations, AT_A_TIME)][::-1]
    played, at_work = Played(Counter(), [], (0.0, 0)), list[Batch]()
    task = progress.add_task("mutations", total=mutations)
    while waiting or at_work:
        while waiting and len(at_work) < jobs:
            at_work.append(Batch(files, seed, waiting.pop()))
        time.sleep(0.02)
        for batch in list(at_work):
            told = batch.result()
            if told is None:
                continue
            at_work.remove(batch)
            played.outcomes += told["outcomes"]
            played.findings += told["findings"]
            played.peak = max(played.peak, told.get("peak", (0.0, 0)))
            progress.advance(task, told["done"] - batch.numbers.start)
            if told["done"] < batch.numbers.stop:
                waiting.append(range(told["done"], batch.numbers.stop))
        progress.refresh()
    return played


def main() -> int:
    """Run, print, keep what was found."""
    parser = argparse.ArgumentParser(description="mutated pictures through all that reads them")
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="chosen by chance when left out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int, help="the number of one mutation to do again, in this process")
    parser.add_argument("--kinds", default="", help="only files whose kind has this in it, `disclosing` for one")
    parser.add_argument("--file", type=Path, help="a file to read in this process, in place of mutations")
    asked, console = parser.parse_args(), Console()
    if asked.file is not None:
        console.print(examine(asked.file.read_bytes(), 0), highlight=False)
        return 0
    files = [file for kind, file in corpus().items() if asked.kinds in kind]
    if asked.only is not None:
        console.print(examine(mutated(files, asked.seed, asked.only), asked.only), highlight=False)
        return 0
    console.print(f"seed {asked.seed}, {len(files)} files, {asked.mutations} mutations", highlight=False)
    for number, file in enumerate(files):  # compiles what is compiled at first use, before any child is forked
        _decoded(file, number)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    # No thread of its own: children are forked from this process.
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        played = play(files, asked.seed, asked.mutations, asked.jobs, progress)
    _tell(played, files, asked.seed, console)
    return 1 if played.findings else 0


def _tell(played: Played, files: Sequence[bytes], seed: int, console: Console) -> None:
    for outcome, count in played.outcomes.most_common():
        console.print(f"{count:7} {outcome}", highlight=False)
    peak, heaviest = played.peak
    console.print(
        f"most memory of its own: {peak:.0f} MB at mutation {heaviest}; the cap is {MEMORY_MAX_MB}", highlight=False
    )
    for finding in sorted(played.findings, key=lambda each: each.number):
        FOLDER.mkdir(parents=True, exist_ok=True)
        kept = FOLDER / f"{seed}-{finding.number}.bin"
        kept.write_bytes(mutated(files, seed, finding.number))
        console.print(f"found: {finding.number}: {finding.what}; kept as {kept}", highlight=False, markup=False)
    console.print(f"{sum(played.outcomes.values())} mutations answered, {len(played.findings)} found; seed {seed}")


if __name__ == "__main__":
    sys.exit(main())

"""Search a folder of queries for a folder of references: how recognition is judged, by people and by a scorer."""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from services.matching.recognition.explain import Looked, write
from services.matching.recognition.index import ReferenceIndex, Registration, warm_up
from services.matching.recognition.match import Match
from shared.fingerprints import (
    Fingerprint,
    TooPlain,
    Undecodable,
    decode,
    fingerprint_query,
    fingerprint_reference,
)
from shared.fingerprints.decode import BYTES_MAX

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif"}
UNREAD_SUFFIXES = {".heic", ".heif", ".jxl", ".jp2", ".ico", ".psd"}  # images all the same: the answer says why not
TASKS_AT_ONCE = 4

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Summary:
    """What a run came to. phase_cpu_ms: user and system time of all processes while queries were answered."""

    references: int
    outcomes: Counter[str]
    cpu_ms: float
    phase_cpu_ms: float


@dataclass(frozen=True)
class Answer:
    """A line of the results, and what is to be said besides."""

    row: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Seen:
    """What one query came to; `failed` tells an unexpected exception."""

    outcome: str
    looked: Looked | None = None
    matches: Sequence[Match] = ()
    failed: str = ""


# --- files ---------------------------------------------------------------------------------------------------


def images_below(folder: Path) -> list[Path]:
    """The files of a folder and its subfolders that are images by their name or have no suffix, sorted; none hidden."""
    return _files_below(folder)[0]


def _files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Images, and the other files that are not hidden."""
    images: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        suffix = path.suffix.lower()
        (images if not suffix or suffix in SUFFIXES | UNREAD_SUFFIXES else others).append(path)
    return images, others


def _say_passed_over(folder: Path, console: Console) -> None:
    others = _files_below(folder)[1]
    if others:
        _say(
            console, f"passed over: {len(others)} files below {folder} that are no images by name, such as {others[0]}"
        )


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _read(path: Path) -> bytes | Undecodable:
    """The bytes of a file that is not too large, or why not."""
    try:
        size = path.stat().st_size
        if size > BYTES_MAX:
            return Undecodable(f"the file has {size} bytes, more than {BYTES_MAX}")
        return path.read_bytes()
    except OSError as problem:
        return Undecodable(f"the file cannot be read: {problem.strerror or problem}")


def _looked(path: Path, name: str) -> Looked | Undecodable:
    data = _read(path)
    if isinstance(data, Undecodable):
        return data
    picture = decode(data)
    return picture if isinstance(picture, Undecodable) else Looked(name, data, picture)


def twin_of(path: Path, folder: Path) -> str:
    """References in a subfolder belong to one twin; a file beside them is a twin of its own."""
    inner = path.relative_to(folder)
    return f"folder:{inner.parts[0]}" if len(inner.parts) > 1 else f"file:{inner.name}"


# --- processes -----------------------------------------------------------------------------------------------

_work: Callable[[Any], Any] | None = None


def _take(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work


def _call(task: Any) -> Any:
    if _work is None:
        raise RuntimeError("the process was not started as it should")
    return _work(task)


def _spread(work: Callable[[T], R], tasks: list[T], jobs: int) -> Iterator[R]:
    """Results in the order of the tasks. Forked processes share in memory what `work` holds; only tasks travel."""
    if jobs == 1:
        return map(work, tasks)
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("fork"), _take, (work,))
    # Submitted here, not at the first result: processes are forked before a progress bar starts its thread.
    return _closing(pool, pool.map(_call, tasks, chunksize=TASKS_AT_ONCE))


def _closing(pool: ProcessPoolExecutor, results: Iterator[R]) -> Iterator[R]:
    try:
        yield from results
    finally:
        pool.shutdown(cancel_futures=True)


# --- references ----------------------------------------------------------------------------------------------


def _fingerprint(path: Path) -> Fingerprint | TooPlain | Undecodable:
    """Of one reference. What goes wrong with one file is a reason, never the end of a run over thousands."""
    try:
        looked = _looked(path, path.name)
        return looked if isinstance(looked, Undecodable) else fingerprint_reference(looked.picture)
    except Exception as problem:
        return Undecodable(f"failed: {_told(problem)}")


def register_folder(folder: Path, console: Console, jobs: int = 1) -> ReferenceIndex:
    """An index of the pictures below a folder, named by their relative paths; says which could not be used."""
    paths = images_below(folder)
    registrations: list[Registration] = []
    made_all = _spread(_fingerprint, paths, jobs)
    for path, made in zip(paths, track(made_all, "references", total=len(paths), console=console), strict=True):
        name = path.relative_to(folder).as_posix()
        if isinstance(made, Undecodable | TooPlain):
            _say(console, f"not registered: {name}: {made.reason}")
        else:
            registrations.append(Registration(name, twin_of(path, folder), True, made))
    index = ReferenceIndex()
    index.add_all(registrations)
    return index


# --- queries -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FolderSearch:
    """Searches files below a folder for references; `pictures` is where matches are drawn, if anywhere."""

    index: ReferenceIndex
    references: Path
    queries: Path
    pictures: Path | None = None

    def answer(self, path: Path) -> Answer:
        """Search one file, timed from reading it to the decision."""
        name = path.relative_to(self.queries).as_posix()
        began = time.process_time()
        seen = _look(self.index, path, name)
        cpu_ms = (time.process_time() - began) * 1000
        row = {
            "query": name,
            "matches": [_plain(match) for match in seen.matches],
            "cpu_ms": round(cpu_ms, 3),
            "outcome": seen.outcome,
            **({"error": seen.failed} if seen.failed else {}),
        }
        if self.pictures is None or seen.looked is None:
            return Answer(row)
        drawn = [_draw(self.pictures, seen.looked, self.references, match) for match in seen.matches]
        return Answer(row, tuple(note for note in drawn if note))


def _draw(folder: Path, query: Looked, references: Path, match: Match) -> str | None:
    """Draw a match into a folder; returns why it could not be drawn."""
    try:
        reference = _looked(references / match.reference_id, match.reference_id)
        if isinstance(reference, Undecodable):
            return f"not drawn: {query.name} with {match.reference_id}: {reference.reason}"
        write(folder, query, reference, match)
    except Exception as problem:
        return f"not drawn: {query.name} with {match.reference_id}: {_told(problem)}"
    return None


def _look(index: ReferenceIndex, path: Path, name: str) -> _Seen:
    """What one file shows; what goes wrong with it is its outcome, never the end of a run over thousands."""
    try:
        looked = _looked(path, name)
        if isinstance(looked, Undecodable):
            return _Seen(f"undecodable: {looked.reason}")
        query = fingerprint_query(looked.picture)
        matches = index.search(query, livemode=True)
        if matches:
            return _Seen("matched", looked, matches)
        return _Seen("none" if query.too_plain is None else "too_plain")
    except Exception as problem:
        return _Seen(f"failed: {_told(problem)}", failed=_told(problem))


def _told(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"[:200]


def _plain(match: Match) -> dict[str, Any]:
    return {
        "reference": match.reference_id,
        "score": match.score,
        "region": [round(edge, 1) for edge in match.region],
        "transform": [list(row) for row in match.transform],
        "words": match.description,
    }


def _processor_s() -> float:
    """User and system time of all threads of this process, and of the processes that it waited for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def search_folder(references: Path, queries: Path, out: Path, jobs: int = 1, pictures: Path | None = None) -> Summary:
    """Write one line of JSON per query to `out`, and a picture per match into the folder `pictures`."""
    console = Console(stderr=True)
    for folder in (references, queries):
        _say_passed_over(folder, console)
    warm_up()
    index = register_folder(references, console, jobs)
    paths, outcomes, cpu_ms = images_below(queries), Counter[str](), 0.0
    search = FolderSearch(index, references, queries, pictures)
    with out.open("w", encoding="utf-8") as stream:
        began = _processor_s()
        answers = _spread(search.answer, paths, jobs)
        for answer in track(answers, "queries", total=len(paths), console=console):
            # Names that are no text in UTF-8 stay readable: JSON escapes what is not ASCII.
            stream.write(json.dumps(answer.row) + "\n")
            outcomes[answer.row["outcome"].partition(":")[0]] += 1
            cpu_ms += answer.row["cpu_ms"]
            for note in answer.notes:
                _say(console, note)
    return Summary(len(index), outcomes, cpu_ms, (_processor_s() - began) * 1000)

"""Search a folder of queries for a folder of references: how recognition is judged."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from services.matching.recognition.index import ReferenceIndex, Registration, warm_up
from services.matching.recognition.match import Match
from shared.fingerprints import TooPlain, Undecodable, decode, fingerprint_query, fingerprint_reference

SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif"}

_index: ReferenceIndex | None = None


def images_below(folder: Path) -> list[Path]:
    """The image files of a folder and its subfolders, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def twin_of(path: Path, folder: Path) -> str:
    """References in a subfolder belong to one twin; a file beside them is a twin of its own."""
    inner = path.relative_to(folder)
    return f"folder:{inner.parts[0]}" if len(inner.parts) > 1 else f"file:{inner.name}"


def register_folder(folder: Path, console: Console) -> ReferenceIndex:
    """An index of the pictures below a folder, named by their relative paths; says which could not be used."""
    registrations = []
    for path in track(images_below(folder), "references", console=console):
        name = path.relative_to(folder).as_posix()
        try:
            picture = decode(path.read_bytes())
        except OSError as problem:
            picture = Undecodable(str(problem))
        made = picture if isinstance(picture, Undecodable) else fingerprint_reference(picture)
        if isinstance(made, Undecodable | TooPlain):
            console.print(f"not registered: {name}: {made.reason}", markup=False)
            continue
        registrations.append(Registration(name, twin_of(path, folder), True, made))
    index = ReferenceIndex()
    index.add_all(registrations)
    return index


def answer(index: ReferenceIndex, path: Path, name: str) -> dict[str, Any]:
    """Search one file, reading and decoding timed too. What cannot be read matches nothing and says why."""
    start = time.process_time()
    row: dict[str, Any] = {"query": name, "matches": []}
    try:
        picture = decode(path.read_bytes())
        if isinstance(picture, Undecodable):
            row["error"] = picture.reason
        else:
            matches = index.search(fingerprint_query(picture), livemode=True)
            row["matches"] = [_plain(match) for match in matches]
    except Exception as problem:  # one file never stops a run over thousands
        row["error"] = f"{type(problem).__name__}: {problem}"[:200]
    row["cpu_ms"] = round((time.process_time() - start) * 1000, 3)
    return row


def _plain(match: Match) -> dict[str, Any]:
    return {
        "reference": match.reference_id,
        "score": match.score,
        "region": [round(edge, 1) for edge in match.region],
        "transform": match.description,
    }


def _start(index: ReferenceIndex) -> None:
    global _index
    _index = index


def _run(task: tuple[Path, str]) -> dict[str, Any]:
    if _index is None:
        raise RuntimeError("the worker was not started")
    return answer(_index, *task)


def _answers(index: ReferenceIndex, tasks: list[tuple[Path, str]], jobs: int) -> Iterator[dict[str, Any]]:
    if jobs <= 1:
        yield from (answer(index, *task) for task in tasks)
        return
    # Forked workers share the index in memory.
    with multiprocessing.get_context("fork").Pool(jobs, initializer=_start, initargs=(index,)) as workers:
        yield from workers.imap(_run, tasks, chunksize=4)


def search_folder(references: Path, queries: Path, out: Path, jobs: int) -> tuple[int, int]:
    """Write one line of JSON per query to `out`; returns how many were answered, and how many of them with an error."""
    console = Console(stderr=True)
    warm_up()
    index = register_folder(references, console)
    tasks = [(path, path.relative_to(queries).as_posix()) for path in images_below(queries)]
    errors = 0
    with out.open("w", encoding="utf-8") as stream:
        answers = _answers(index, tasks, jobs)
        for row in track(answers, "queries", total=len(tasks), console=console):
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            errors += "error" in row
    return len(tasks), errors

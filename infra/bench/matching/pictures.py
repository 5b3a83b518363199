"""The files of the comparison: references and queries of 1080 x 1350, drawn or made of a folder of photographs.

A name tells the source: `s0007-2.jpg` is the third reference made of source 7; `q0003-s0007.jpg` is a query that shows
source 7, `q0004-none.jpg` one that shows nothing registered.
"""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from infra.bench.drawing import BIG, EDITS
from infra.demo.edits import edited
from infra.demo.pictures import Image, Shot, draw, from_jpeg, look_of, to_jpeg

REFERENCE_QUALITY, QUERY_QUALITY = 92, 85
UNREGISTERED_EVERY = 5  # of the photographs, every fifth shows nothing registered
WINDOW = (0.55, 0.8)  # further references of a photograph show such a share of its sides
NONE = "none"
# Seeds of drawn people: those who are registered, and nobody known.
_PEOPLE, _NOBODY = 700_000, 800_000
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}

Step = Callable[[int, int], None]
Source = Callable[[int], Image]


@dataclass(frozen=True)
class Amounts:
    """How many files; every `showing_every`th query shows a reference."""

    references: int = 2_000
    queries: int = 300
    showing_every: int = 10


@dataclass(frozen=True)
class Files:
    """What is compared on, and in words where it comes from."""

    references: list[Path]
    queries: list[Path]
    told: str


@dataclass(frozen=True)
class _Job:
    """One file to be written: a variant of a source, edited when `edit` names how."""

    path: Path
    source: int
    variant: int
    edit: int | None = None


def source_of(name: str) -> str:
    """The source of a reference's name."""
    return name.partition("-")[0]


def shown_by(query: Path) -> str | None:
    """The source that a query shows."""
    source = query.stem.partition("-")[2]
    return None if source == NONE else source


def jobs_of(folder: Path, amounts: Amounts, registered: int, unregistered: int) -> tuple[list[_Job], list[_Job]]:
    """References and queries from so many sources; strangers follow the registered ones in number."""
    references = [
        _Job(
            folder / "references" / f"s{number % registered:04}-{number // registered}.jpg", *_turn(number, registered)
        )
        for number in range(amounts.references)
    ]
    queries = []
    for number in range(amounts.queries):
        shows = number % amounts.showing_every == 0
        turn = number // amounts.showing_every
        # A step that shares no factor with most counts, so that shown sources are spread over all of them.
        source = turn * 61 % registered if shows else registered + number % unregistered
        variant = 0 if shows else number // unregistered
        name = f"q{number:04}-{f's{source:04}' if shows else NONE}.jpg"
        queries.append(_Job(folder / "queries" / name, source, variant, turn if shows else None))
    return references, queries


def _turn(number: int, registered: int) -> tuple[int, int]:
    variant, source = divmod(number, registered)
    return source, variant


def drawn(folder: Path, amounts: Amounts, step: Step) -> Files:
    """People who do not exist, one reference each; what was drawn before is taken again."""
    jobs = jobs_of(folder, amounts, amounts.references, amounts.queries)
    lacking = [job for job in (*jobs[0], *jobs[1]) if not job.path.exists()]
    _write_all(lacking, partial(_person, amounts.references), folder, step)
    return _files(jobs, f"{amounts.references} drawn people, a reference each")


def _person(registered: int, number: int) -> Image:
    seed = _PEOPLE + number if number < registered else _NOBODY + number - registered
    return draw(look_of(seed), Shot(seed, seed, 0))


def photographed(folder: Path, photos: Path, amounts: Amounts, step: Step) -> Files:
    """Photographs; where they are too few, parts of them are references too. Made anew each time."""
    paths = sorted(path for path in photos.iterdir() if path.suffix.lower() in SUFFIXES)
    registered = [path for number, path in enumerate(paths) if number % UNREGISTERED_EVERY]
    others = paths[::UNREGISTERED_EVERY]
    if not registered or not others:
        raise ValueError(f"{photos} has {len(paths)} photographs (.jpg, .png, .webp) where 2 are needed")
    shutil.rmtree(folder, ignore_errors=True)
    jobs = jobs_of(folder, amounts, len(registered), len(others))
    _write_all([*jobs[0], *jobs[1]], partial(_photo, [*registered, *others]), folder, step)
    told = f"{len(registered)} photographs in up to {-(-amounts.references // len(registered))} parts each"
    return _files(jobs, f"{told}; queries that show none are of {len(others)} other photographs")


def _photo(paths: Sequence[Path], number: int) -> Image:
    return from_jpeg(paths[number].read_bytes())


def _files(jobs: tuple[list[_Job], list[_Job]], told: str) -> Files:
    references, queries = ([job.path for job in each] for each in jobs)
    return Files(references, queries, told)


def _write_all(jobs: Sequence[_Job], source: Source, folder: Path, step: Step) -> None:
    for part in ("references", "queries"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    # Spawned: the parent has threads, and a forked child of threads may wait for ever.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(partial(_write, source), jobs, chunksize=8), start=1):
            step(done, len(jobs))


def _write(source: Source, job: _Job) -> None:
    cv2.setNumThreads(1)
    picture = filled(_part(source(job.source), job))
    if job.edit is None:
        file = to_jpeg(picture, REFERENCE_QUALITY)
    else:
        # From the reference's file, as a thief would.
        picture = from_jpeg(to_jpeg(picture, REFERENCE_QUALITY))
        file = to_jpeg(filled(from_jpeg(edited(picture, EDITS[job.edit % len(EDITS)], job.source))), QUERY_QUALITY)
    # A run that is stopped leaves no half file for the next one.
    draft = job.path.with_suffix(".draft")
    draft.write_bytes(file)
    draft.replace(job.path)


def _part(picture: Image, job: _Job) -> Image:
    """The whole picture, or for further variants a window that its number chooses."""
    if job.variant == 0:
        return picture
    chance = np.random.default_rng((job.source, job.variant))
    height, width = picture.shape[:2]
    share = chance.uniform(*WINDOW)
    across, down = int(width * share), int(height * share)
    x, y = int(chance.integers(0, width - across + 1)), int(chance.integers(0, height - down + 1))
    return picture[y : y + down, x : x + across]


def filled(picture: Image) -> Image:
    """The middle of a picture, scaled to cover 1080 x 1350."""
    width, height = BIG
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    whole = cv2.resize(np.ascontiguousarray(picture), size, interpolation=how).astype(np.uint8, copy=False)
    x, y = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(whole[y : y + height, x : x + width])

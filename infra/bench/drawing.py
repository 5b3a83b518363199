"""Draws the references and the pictures that are published, over all cores; what was drawn before is taken again."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from infra.bench.cast import number_of, twins_of
from infra.bench.posts import Shown
from infra.bench.sizes import Sizes
from infra.demo.cast import REFERENCES_PER_TWIN
from infra.demo.edits import edited
from infra.demo.gallery import reference_path
from infra.demo.pictures import Image, Shot, draw, from_jpeg, look_of, to_jpeg

BIG, SMALL = (1080, 1350), (400, 500)
SMALL_PICTURES = 8
EDITS = (("recompress",), ("crop", "recompress"), ("flip",), ("caption",), ("recolour", "recompress"))
# Seeds of nobody known lie beyond those of any twin; of twins the demo draws, before them.
_TWINS, _NOBODY = 100_000, 500_000
_AT_A_TIME = 8

Step = Callable[[int, int], None]


def big_pool(sizes: Sizes) -> list[Shown]:
    """The pictures of 1080 x 1350 that posts show by turns."""
    return _pool("big", sizes.pictures, max(2, round(sizes.pictures * sizes.twin_share)), sizes.references)


def small_pool(sizes: Sizes) -> list[Shown]:
    """A few small ones, half of them of twins, for posts that shall cost little."""
    return _pool("small", SMALL_PICTURES, SMALL_PICTURES // 2, sizes.references)


def _pool(size: str, count: int, of_twins: int, references: int) -> list[Shown]:
    twins = twins_of(references)
    shown = []
    for number in range(of_twins):
        lap, place = divmod(number, len(twins))
        reference, edit = lap % REFERENCES_PER_TWIN, (number + lap // REFERENCES_PER_TWIN) % len(EDITS)
        shown.append(Shown(f"{size}-{twins[place]}-{reference}-{edit}.jpg", twins[place], reference))
    return shown + [Shown(f"{size}-nobody-{number}.jpg", None, number) for number in range(max(1, count - of_twins))]


def draw_all(sizes: Sizes, references: Path, published: Path, step: Step) -> None:
    """Draw what is not there yet."""
    for folder in (references, published):
        folder.mkdir(parents=True, exist_ok=True)
    wanted = [(twin, number) for twin in twins_of(sizes.references) for number in range(REFERENCES_PER_TWIN)]
    lacking = [each for each in wanted if not reference_path(references, *each).exists()]
    shown = [each for each in (*big_pool(sizes), *small_pool(sizes)) if not (published / each.name).exists()]
    total, done = len(lacking) + len(shown), 0
    # Spawned: the parent has threads, and a forked child of threads may wait for ever.
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_leave_stopping_to_parent) as pool:
        try:
            # References first: published pictures are made from their files.
            for count in chain(
                _drawn(pool, _draw_references, lacking, references),
                _drawn(pool, _publish, shown, references, published),
            ):
                done += count
                step(done, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _drawn(pool: Executor, work: Callable[..., int], jobs: Sequence[object], *folders: Path) -> Iterator[int]:
    parts = [jobs[start : start + _AT_A_TIME] for start in range(0, len(jobs), _AT_A_TIME)]
    for future in as_completed([pool.submit(work, part, *folders) for part in parts]):
        yield future.result()


def _leave_stopping_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw_references(jobs: Sequence[tuple[str, int]], folder: Path) -> int:
    cv2.setNumThreads(1)
    for twin, number in jobs:
        _write(reference_path(folder, twin, number), to_jpeg(_person(_TWINS + number_of(twin), number), 92))
    return len(jobs)


def _publish(jobs: Sequence[Shown], references: Path, published: Path) -> int:
    cv2.setNumThreads(1)
    for shown in jobs:
        _write(published / shown.name, _published(shown, references))
    return len(jobs)


def _published(shown: Shown, references: Path) -> bytes:
    size, *_, last = shown.name.removesuffix(".jpg").split("-")
    if shown.twin is None:
        picture = _person(_NOBODY + shown.reference, 0)
    else:
        source = from_jpeg(reference_path(references, shown.twin, shown.reference).read_bytes())
        picture = from_jpeg(edited(source, EDITS[int(last)], number_of(shown.twin)))
    across_down = BIG if size == "big" else SMALL
    return to_jpeg(cv2.resize(picture, across_down, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False), 85)


def _person(number: int, shot: int) -> Image:
    # No label: what thousands of references share is the subject of another measurement.
    return draw(look_of(number), Shot(number * REFERENCES_PER_TWIN + shot, number * REFERENCES_PER_TWIN + shot, shot))


def _write(path: Path, file: bytes) -> None:
    # A run that is stopped leaves no half file for the next one.
    draft = path.with_suffix(".draft")
    draft.write_bytes(file)
    draft.replace(path)

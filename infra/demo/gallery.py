"""Draws the references of all twins and the pictures that are published, over all cores, into a folder."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import cv2

from infra.demo.cast import LOOK_ALIKES, REFERENCES_PER_TWIN, TWINS
from infra.demo.edits import edited
from infra.demo.pictures import Image, Shot, draw, from_jpeg, look_of, to_jpeg
from infra.demo.story import Picture

LABEL = "AI generated"
# Seeds of what nobody registered lie beyond those of the twins.
_STRANGERS, _SHARED = 10_000, 50_000
_BROKEN = b"\xff\xd8\xff\xe0 this was a picture once"

Progress = Callable[[int, int], None]


def reference_path(folder: Path, twin: str, reference: int) -> Path:
    """Where a reference of a twin lies."""
    return folder / f"{twin}-{reference}.jpg"


def draw_all(pictures: Sequence[Picture], references: Path, published: Path, progress: Progress) -> None:
    """Draw everything; a published picture is made from the reference's file, as a thief would."""
    for folder in (references, published):
        folder.mkdir(parents=True, exist_ok=True)
    twins = [f"t{number:02}" for number in range(1, TWINS + 1)]
    of_twins: dict[str | None, list[Picture]] = {}
    for picture in pictures:
        of_twins.setdefault(picture.twin, []).append(picture)
    strangers = of_twins.get(None, [])
    jobs = [(twin, of_twins.get(twin, []), references, published) for twin in twins]
    parts = [(None, strangers[start : start + 4], references, published) for start in range(0, len(strangers), 4)]
    total = TWINS * REFERENCES_PER_TWIN + len(pictures)
    done = 0
    # Spawned: the parent has threads, and a forked child of threads may wait for ever.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_draw_some, *job) for job in (*jobs, *parts)]
        for future in as_completed(futures):
            done += future.result()
            progress(done, total)


def shot_of(twin: str, reference: int) -> Shot:
    """How a reference is taken: every one elsewhere, but for the two look-alikes."""
    number = int(twin[1:])
    if twin in LOOK_ALIKES:
        return Shot(_SHARED + reference, _SHARED + reference, reference, LABEL)
    seed = number * REFERENCES_PER_TWIN + reference
    return Shot(seed, seed, reference, LABEL)


def stranger(picture: Picture) -> Image:
    """Someone nobody registered, perhaps where the look-alikes stood."""
    number = int(picture.name.split(".")[0])
    seed = _STRANGERS + number if picture.scene is None else _SHARED + picture.scene
    return draw(look_of(_STRANGERS + number), Shot(seed, seed, 0, LABEL))


def _draw_some(twin: str | None, pictures: Sequence[Picture], references: Path, published: Path) -> int:
    cv2.setNumThreads(1)
    files: dict[int, bytes] = {}
    if twin is not None:
        for reference in range(REFERENCES_PER_TWIN):
            files[reference] = to_jpeg(draw(look_of(int(twin[1:])), shot_of(twin, reference)), 92)
            reference_path(references, twin, reference).write_bytes(files[reference])
    for picture in pictures:
        (published / picture.name).write_bytes(_published(picture, files))
    return len(files) + len(pictures)


def _published(picture: Picture, references: dict[int, bytes]) -> bytes:
    if picture.served == "undecodable":
        return _BROKEN
    source = stranger(picture) if picture.twin is None else from_jpeg(references[picture.reference])
    return edited(source, picture.edits, int(picture.name.split(".")[0]))

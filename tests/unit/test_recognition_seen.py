"""The points of a reference, looked for once more: where a copy has them, and where a second photograph has them."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from services.matching.recognition.geometry import mapped, mapped_corners
from services.matching.recognition.seen import AROUND, Seen, corrected, look
from services.matching.recognition.shelf import Entry
from shared.fingerprints import Picture
from shared.fingerprints.compiled import Flags, Floats, Grey
from shared.fingerprints.features import Features, distances_at
from tests.drawn import drawn, picture_of, reference

SAME = np.eye(3)


@cache
def picture(seed: int = 1) -> Picture:
    return picture_of(drawn(seed))


@cache
def entry(seed: int = 1, shared: tuple[int, int] | None = None) -> Entry:
    """A reference; `shared`: so many rows and columns of its blocks are shared with another twin."""
    made = reference(drawn(seed))
    height, width = made.thumbnail.shape
    mask: Flags | None = None
    if shared is not None:
        mask = np.zeros((height // 12 - 1, width // 12 - 1), np.bool_)
        mask[: shared[0], : shared[1]] = True
    return Entry("one", "twin", made, mask)


def moved(grey: Grey, matrix: Floats) -> Grey:
    return cv2.warpPerspective(grey, matrix, grey.shape[::-1], borderMode=cv2.BORDER_REFLECT_101).astype(np.uint8)


def away_px(one: Floats, other: Floats) -> float:
    """How far the corners of the reference are apart under two maps."""
    size = entry().fingerprint.size_px
    return float(np.hypot(*(mapped_corners(one, size) - mapped_corners(other, size)).T).max())


def test_a_picture_shows_its_own_points_in_their_places() -> None:
    made = entry().features
    distances = distances_at(picture().grey, made, AROUND)
    assert (distances[:, 0] <= 2).mean() > 0.95
    assert (distances[:, 0] == distances.min(axis=1)).mean() > 0.95


def test_another_picture_shows_hardly_any_of_them() -> None:
    seen = look(entry(), picture(2).grey, SAME, 2)
    assert seen.alike.sum() < 0.05 * seen.asked.sum()
    assert seen.asked.mean() > 0.8


def test_what_hides_corners_from_a_detector_does_not_hide_the_points() -> None:
    blurred = cv2.GaussianBlur(picture().grey, (0, 0), 3.0).astype(np.uint8)
    seen = look(entry(), blurred, SAME, 2)
    assert seen.alike[seen.asked].mean() > 0.5
    assert seen.median_bits < 50


def test_a_point_beside_its_place_is_found_there() -> None:
    shifted = moved(picture().grey, np.array([[1, 0, 2.0], [0, 1, 0], [0, 0, 1]]))
    fine = np.flatnonzero(entry().features.points[:, 2] == 0)
    assert len(fine) > 20
    features = Features(entry().features.points[fine], entry().features.descriptors[fine])
    best = distances_at(shifted, features, AROUND * 2).argmin(axis=1)
    assert (best == AROUND.tolist().index([1, 0])).mean() > 0.7


@pytest.mark.parametrize(
    "wrong",
    [
        np.array([[1, 0, 3.0], [0, 1, -2.0], [0, 0, 1]]),
        np.array([[1, 0, 5.0], [0, 1, -5.0], [0, 0, 1]]),
        np.array([[1.008, -0.006, 1.0], [0.006, 1.008, 0], [0, 0, 1]]),
        np.array([[1, 0, 0], [0, 1, 0], [1.5e-5, -1e-5, 1.0]]),
    ],
    ids=["shifted", "shifted both ways", "turned and grown", "tilted"],
)
def test_the_points_together_correct_a_map_that_is_a_little_wrong(wrong: Floats) -> None:
    matrix = wrong
    for step_px in (3, 2, 2):
        better = corrected(entry(), look(entry(), picture().grey, matrix, step_px), matrix, step_px)
        assert better is not None
        matrix = better
    assert away_px(matrix, SAME) < 1.0 < away_px(wrong, SAME)


def test_a_part_that_moved_by_itself_does_not_move_the_map() -> None:
    grey = picture().grey.copy()
    height, width = grey.shape
    grey[: height // 3, : width // 3] = np.roll(grey, 5, axis=1)[: height // 3, : width // 3]
    wrong = np.array([[1, 0, -2.0], [0, 1, 1.5], [0, 0, 1]])
    matrix = wrong
    for step_px in (3, 2, 2):
        better = corrected(entry(), look(entry(), grey, matrix, step_px), matrix, step_px)
        assert better is not None
        matrix = better
    elsewhere = np.array([(width / 2, height / 2), (width, height / 2), (width / 2, height), (width, height)])
    assert np.abs(mapped(elsewhere, matrix) - elsewhere).max() < 1.0


def test_points_in_one_line_do_not_fix_a_map_and_break_nothing() -> None:
    line = replace(entry().fingerprint, points=entry().fingerprint.points.copy())
    line.points[:, 1] = 100
    of_a_line = Entry("one", "twin", line)
    seen = Seen(np.full((len(line.points), 5), 10, np.int32), np.ones(len(line.points), np.bool_))
    better = corrected(of_a_line, seen, SAME, 2)
    assert better is not None
    assert away_px(better, SAME) < 0.5


def test_points_on_shared_blocks_and_outside_of_the_query_are_not_asked() -> None:
    size = entry().fingerprint.size_px
    assert look(entry(shared=(99, 99)), picture().grey, SAME, 2).asked.sum() == 0
    away = np.array([[1, 0, float(size[0])], [0, 1, 0], [0, 0, 1]])
    assert look(entry(), picture().grey, away, 2).asked.sum() == 0


def test_a_small_copy_is_asked_only_for_what_it_can_show() -> None:
    small = cv2.resize(picture().grey, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA).astype(np.uint8)
    seen = look(entry(), small, np.diag([0.25, 0.25, 1.0]), 2)
    coarse = np.exp(entry().features.points[:, 2]) * 0.25 >= 0.7
    assert coarse[seen.asked].all()
    assert seen.alike[seen.asked].mean() > 0.5


def test_too_few_points_correct_nothing() -> None:
    assert corrected(entry(), look(entry(), picture(2).grey, SAME, 2), SAME, 2) is None

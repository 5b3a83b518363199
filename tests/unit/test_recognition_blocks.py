"""Pixels against pixels: what is laid where, what it covers, and what is not asked of hopeless pairs."""

import cv2
import numpy as np
import pytest

from services.matching.recognition.blocks import SAME_SHARE, View, compare, laid_over
from services.matching.recognition.evidence import HOPEFUL_SHARE_MIN, Agreement
from services.matching.recognition.geometry import scale_of, scaling
from services.matching.recognition.seen import FINEST
from services.matching.recognition.softening import SIGMA_PX, softened

THUMBNAIL_PX = 192


def a_picture(width: int, height: int, seed: int = 1) -> np.ndarray:
    """Soft shapes, whatever the size."""
    coarse = np.random.default_rng(seed).integers(0, 255, (height // 12, width // 12), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def a_thumbnail(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape
    scale = THUMBNAIL_PX / max(picture.shape)
    return cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("size", [(192, 154), (192, 144), (100, 6), (3, 90), (37, 41)])
def test_softening_is_opencvs_to_the_bit(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(5).integers(0, 256, size, np.uint8)
    for grey in (noise, np.where(noise > 128, 255, 0).astype(np.uint8)):
        np.testing.assert_array_equal(softened(grey), cv2.GaussianBlur(grey, (0, 0), SIGMA_PX))


@pytest.mark.parametrize("size", [(739, 341), (606, 341), (799, 341), (579, 387), (512, 409), (511, 383)])
def test_a_whole_copy_covers_every_block(size: tuple[int, int]) -> None:
    picture = a_picture(*size)
    thumbnail = a_thumbnail(picture)
    blocks = compare(View(thumbnail), picture, scaling(thumbnail.shape[::-1], size))
    assert blocks is not None
    assert blocks.covered.all()
    assert blocks.grey[blocks.telling].min() > 0.95
    assert blocks.details[blocks.telling].mean() > 0.9


@pytest.mark.parametrize("scale", [1.2, 1.51, 2.7, 7.0])
def test_a_fine_query_is_laid_where_the_map_says(scale: float) -> None:
    width, height = 701, 513
    ramp = np.tile(np.arange(width) / width * 255, (height, 1)).astype(np.uint8)
    size = round(width / scale), round(height / scale)
    laid, _, _ = laid_over(ramp, scaling(size, (width, height)), size)
    expected = (np.arange(size[0]) + 0.5) * scale / width * 255
    assert np.abs(laid[size[1] // 2].astype(float) - expected)[1:-1].max() < 2


@pytest.mark.parametrize("scale", [1.19, 1.21, 1.99, 2.0, 2.7, 4.1])
def test_the_points_of_a_shrunk_query_are_still_asked(scale: float) -> None:
    size = round(701 / scale), round(513 / scale)
    _, _, matrix = laid_over(a_picture(701, 513), scaling(size, (701, 513)), size)
    assert scale_of(matrix) >= FINEST


def test_of_a_hopeless_pair_only_the_grey_is_asked() -> None:
    one, other = a_picture(384, 288, seed=1), a_picture(384, 288, seed=2)
    thumbnail = a_thumbnail(one)
    blocks = compare(View(thumbnail), other, scaling(thumbnail.shape[::-1], (384, 288)))
    assert blocks is not None
    agreement = Agreement.of(blocks, None)
    assert agreement.blocks > 0
    assert agreement.grey < HOPEFUL_SHARE_MIN
    assert "details" not in vars(blocks)
    assert not agreement.is_enough


def test_of_a_hopeful_pair_everything_is_asked() -> None:
    picture = a_picture(384, 288)
    thumbnail = a_thumbnail(picture)
    blocks = compare(View(thumbnail), picture, scaling(thumbnail.shape[::-1], (384, 288)))
    assert blocks is not None
    agreement = Agreement.of(blocks, None)
    assert min(agreement.grey, agreement.details, agreement.median_grey) > 0.9
    assert agreement.in_place > agreement.moved
    assert agreement.different == 0


def agreement_of(own: np.ndarray, query: np.ndarray, matrix: np.ndarray) -> Agreement:
    blocks = compare(View(own), query, matrix)
    assert blocks is not None
    return Agreement.of(blocks, None)


def test_the_middle_is_asked_of_hopeless_pairs_too_because_edges_may_speak_for_them() -> None:
    told = agreement_of(a_picture(192, 144), a_picture(192, 144, seed=2), np.eye(3))
    assert told.grey < HOPEFUL_SHARE_MIN
    assert told.middle < 0.2


def test_the_middle_is_told_apart_from_what_frames_it() -> None:
    own, other = a_picture(192, 144), a_picture(192, 144, seed=2)
    framed = own.copy()
    framed[28:116, 38:154] = other[28:116, 38:154]
    assert agreement_of(own, own, np.eye(3)).middle == 1.0
    in_a_frame = agreement_of(own, framed, np.eye(3))
    assert in_a_frame.grey > 0.4
    assert in_a_frame.middle < 0.1


@pytest.mark.parametrize("x1", [96, 110], ids=["too few blocks of it", "too little of it"])
def test_of_a_middle_that_is_hardly_in_view_nothing_is_said(x1: int) -> None:
    own, other = a_picture(192, 144), a_picture(192, 144, seed=2)
    part = own[:, :x1].copy()
    part[28:116, 38:] = other[28:116, 38:x1]
    told = agreement_of(own, part, np.eye(3))
    assert told.grey > 0.3  # or it would not have been asked
    assert told.middle == 1.0


def in_a_rim_of(own: np.ndarray, other: np.ndarray, rim_px: int) -> np.ndarray:
    framed = own.copy()
    framed[rim_px:-rim_px, rim_px:-rim_px] = other[rim_px:-rim_px, rim_px:-rim_px]
    return framed


def test_windows_find_the_same_in_a_rim_that_is_narrower_than_a_block() -> None:
    own, other = a_picture(192, 144), a_picture(192, 144, seed=2)
    blocks = compare(View(own), in_a_rim_of(own, other, 18), np.eye(3))
    assert blocks is not None
    rim = np.ones_like(blocks.covered)
    rim[1:-1, 1:-1] = False
    assert (blocks.same_share[rim] > SAME_SHARE).mean() > 0.9
    assert (blocks.grey[rim] > 0.95).mean() < 0.3
    assert blocks.same_share[2:-2, 2:-2].max() < 0.1


@pytest.mark.parametrize(("rim_px", "least", "most"), [(72, 0.0, 0.0), (60, 0.02, 0.2), (0, 0.6, 1.0)])
def test_how_much_differs_is_told_by_windows(rim_px: int, least: float, most: float) -> None:
    own, other = a_picture(192, 144), a_picture(192, 144, seed=2)
    blocks = compare(View(own), in_a_rim_of(own, other, rim_px) if rim_px else other, np.eye(3))
    assert blocks is not None
    assert least <= blocks.differing_share <= most

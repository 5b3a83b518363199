"""What an aligned pair proves: the same agreement counts for less where something else explains it."""

from dataclasses import replace

import numpy as np
import pytest

from services.matching.recognition.alignment import Alignment, spread_of
from services.matching.recognition.evidence import (
    BEYOND_DOUBT,
    IMPOSSIBLE,
    THRESHOLD,
    WEIGHTS,
    Agreement,
    Candidate,
    explain_away,
    is_doubtful,
    is_plausible,
    log_odds,
    log_odds_of_soft_part,
    may_be,
)
from services.matching.recognition.geometry import Region, mirror, scaling, shift, stretch_of
from shared.fingerprints.features import Features

COPY = Agreement(
    blocks=120,
    grey=0.8,
    grey_closely=0.6,
    details=0.7,
    details_closely=0.5,
    median_grey=0.9,
    in_place=60,
    moved=10,
    different=0.2,
)


def odds(agreement: Agreement, *, bits: float = 30, stretch: float = 1.0, marked: float = 0.0) -> float:
    return log_odds(agreement, bits, stretch, marked)


def test_a_plain_copy_is_beyond_the_threshold() -> None:
    assert odds(COPY) > THRESHOLD


@pytest.mark.parametrize(
    "weaker",
    [
        replace(COPY, grey_closely=0.3),
        replace(COPY, details=0.4),
        replace(COPY, in_place=20, moved=50),
        replace(COPY, different=0.4),
        replace(COPY, blocks=24),
    ],
    ids=["less alike", "fewer details", "moved", "covered", "little to see"],
)
def test_what_speaks_against_a_copy_lowers_the_odds(weaker: Agreement) -> None:
    assert odds(weaker) < odds(COPY)


def test_points_that_are_far_apart_lower_the_odds() -> None:
    assert odds(COPY, bits=60) < odds(COPY, bits=30)


def test_beside_known_marks_what_is_different_counts_more() -> None:
    assert odds(COPY, marked=0.02) < odds(COPY)
    assert odds(COPY, marked=0.3) == pytest.approx(odds(COPY, marked=0.1))
    unlike_nowhere = replace(COPY, different=0.1)
    assert odds(unlike_nowhere, marked=0.3) == pytest.approx(odds(unlike_nowhere))


def test_a_stretch_counts_from_an_eighth_on_and_never_too_much() -> None:
    assert odds(COPY, stretch=1.12) == pytest.approx(odds(COPY))
    assert odds(COPY, stretch=1.25) < odds(COPY) - 1
    assert odds(COPY, stretch=1.8) == pytest.approx(odds(COPY) + 0.15 * WEIGHTS["log_stretch"])


def test_too_few_blocks_or_too_few_that_agree_prove_nothing() -> None:
    assert odds(replace(COPY, blocks=7)) == IMPOSSIBLE
    assert odds(replace(COPY, grey=0.3, details=0.3)) == IMPOSSIBLE
    assert not may_be(replace(COPY, blocks=7))


def test_a_better_map_is_not_one_that_leaves_less_to_disagree() -> None:
    closer = replace(COPY, grey=0.9, details_closely=0.7)
    assert closer.is_better(COPY)
    assert not COPY.is_better(closer)
    assert replace(closer, blocks=100).is_better(COPY)
    assert not replace(closer, blocks=60).is_better(COPY)
    too_little = replace(COPY, blocks=7, grey=1.0, details_closely=1.0)
    assert COPY.is_better(too_little)
    assert not too_little.is_better(COPY)


def test_in_an_explained_region_only_a_duplicate_that_stays_in_place_is_left() -> None:
    def seen(name: str, odds_: float, agreement: Agreement, region: Region = (0, 0, 100, 80)) -> Candidate:
        return Candidate(name, odds_, agreement, np.eye(3), region)

    exact = replace(COPY, grey_closely=1.0, in_place=100, moved=0)
    second_take = replace(COPY, blocks=21, grey_closely=0.86, in_place=6, moved=15)
    best = seen("best", 11.0, exact)
    assert explain_away([seen("take", 2.6, second_take), best]) == [best]
    nearer_take = replace(COPY, blocks=18, grey_closely=0.83, in_place=10, moved=8)
    assert explain_away([seen("nearer take", 3.1, nearer_take), best]) == [best]
    little_of_it = seen("little of it", 9.9, replace(COPY, blocks=34, grey_closely=1.0, in_place=19, moved=4))
    assert explain_away([little_of_it, best]) == [best, little_of_it]
    duplicate = seen("duplicate", 6.0, replace(exact, grey_closely=0.8))
    assert explain_away([duplicate, best]) == [best, duplicate]
    elsewhere = seen("elsewhere", 2.6, second_take, (300, 0, 400, 80))
    assert explain_away([elsewhere, best]) == [best, elsewhere]


def test_neither_the_certain_nor_the_hopeless_are_looked_at_again() -> None:
    assert is_doubtful(COPY, THRESHOLD)
    assert not is_doubtful(COPY, 12.0)
    assert not is_doubtful(COPY, IMPOSSIBLE)


@pytest.mark.parametrize(
    ("matrix", "stretch"),
    [
        (shift(3, 4) @ mirror(200), 1.0),
        (scaling((200, 100), (400, 200)), 1.0),
        (scaling((200, 100), (200, 150)), 1.5),
        (np.array([[0, -2.0, 5], [1, 0, 0], [0, 0, 1]]), 2.0),
    ],
    ids=["mirrored", "larger", "higher", "turned and stretched"],
)
def test_the_stretch_of_a_map(matrix: np.ndarray, stretch: float) -> None:  # type: ignore[type-arg]
    assert stretch_of(matrix, (200, 100)) == pytest.approx(stretch)


def test_the_stretch_of_a_tilted_map_is_that_of_the_middle() -> None:
    tilted = np.array([[1, 0, 0], [0, 1, 0], [1e-3, 0, 1.0]])
    step = 1e-4
    there = [tilted @ np.array([x, y, 1]) for x, y in ((100, 50), (100 + step, 50), (100, 50 + step))]
    flat = [point[:2] / point[2] for point in there]
    along, across = (np.linalg.norm((one - flat[0]) / step) for one in flat[1:])
    assert stretch_of(tilted, (200, 100)) == pytest.approx(max(along, across) / min(along, across), rel=0.05)


@pytest.mark.parametrize(
    ("middle", "odds_above", "plausible"),
    [(0.5, 0.0, True), (0.1, -0.1, False), (0.1, 0.1, True)],
    ids=["the middle is there", "it is not, and the rest proves little", "the rest is beyond doubt"],
)
def test_a_frame_around_another_middle_is_no_copy(middle: float, odds_above: float, plausible: bool) -> None:
    frame = Candidate("ref", BEYOND_DOUBT + odds_above, replace(COPY, middle=middle), np.eye(3), (0, 0, 100, 100))
    assert is_plausible(frame, (100, 100)) is plausible


SOFT = Agreement(blocks=5, grey=1.0, grey_closely=1.0, details=1.0, details_closely=0.8, median_grey=0.97)


def meeting(points: int = 60, *, bits: float = 28, tight: float = 0.55) -> Alignment:
    """So many points in view that found their partners, the first ones of the query."""
    return Alignment(np.eye(3), np.arange(points, dtype=np.int32), 90, bits, tight)


def soft_odds(
    agreement: Agreement = SOFT,
    alignment: Alignment | None = None,
    *,
    spread: float = 0.3,
    cover: float = 1.0,
    marked: float = 0.0,
) -> float:
    return log_odds_of_soft_part(agreement, alignment or meeting(), spread, cover, marked)


def test_of_a_soft_part_the_points_prove_what_the_few_blocks_cannot() -> None:
    assert odds(SOFT) == IMPOSSIBLE
    assert soft_odds() > THRESHOLD


@pytest.mark.parametrize(
    "agreement",
    [
        replace(SOFT, blocks=1),
        replace(SOFT, blocks=20),
        replace(SOFT, grey=0.79),
        replace(SOFT, details=0.39),
        replace(SOFT, in_place=2, moved=3),
    ],
    ids=[
        "hardly anything tells",
        "enough blocks to tell by",
        "too many disagree",
        "details disagree",
        "more moved than stayed",
    ],
)
def test_in_a_soft_part_most_of_its_few_blocks_agree(agreement: Agreement) -> None:
    assert soft_odds(agreement) == IMPOSSIBLE


def test_a_soft_part_needs_many_points_or_close_ones_in_more_than_a_corner() -> None:
    assert soft_odds(alignment=meeting(bits=41)) == IMPOSSIBLE
    assert soft_odds(alignment=meeting(tight=0.34)) == IMPOSSIBLE
    assert soft_odds(cover=0.89) == IMPOSSIBLE
    assert soft_odds(marked=0.76) == IMPOSSIBLE
    many, few = meeting(30, bits=40), meeting(9, bits=35)
    assert soft_odds(alignment=many, spread=0.15) > THRESHOLD
    assert soft_odds(alignment=many, spread=0.12) == IMPOSSIBLE
    assert soft_odds(alignment=meeting(29, bits=36)) == IMPOSSIBLE
    assert soft_odds(alignment=few, spread=0.08) > THRESHOLD
    assert soft_odds(alignment=few, spread=0.04) == IMPOSSIBLE
    assert soft_odds(alignment=meeting(8, bits=20)) == IMPOSSIBLE


def test_the_spread_of_meeting_points_is_told_by_cells() -> None:
    x, y = np.meshgrid(np.arange(10) * 40 + 20, np.arange(10) * 20 + 10)
    points = np.stack([x.ravel(), y.ravel(), 0 * x.ravel(), 0 * x.ravel()], axis=1).astype(np.float32)
    query = Features(points, np.zeros((100, 4), np.uint64))
    assert spread_of(meeting(100), query, (400, 200)) == 1
    assert spread_of(meeting(2), query, (400, 200)) == 1 / 25  # side by side
    assert spread_of(meeting(10), query, (400, 200)) == 5 / 25  # one row
    assert spread_of(meeting(0), query, (400, 200)) == 0

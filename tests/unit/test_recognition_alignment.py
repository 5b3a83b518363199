"""Guided alignment: query points by cell, and who meets whom."""

import numpy as np
import pytest

from services.matching.recognition.alignment import CELLS, MEETING_MIN, align, grid_of
from shared.fingerprints.features import Features

WIDTH, HEIGHT = 300.0, 200.0


def some_features(count: int, seed: int = 1) -> Features:
    """Points anywhere, some of them at the border and beyond it, with descriptors of their own."""
    chance = np.random.default_rng(seed)
    points = np.zeros((count, 4), np.float32)
    points[:, :2] = chance.uniform((-1, -1), (WIDTH + 1, HEIGHT + 1), (count, 2))
    points[: count // 8, :2] = np.rint(points[: count // 8, :2] / 100) * 100
    return Features(points, chance.integers(0, 2**64, (count, 4), np.uint64))


@pytest.mark.parametrize("count", [0, 1, 400])
def test_a_grid_has_every_point_once_in_its_cell_the_last_one_first(count: int) -> None:
    points = some_features(count).points
    grid = grid_of(points, WIDTH, HEIGHT)
    assert grid.begins[0] == 0
    assert grid.begins[-1] == count
    assert sorted(grid.order.tolist()) == list(range(count))
    np.testing.assert_array_equal(grid.points, points[grid.order])
    sides = np.array([WIDTH, HEIGHT], np.float32)
    for cell in range(CELLS * CELLS):
        here = grid.order[grid.begins[cell] : grid.begins[cell + 1]].tolist()
        assert here == sorted(here, reverse=True)
        place = np.clip((points[here, :2] * CELLS / sides).astype(int), 0, CELLS - 1)
        assert (place == (cell % CELLS, cell // CELLS)).all()


def test_points_meet_their_own_kind_and_nothing_else() -> None:
    features = some_features(200)
    grid = grid_of(features.points, WIDTH, HEIGHT)
    alignment = align(features, features, grid, np.eye(3))
    # At the border itself the last digits of the map decide.
    inside = ((features.points[:, :2] > 0.1) & (features.points[:, :2] < (WIDTH - 0.1, HEIGHT - 0.1))).all(axis=1)
    outside = ((features.points[:, :2] < -0.1) | (features.points[:, :2] > (WIDTH, HEIGHT))).any(axis=1)
    np.testing.assert_array_equal(alignment.partners[inside], np.flatnonzero(inside))
    assert (alignment.partners[outside] == -1).all()
    assert alignment.median_bits == 0
    strangers = some_features(200, seed=2)
    assert align(strangers, features, grid, np.eye(3)).meeting < MEETING_MIN


@pytest.mark.parametrize("row", [0, 1])
def test_a_map_that_is_no_number_meets_nobody(row: int) -> None:
    features, matrix = some_features(50), np.eye(3)
    matrix[row] = np.nan
    assert align(features, features, grid_of(features.points, WIDTH, HEIGHT), matrix).meeting == 0

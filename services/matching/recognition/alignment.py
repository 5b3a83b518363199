"""Guided alignment: from a rough similarity to a map under which the points of two pictures meet.

Every round looks for each reference point near the place where the map expects it, keeps what agrees and fits again,
in an ever smaller circle. That takes the place of brute-force matching and RANSAC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from services.matching.recognition.geometry import is_mild
from services.matching.recognition.votes import fit
from shared.fingerprints.compiled import Bits, Counts, Floats, Singles, compiled, hamming
from shared.fingerprints.features import Features

CELLS = 24  # a side of the grid over the query's points
SPREAD_CELLS = 5
MEETING_MIN = 4
TOLERANCE_RADIANS = 0.5
TOLERANCE_LOG_SCALE = 0.4
# Each round: radius in px, distance in bits.
ROUNDS = ((24.0, 58), (12.0, 66), (6.0, 76), (5.0, 76))
AFFINE_FROM_POINTS = 7
FIRST_AFFINE_FROM_POINTS = 12
HOMOGRAPHY_FROM_POINTS = 60
AREA_RATIO_MIN, AREA_RATIO_MAX = 0.0025, 100.0


class Grid(NamedTuple):
    """Query points by cell: where each cell begins in `order`, which holds their numbers; `points` in that order."""

    begins: Counts
    order: Counts
    points: Singles
    width: float
    height: float


@compiled
def grid_of(points: Singles, width: float, height: float) -> Grid:
    """Sort points (n, 4) of a picture of this size into cells, the last ones first."""
    cells, begins = np.empty(len(points), np.int32), np.zeros(CELLS * CELLS + 1, np.int32)
    for point in range(len(points)):
        column = min(CELLS - 1, max(0, int(points[point, 0] * CELLS / width)))
        row = min(CELLS - 1, max(0, int(points[point, 1] * CELLS / height)))
        cells[point] = row * CELLS + column
        begins[cells[point]] += 1
    begins = np.cumsum(begins).astype(np.int32)
    order = np.empty(len(points), np.int32)
    for point in range(len(points)):
        begins[cells[point]] -= 1
        order[begins[cells[point]]] = point
    return Grid(begins, order, points[order], width, height)


@compiled
def _meet(
    source: Singles,
    source_words: Bits,
    target_words: Bits,
    grid: Grid,
    matrix: Floats,
    radius_px: float,
    bits_max: int,
    partners: Counts,
    distances: Counts,
) -> int:
    """The most similar query point near each mapped reference point (-1: none); returns how many map inside."""
    scale = math.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])) + 1e-9
    grown, turned = math.log(scale), math.atan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])
    radius = min(max(radius_px, radius_px * scale), 2.5 * radius_px)
    begins, order, target, inside = grid.begins, grid.order, grid.points, 0
    near = np.empty(len(target), np.int32)
    for point in range(len(source)):
        partners[point], distances[point] = -1, 999
        x = matrix[0, 0] * source[point, 0] + matrix[0, 1] * source[point, 1] + matrix[0, 2]
        y = matrix[1, 0] * source[point, 0] + matrix[1, 1] * source[point, 1] + matrix[1, 2]
        if x < 0 or y < 0 or x >= grid.width or y >= grid.height:
            continue
        inside += 1
        best, count, size = bits_max + 1, 0, source[point, 2] + grown
        low_row, high_row = int((y - radius) * CELLS / grid.height), int((y + radius) * CELLS / grid.height)
        low_column, high_column = int((x - radius) * CELLS / grid.width), int((x + radius) * CELLS / grid.width)
        low_column = max(0, low_column)
        high_column = max(low_column, min(CELLS - 1, high_column))
        for row in range(max(0, low_row), min(CELLS - 1, high_row) + 1):
            # The cells of a row lie one after the other.
            for place in range(begins[row * CELLS + low_column], begins[row * CELLS + high_column + 1]):
                dx, dy, larger = target[place, 0] - x, target[place, 1] - y, target[place, 2] - size
                # No branch, which would be foreseen wrongly.
                near[count] = place
                count += (dx * dx + dy * dy <= radius * radius) & (abs(larger) < TOLERANCE_LOG_SCALE)
        for place in near[:count]:
            away = target[place, 3] - source[point, 3] - turned
            away -= 2 * math.pi * math.floor(away / (2 * math.pi) + 0.5)
            if abs(away) < TOLERANCE_RADIANS:
                distance = hamming(source_words[point], target_words[order[place]])
                if distance < best:
                    best = distance
                    partners[point], distances[point] = order[place], distance
    return inside


@compiled
def _errors(source: Floats, target: Singles, partners: Counts, matrix: Floats, places: Floats) -> Floats:
    """Distances in px between mapped points and their partners (1e9 without one); `places` receives the partners'."""
    errors = np.full(len(source), 1e9)
    for point in range(len(source)):
        if partners[point] >= 0:
            places[point, 0], places[point, 1] = target[partners[point], 0], target[partners[point], 1]
            x = matrix[0, 0] * source[point, 0] + matrix[0, 1] * source[point, 1] + matrix[0, 2] - places[point, 0]
            y = matrix[1, 0] * source[point, 0] + matrix[1, 1] * source[point, 1] + matrix[1, 2] - places[point, 1]
            errors[point] = math.sqrt(x * x + y * y)
    return errors


@compiled
def _align(
    source: Singles, source_words: Bits, target: Singles, target_words: Bits, grid: Grid, matrix: Floats
) -> tuple[Floats, Counts, int, float, float]:
    """Matrix, partners (-1: none), points that map inside, median distance in bits, share that meets tightly."""
    total = len(source)
    partners, distances = np.full(total, -1, np.int32), np.empty(total, np.int32)
    nobody = np.full(total, -1, np.int32)
    plain, places = source[:, :2].astype(np.float64), np.zeros((total, 2))
    inside = 0
    used, errors = np.zeros(total, np.bool_), np.zeros(total)
    for turn in range(len(ROUNDS)):
        radius_px, bits_max = ROUNDS[turn]
        inside = _meet(source, source_words, target_words, grid, matrix, radius_px, bits_max, partners, distances)
        met = np.count_nonzero(partners >= 0)
        if met < MEETING_MIN:
            return matrix, nobody, inside, 99.0, 0.0
        errors = _errors(plain, target, partners, matrix, places)
        scale = math.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
        middle = np.sort(errors)[met // 2]
        if turn == 0:
            used = errors <= max(4.0 * max(1.0, scale), 1.6 * middle)
        else:
            used = errors <= max(1.5 * max(1.0, scale), 2.2 * middle)
        if turn == len(ROUNDS) - 1:
            break
        count = np.count_nonzero(used)
        if count < MEETING_MIN:
            return matrix, nobody, inside, 99.0, 0.0
        least = FIRST_AFFINE_FROM_POINTS if turn == 0 else AFFINE_FROM_POINTS
        matrix, fixed = fit(plain, places, used, bool(count >= least))
        area = abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])
        if not fixed or area < AREA_RATIO_MIN or area > AREA_RATIO_MAX:
            return matrix, nobody, inside, 99.0, 0.0
    scale = math.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    tight = np.count_nonzero(used & (errors <= 1.5 * max(1.0, math.sqrt(scale))))
    kept = np.where(used, partners, nobody)
    bits = np.sort(distances[used])
    return matrix, kept, inside, float(bits[len(bits) // 2]) if len(bits) else 99.0, tight / max(1, inside)


@dataclass(frozen=True, eq=False)
class Alignment:
    """How a reference lies in a query: matrix (3 x 3, reference px to query px) and how well the points meet.

    partners int32 (n): the query point of each reference point, -1 for none.
    """

    matrix: Floats
    partners: Counts
    inside: int
    median_bits: float
    tight_share: float

    @property
    def meeting(self) -> int:
        """Points that found their partner."""
        return int((self.partners >= 0).sum())


def align(source: Features, target: Features, grid: Grid, matrix: Floats) -> Alignment:
    """Sharpen a rough map from the points of a reference to those of a query."""
    return Alignment(*_align(source.points, source.descriptors, target.points, target.descriptors, grid, matrix))


def spread_of(alignment: Alignment, target: Features, size_px: tuple[int, int]) -> float:
    """Share of the SPREAD_CELLS x SPREAD_CELLS cells of a query (width, height) in which points meet."""
    return _cells_met(target.points, alignment.partners, *size_px) / SPREAD_CELLS**2


@compiled
def _cells_met(target: Singles, partners: Counts, width: int, height: int) -> int:
    met = np.zeros((SPREAD_CELLS, SPREAD_CELLS), np.bool_)
    for partner in partners:
        if partner >= 0:
            column = min(SPREAD_CELLS - 1, max(0, int(target[partner, 0] * (SPREAD_CELLS / width))))
            row = min(SPREAD_CELLS - 1, max(0, int(target[partner, 1] * (SPREAD_CELLS / height))))
            met[row, column] = True
    return int(met.sum())


def tilted(alignment: Alignment, source: Features, target: Features, size_px: tuple[int, int]) -> Floats:
    """The perspective map over the meeting points when there are enough and it is mild, else the map as it is."""
    if alignment.meeting < HOMOGRAPHY_FROM_POINTS:
        return alignment.matrix
    met = alignment.partners >= 0
    there = target.points[alignment.partners[met], :2].astype(np.float64)
    found, _ = cv2.findHomography(source.points[met, :2].astype(np.float64), there, 0)
    matrix = alignment.matrix if found is None else found.astype(np.float64)
    return matrix if is_mild(matrix, size_px) else alignment.matrix

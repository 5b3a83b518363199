"""The points of a reference, looked for once more where a map puts them.

A search compares points that were detected on both sides; compression, blur and smallness make a detector find others.
Here nothing is detected: the query is laid over the reference at the size at which that was described, and what it
shows at every point of the reference is described there, and a little beside it. Where most points look more alike
beside their places, the map is a little wrong: what all of them say together corrects it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.matching.recognition.blocks import laid_over
from services.matching.recognition.geometry import inverse, is_mild, mapped, scale_of, shift
from services.matching.recognition.shelf import Entry
from shared.fingerprints.compiled import Counts, Flags, Floats, Grey
from shared.fingerprints.features import DESCRIPTOR_BITS, PATCH_RADIUS, Features, distances_at

# The own place first, then those beside it.
AROUND = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)], np.int32)
ALIKE_BITS = 64
ALIKE_MIN, TILTED_FROM_POINTS = 12, 60
FINEST = 0.7  # of a query's pixel: below it the level of a point was finer than the query
FIT_ROUNDS = 5
SPREAD_MIN_PX = 0.5
RIDGE = 1e-3  # small beside any point; points in one line do not fix a map without it
PATCH_INSIDE = 0.37  # of a patch's radius: so far inside the query a point must lie


@dataclass(frozen=True, eq=False)
class Seen:
    """What a query shows at the points of a reference.

    distances int32 (n, 5): bits at the own place and beside it; asked: which points are inside the query, resolved by
    it and not on shared blocks. Of the others nothing is known, and their distances are the largest there are.
    """

    distances: Counts
    asked: Flags

    @property
    def alike(self) -> Flags:
        """Asked points that look alike at their place or beside it."""
        flags: Flags = self.asked & (self.distances.min(axis=1) < ALIKE_BITS)
        return flags

    @property
    def median_bits(self) -> float:
        """Median distance of the alike points, each at its best place."""
        alike = self.distances[self.alike]
        return float(np.median(alike.min(axis=1))) if len(alike) else float(ALIKE_BITS)


def look(entry: Entry, grey: Grey, matrix: Floats, step_px: int) -> Seen:
    """Describe a query at the points of a reference under a map (3 x 3, reference px to query px)."""
    points, size = entry.features.points, entry.fingerprint.size_px
    laid, grey, matrix = laid_over(grey, matrix, size)
    scale = scale_of(matrix)
    there = mapped(points[:, :2].astype(np.float64), matrix)
    scales = np.exp(points[:, 2].astype(np.float64))
    rim = (PATCH_INSIDE * PATCH_RADIUS * scale * scales)[:, None]
    inside = ((there > rim) & (there < np.array(grey.shape[::-1]) - 1 - rim)).all(axis=1)
    asked: Flags = inside & (scales * scale >= FINEST)
    if entry.on_shared is not None:
        asked &= ~entry.on_shared
    distances = np.full((len(points), len(AROUND)), DESCRIPTOR_BITS, np.int32)
    features = Features(points[asked], entry.features.descriptors[asked])
    distances[asked] = distances_at(laid, features, AROUND * step_px)
    return Seen(distances, asked)


def corrected(entry: Entry, seen: Seen, matrix: Floats, step_px: int) -> Floats | None:
    """The map under which the alike points lie in their places; None when they are too few to say."""
    alike, size = seen.alike, entry.fingerprint.size_px
    count = int(alike.sum())
    if count < ALIKE_MIN:
        return None
    points, distances = entry.features.points[alike].astype(np.float64), seen.distances[alike]
    scales = np.exp(points[:, 2])
    moves = _best_places(distances) * (step_px * scales)[:, None]
    side = float(max(size))
    x, y = ((points[:, :2] - np.array(size) / 2) / side).T
    one, zero = np.ones(count), np.zeros(count)
    terms = np.concatenate([np.stack([one, x, y, zero, zero, zero], 1), np.stack([zero, zero, zero, one, x, y], 1)])
    if count >= TILTED_FROM_POINTS:
        tilts = np.concatenate([np.stack([x * x, x * y], 1), np.stack([x * y, y * y], 1)])
        terms = np.concatenate([terms, tilts], axis=1)
    found = _robust_fit(terms, moves.T.ravel(), 1 / scales**2)
    a, b, c, d, e, f, g, h = np.concatenate([found, np.zeros(8 - len(found))]) / side
    # To first order, for moves are small beside the picture: (x, y) goes to itself and its move.
    own = np.array([[1 + b, c, a], [e, 1 + f, d], [-g, -h, 1.0]])
    unit = np.diag([1 / side, 1 / side, 1.0]) @ shift(-size[0] / 2, -size[1] / 2)
    result = matrix @ inverse(unit) @ own @ unit
    result = np.asarray(result / result[2, 2], np.float64)
    return result if np.isfinite(result).all() and is_mild(result, size) else None


def _best_places(distances: Counts) -> Floats:
    """Where points (n) are most alike, (n, 2) in steps from their own places: between steps, by a parabola per axis."""
    best, own = np.zeros((len(distances), 2)), distances[:, 0].astype(np.float64)
    for axis, (before, after) in enumerate(((1, 2), (3, 4))):
        low, high = distances[:, before] - own, distances[:, after] - own
        inner = (low >= 0) & (high >= 0)
        beside = np.where(low < high, -1.0, 1.0)
        best[:, axis] = np.where(inner, 0.5 * (low - high) / np.maximum(low + high, 1), beside)
    return best


def _robust_fit(terms: Floats, moves: Floats, weights: Floats) -> Floats:
    """Least squares over terms (2n, k) and moves (2n), where a point (n) far from what the others say counts little."""
    found: Floats = np.zeros(terms.shape[1])
    left = np.hypot(*(moves.reshape(2, -1) - np.median(moves.reshape(2, -1), axis=1)[:, None]))
    for _ in range(FIT_ROUNDS):
        trust = 1 / (1 + (left / max(SPREAD_MIN_PX, 1.5 * float(np.median(left)))) ** 2)
        weighed = terms * np.tile(weights * trust, 2)[:, None]
        found = np.linalg.solve(weighed.T @ terms + RIDGE * np.eye(terms.shape[1]), weighed.T @ moves)
        left = np.hypot(*(moves - terms @ found).reshape(2, -1))
    return found

"""Whether what agrees also stays in place.

Wherever it is not covered, a copy meets its original to a fraction of a pixel. A second photograph of the same scene
agrees too, but not in place: the camera moved, cloth fell anew. So every agreeing block is asked how far it would have
to move to agree best, by one step of Lucas and Kanade (1981) with the mean of both gradients; what one affine map over
all blocks explains is the alignment's error, and the rest is what the block moved by itself.
"""

from __future__ import annotations

import math

import numpy as np

from shared.fingerprints.compiled import Flags, Floats, Grey, compiled

BLOCK_PX, STEP_PX = 24, 12
GRIP_MIN = 2.0  # the smaller eigenvalue of the structure tensor, per pixel: below it a block slides along an edge
DAMPING = 1.0
MOVED_MAX_PX = 0.2
BLOCKS_MIN, AFFINE_FROM_BLOCKS = 4, 8
ROUNDS = 4
SPREAD_MIN_PX = 0.03


@compiled
def step(xx: float, yy: float, xy: float, xd: float, yd: float) -> Floats:
    """One step (3: x, y in px, grip) from the mean products of both slopes, and of the slopes with the difference."""
    area = (xx + DAMPING) * (yy + DAMPING) - xy * xy
    grip = 0.5 * (xx + yy - math.sqrt((xx - yy) * (xx - yy) + 4 * xy * xy))
    return np.array([(xd * (yy + DAMPING) - yd * xy) / area, (yd * (xx + DAMPING) - xd * xy) / area, grip])


@compiled
def _moves(one: Grey, other: Grey, asked: Flags) -> Floats:
    """Maps (3, rows, columns): how far other's block lies from one's in x and y px, and its grip; 0 where not asked."""
    height, width = one.shape
    maps = np.zeros((3, asked.shape[0], asked.shape[1]))
    for row in range(asked.shape[0]):
        for column in range(asked.shape[1]):
            if not asked[row, column]:
                continue
            top, left = max(1, row * STEP_PX), max(1, column * STEP_PX)
            bottom, right = min(height - 1, row * STEP_PX + BLOCK_PX), min(width - 1, column * STEP_PX + BLOCK_PX)
            count = float((bottom - top) * (right - left))
            a, b, aa, bb = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
            for y in range(top, bottom):
                for x in range(left, right):
                    p, q = np.int64(one[y, x]), np.int64(other[y, x])
                    a, b, aa, bb = a + p, b + q, aa + p * p, bb + q * q
            mean_a, mean_b = a / count, b / count
            gain = math.sqrt(max(aa / count - mean_a * mean_a, 1.0) / max(bb / count - mean_b * mean_b, 1.0))
            xx, yy, xy, xd, yd = 0.0, 0.0, 0.0, 0.0, 0.0
            for y in range(top, bottom):
                for x in range(left, right):
                    slope_x = (
                        np.int64(one[y, x + 1]) - one[y, x - 1] + gain * (np.int64(other[y, x + 1]) - other[y, x - 1])
                    )
                    slope_y = (
                        np.int64(one[y + 1, x]) - one[y - 1, x] + gain * (np.int64(other[y + 1, x]) - other[y - 1, x])
                    )
                    u, v = 0.25 * slope_x, 0.25 * slope_y
                    away = gain * (other[y, x] - mean_b) - (one[y, x] - mean_a)
                    xx, yy, xy, xd, yd = xx + u * u, yy + v * v, xy + u * v, xd + u * away, yd + v * away
            xx, yy, xy, xd, yd = xx / count, yy / count, xy / count, xd / count, yd / count
            maps[:, row, column] = step(xx, yy, xy, xd, yd)
    return maps


def in_place(one: Grey, other: Grey, agreeing: Flags) -> tuple[Flags, Flags]:
    """Which agreeing blocks (rows, columns) did not move by themselves, and which can be asked; `other` is over `one`.

    Of too few that can be asked none is known to stay.
    """
    return staying(_moves(one, other, agreeing), agreeing)


def staying(moves: Floats, asked: Flags) -> tuple[Flags, Flags]:
    """Which asked blocks did not move by themselves, and which could be asked.

    moves: maps (3, rows, columns) of how far each lies from its place in x and y px, and of its grip.
    """
    held = asked & (moves[2] > GRIP_MIN)
    stays = np.zeros_like(asked)
    if held.sum() >= BLOCKS_MIN:
        stays[held] = _own_moves(moves[:2, held].T, np.argwhere(held).astype(np.float64)) < MOVED_MAX_PX
    return stays, held


def _own_moves(moves: Floats, places: Floats) -> Floats:
    """Lengths (n) of what is left of moves (n, 2) of blocks at places (n, 2) after an affine map fitted robustly."""
    terms = np.ones((len(moves), 3 if len(moves) >= AFFINE_FROM_BLOCKS else 1))
    terms[:, 1:] = places[:, : terms.shape[1] - 1]
    weights, left = np.ones(len(moves)), np.zeros(len(moves))
    for _ in range(ROUNDS):
        common = np.linalg.lstsq(terms * weights[:, None], moves * weights[:, None], rcond=None)[0]
        left = np.hypot(*(moves - terms @ common).T)
        weights = 1 / (1 + (left / max(SPREAD_MIN_PX, 1.5 * float(np.median(left)))) ** 2)
    return left

"""What a mark repeats: of a tiled pattern, a masked part masks the other parts of the same picture too.

Two references that share a pattern meet under one map, and what lies outside the overlap stays unmasked, although it is
the same pattern. So a picture is laid over itself by the shifts that many of its own points suggest, and a block that
looks like a masked one is masked as well.
"""

from __future__ import annotations

import cv2
import numpy as np

from services.matching.recognition.blocks import TILE_PX, Blocks, View, compare
from services.matching.recognition.geometry import inverse, mapped, shift
from shared.fingerprints import Fingerprint
from shared.fingerprints.compiled import Bits, Counts, Flags, Floats, Singles, compiled, hamming

BITS_MAX = 40
TOLERANCE_RADIANS, TOLERANCE_LOG_SCALE = 0.2, 0.2
SHIFT_MIN_PX, CELL_PX = 6.0, 3.0  # of the thumbnail
PAIRS_MIN = 15
SHIFTS_MAX = 12
SAME_GREY, NEAR_SAME_GREY = 0.9, 0.6
ROUNDS = 12


def with_lookalikes(fingerprint: Fingerprint, unit: Floats, masked: Flags) -> Flags:
    """The masked blocks (rows, columns) of a reference and those that look like them.

    unit: from thumbnail pixels to pixels of the decoded picture.
    """
    pairs = _alike(fingerprint.points, fingerprint.descriptors)
    if len(pairs) < PAIRS_MIN:
        return masked
    view = View(fingerprint.thumbnail)
    laid = [(move, compare(view, fingerprint.thumbnail, shift(*move))) for move in _shifts(fingerprint, unit, pairs)]
    result = masked
    for _ in range(ROUNDS):
        found = result.copy()
        for move, blocks in laid:
            if blocks is not None:
                found |= _looking_like(blocks, _moved(result, move))
        if (found == result).all():
            break
        result = found
    return result


@compiled
def _alike(points: Singles, words: Bits) -> Counts:
    """Pairs (n, 2) of points of one picture that look the same, upright on upright."""
    found = np.empty((len(points) * (len(points) - 1) // 2, 2), np.int32)
    count = 0
    for one in range(len(points)):
        for other in range(one + 1, len(points)):
            turned = abs(points[one, 3] - points[other, 3])
            turned = min(turned, 2 * np.pi - turned)
            if turned > TOLERANCE_RADIANS or abs(points[one, 2] - points[other, 2]) > TOLERANCE_LOG_SCALE:
                continue
            if hamming(words[one], words[other]) <= BITS_MAX:
                found[count, 0], found[count, 1] = one, other
                count += 1
    return found[:count]


def _shifts(fingerprint: Fingerprint, unit: Floats, pairs: Counts) -> list[tuple[float, float]]:
    """The moves in thumbnail px, there and back, that most pairs agree on."""
    places = mapped(fingerprint.points[:, :2].astype(np.float64), inverse(unit))
    moves = places[pairs[:, 1]] - places[pairs[:, 0]]
    moves = moves[np.hypot(*moves.T) > SHIFT_MIN_PX]
    # One of both directions, so that a shift and the way back are one.
    moves[(moves[:, 0] < 0) | ((moves[:, 0] == 0) & (moves[:, 1] < 0))] *= -1
    cells, counts = np.unique(np.round(moves / CELL_PX).astype(int), axis=0, return_counts=True)
    result: list[tuple[float, float]] = []
    for cell in cells[np.lexsort((cells[:, 1], cells[:, 0], -counts))]:
        near = moves[np.hypot(*(moves - cell * CELL_PX).T) < CELL_PX]
        if len(near) < PAIRS_MIN or len(result) >= 2 * SHIFTS_MAX:
            continue
        x, y = np.median(near, axis=0).tolist()
        result += [(x, y), (-x, -y)]
    return result


def _moved(masked: Flags, move: tuple[float, float]) -> Flags:
    """For each block whether there is a masked one, mostly, where the move leads."""
    by = np.array([[1, 0, move[0] / TILE_PX], [0, 1, move[1] / TILE_PX]])
    there = cv2.warpAffine(
        masked.astype(np.float32), by, masked.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    result: Flags = there > 0.5
    return result


def _looking_like(blocks: Blocks, masked_there: Flags) -> Flags:
    """Blocks that agree with a masked one, and half-agreeing ones beside them."""
    same = blocks.same(SAME_GREY) & masked_there
    beside = cv2.dilate(same.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    result: Flags = same | (blocks.telling & (blocks.grey > NEAR_SAME_GREY) & beside)
    return result

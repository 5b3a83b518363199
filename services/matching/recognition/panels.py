"""Pictures inside a picture: what lies as a full rectangle on a flat ground, as in a screenshot or on a page."""

from __future__ import annotations

from itertools import islice

import cv2
import numpy as np

from shared.fingerprints.compiled import Flags, Grey, Places, compiled

Box = tuple[int, int, int, int]

# In grey levels: how far the ground may vary, and how far from it something else begins.
GROUND_TOLERANCE, OFF_GROUND = 2, 4
GROUND_SHARE_MIN = 0.12
HOLE_PX = 3
LETTERS_SHARE = 0.02
PANELS_MAX = 4
SIDE_MIN_PX, AREA_SHARE_MIN, FILLED_SHARE_MIN = 40, 0.04, 0.9
# A rectangle ends abruptly: so far outside of each side most is ground (a disc or a garment goes on, and so do two
# pictures that touch; letters below a picture are mostly gaps).
BESIDE_PX, BESIDE_SHARE_MAX = 3, 0.5


def panels(grey: Grey) -> list[Box]:
    """The largest full rectangles on the flat ground of a picture, as (x0, y0, x1, y1); none where it has no ground.

    Letters, icons and rules lie on the ground as well: what is thinner than about LETTERS_SHARE of the shorter side
    goes. Pictures with less than HOLE_PX of ground between them are one.
    """
    ground = _ground(grey)
    if ground is None:
        return []
    off = _solid(cv2.inRange(grey, ground - OFF_GROUND, ground + OFF_GROUND) == 0)
    # Every other row and column tell the parts, all of them where each begins and ends.
    _, _, found, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(off[::2, ::2]), connectivity=4)
    parts = sorted(found[1:].tolist(), key=lambda part: -part[4])
    boxes = (_rectangle(off, 2 * x, 2 * y, 2 * across, 2 * down) for x, y, across, down, _ in parts)
    return list(islice((box for box in boxes if box is not None), PANELS_MAX))


def _solid(flags: Flags) -> Grey:
    """1 where flags are set, after small holes were filled and thin things taken away."""
    thin = max(HOLE_PX, int(LETTERS_SHARE * min(flags.shape)) | 1)
    filled = cv2.morphologyEx(flags.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((HOLE_PX, HOLE_PX), np.uint8))
    return np.asarray(cv2.morphologyEx(filled, cv2.MORPH_OPEN, np.ones((thin, thin), np.uint8)), np.uint8)


@compiled
def _counts(grey: Grey) -> Places:
    """How many of every fourth pixel of every fourth row have each of the 256 levels."""
    counts = np.zeros(256, np.int64)
    for y in range(0, grey.shape[0], 4):
        for x in range(0, grey.shape[1], 4):
            counts[grey[y, x]] += 1
    return counts


def _ground(grey: Grey) -> float | None:
    """The commonest grey, when enough of the picture has it."""
    counts = _counts(grey)
    about = np.convolve(counts, np.ones(2 * GROUND_TOLERANCE + 1, np.int64), "same")
    level = int(about.argmax())
    return float(level) if about[level] >= GROUND_SHARE_MIN * counts.sum() else None


def _rectangle(off: Grey, x: int, y: int, across: int, down: int) -> Box | None:
    """The rows and columns about a part that are mostly off the ground; None when that is no full rectangle."""
    if not _is_large(across + 2, down + 2, off):
        return None
    x, y = max(0, x - 1), max(0, y - 1)
    part = off[y : y + down + 2, x : x + across + 2]
    rows, columns = np.flatnonzero(part.mean(axis=1) > 0.5), np.flatnonzero(part.mean(axis=0) > 0.5)
    if len(rows) == 0 or len(columns) == 0:
        return None
    box = x + int(columns[0]), y + int(rows[0]), x + int(columns[-1]) + 1, y + int(rows[-1]) + 1
    x0, y0, x1, y1 = box
    if not _is_large(x1 - x0, y1 - y0, off) or off[y0:y1, x0:x1].mean() < FILLED_SHARE_MIN:
        return None
    return box if all(line.mean() < BESIDE_SHARE_MAX for line in _beside(off, box) if line.size) else None


def _is_large(width: int, height: int, picture: Grey) -> bool:
    return min(width, height) >= SIDE_MIN_PX and width * height >= AREA_SHARE_MIN * picture.size


def _beside(off: Grey, box: Box) -> tuple[Grey, Grey, Grey, Grey]:
    """The lines a little outside of the four sides; empty where the picture ends."""
    x0, y0, x1, y1 = box
    left, top, right, bottom = x0 - BESIDE_PX, y0 - BESIDE_PX, x1 + BESIDE_PX - 1, y1 + BESIDE_PX - 1
    across, down = off[:, x0:x1], off[y0:y1]
    return (
        across[max(top, 0) : max(top + 1, 0)],
        across[bottom : bottom + 1],
        down[:, max(left, 0) : max(left + 1, 0)],
        down[:, right : right + 1],
    )

"""Maps between pictures: 3 x 3 matrices, pixel centres at whole numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from shared.fingerprints.compiled import Floats, compiled

Region = tuple[float, float, float, float]
Size = Sequence[int]

TILT_MAX = 0.6
COVERED_SHARE_TOLD_FROM = 0.05  # below it, strong compression alone makes some blocks differ


def scaling(old_px: Size, new_px: Size) -> Floats:
    """From pixels of a picture of one (width, height) to pixels of the same picture in another size."""
    x, y = new_px[0] / old_px[0], new_px[1] / old_px[1]
    return np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1.0]])


def inverse(matrix: Floats) -> Floats:
    """The way back; raises numpy.linalg.LinAlgError when there is none."""
    return np.linalg.inv(matrix).astype(np.float64, copy=False)


def mirror(width_px: int) -> Floats:
    """From pixels of a picture to those of its mirror image, and back."""
    return np.array([[-1.0, 0, width_px - 1], [0, 1, 0], [0, 0, 1]])


def shift(x_px: float, y_px: float) -> Floats:
    """A move."""
    return np.array([[1.0, 0, x_px], [0, 1, y_px], [0, 0, 1]])


def unturned(turn: int, size_px: Size) -> Floats:
    """From pixels of `whole.turned(picture, turn)` to pixels of the picture, which is (width, height)."""
    right, bottom = size_px[0] - 1.0, size_px[1] - 1.0
    rows = (
        ((1, 0, 0), (0, 1, 0)),
        ((0, -1, right), (1, 0, 0)),
        ((-1, 0, right), (0, -1, bottom)),
        ((0, 1, 0), (-1, 0, bottom)),
        ((1, 0, 0), (0, -1, bottom)),
        ((-1, 0, right), (0, 1, 0)),
        ((0, 1, 0), (1, 0, 0)),
        ((0, -1, right), (-1, 0, bottom)),
    )[turn]
    return np.array([*rows, (0, 0, 1)], np.float64)


@compiled
def mapped(points: Floats, matrix: Floats) -> Floats:
    """Points (n, 2) under a map."""
    there = np.empty((len(points), 2))
    for point in range(len(points)):
        x, y = points[point, 0], points[point, 1]
        depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
        depth = 1e-9 if abs(depth) < 1e-9 else depth
        there[point, 0] = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / depth
        there[point, 1] = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / depth
    return there


def mapped_corners(matrix: Floats, size_px: Size) -> Floats:
    """The four corners of a picture (width, height) under a map, (4, 2)."""
    x, y = size_px[0] - 0.5, size_px[1] - 0.5
    return mapped(np.array([[-0.5, -0.5], [x, -0.5], [x, y], [-0.5, y]]), matrix)


def region_of(matrix: Floats, source_px: Size, target_px: Size) -> Region:
    """The upright box that a mapped picture takes in another one, in edges from 0 to width and height."""
    corners = (mapped_corners(matrix, source_px) + 0.5).tolist()
    (xs, ys), (width, height) = zip(*corners, strict=True), target_px
    left, right = (float(min(max(x, 0), width)) for x in (min(xs), max(xs)))
    top, bottom = (float(min(max(y, 0), height)) for y in (min(ys), max(ys)))
    return left, top, right, bottom


def area(region: Region) -> float:
    """Area of a box."""
    return max(0.0, region[2] - region[0]) * max(0.0, region[3] - region[1])


def overlap(one: Region, other: Region) -> float:
    """Share of the smaller box that lies in the other."""
    common = (max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3]))
    return area(common) / max(1.0, min(area(one), area(other)))


def visible_outline(matrix: Floats, source_px: Size, target_px: Size) -> Floats | None:
    """The part of a mapped picture that lies inside the other one, in pixels of that one, (n, 2).

    n is 0 when nothing does; None when the map folds the picture, so that it has no outline.
    """
    quad = mapped_corners(matrix, source_px).astype(np.float32)
    if abs(cv2.contourArea(quad)) < 1e-6 or not cv2.isContourConvex(quad):
        return None
    x, y = target_px[0] - 0.5, target_px[1] - 0.5
    frame = np.array([[-0.5, -0.5], [x, -0.5], [x, y], [-0.5, y]], np.float32)
    outline = cv2.intersectConvexConvex(quad, frame)[1]
    return np.zeros((0, 2)) if outline is None else outline.reshape(-1, 2).astype(np.float64)


def visible_share(matrix: Floats, source_px: Size, target_px: Size) -> float:
    """Share of a picture that lies inside the one it is mapped into."""
    outline = visible_outline(matrix, source_px, target_px)
    if outline is None:
        return 1.0
    whole = abs(cv2.contourArea(mapped_corners(matrix, source_px).astype(np.float32)))
    seen = abs(cv2.contourArea(outline.astype(np.float32))) if len(outline) else 0.0
    return min(1.0, seen / whole)


def is_mild(matrix: Floats, size_px: Size) -> bool:
    """Whether a picture of this size is seen at an angle that a photographed screen may have, or at none."""
    return bool(abs(matrix[2, 0]) * size_px[0] < TILT_MAX and abs(matrix[2, 1]) * size_px[1] < TILT_MAX)


def scale_of(matrix: Floats) -> float:
    """How much a map enlarges, by its linear part."""
    (a, b), (c, d) = matrix[:2, :2].tolist()
    return math.sqrt(abs(a * d - b * c))


def stretch_of(matrix: Floats, source_px: Size) -> float:
    """How much more a map enlarges the middle of a picture one way than across it, 1 for a similarity."""
    middle = np.array([source_px[0] / 2, source_px[1] / 2, 1.0])
    x, y, w = matrix @ middle
    slopes = (matrix[:2, :2] - np.outer([x / w, y / w], matrix[2, :2])) / w
    more, less = np.linalg.svd(slopes, compute_uv=False)
    return float(more / max(less, 1e-9))


def describe(matrix: Floats, source_px: Size, target_px: Size, covered_share: float = 0.0) -> str:
    """A map in words: 'mirrored, cropped to 43 %, rotated 5 degrees clockwise, 12 % covered'.

    covered_share: of what is visible, the share that shows something else.
    """
    a, b, c, d = matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]
    mirrored = a * d - b * c < 0
    if mirrored:
        a, c = -a, -c
    angle = round(math.degrees(math.atan2(c - b, a + d)))
    scale = math.sqrt(max(1e-12, abs(a * d - b * c)))
    stretch = math.hypot(a, c) / max(1e-9, math.hypot(b, d))
    visible = visible_share(matrix, source_px, target_px)
    covers = area(region_of(matrix, source_px, target_px)) / (target_px[0] * target_px[1])
    words = [
        "mirrored" if mirrored else "",
        f"cropped to {visible:.0%}".replace("%", " %") if visible < 0.97 else "",
        f"rotated {_degrees(angle)}" if angle else "",
        f"scaled to {scale:.0%}".replace("%", " %") if abs(scale - 1) > 0.02 else "",
        "stretched" if not 0.93 < stretch < 1.07 else "",
        "seen at an angle" if abs(matrix[2, 0] * source_px[0]) + abs(matrix[2, 1] * source_px[1]) > 0.04 else "",
        f"on {covers:.0%} of the picture".replace("%", " %") if covers < 0.95 else "",
        f"{covered_share:.0%} covered".replace("%", " %") if covered_share >= COVERED_SHARE_TOLD_FROM else "",
    ]
    return ", ".join(word for word in words if word) or "unchanged"


def _degrees(angle: int) -> str:
    return f"{abs(angle)} degree{'s' if abs(angle) > 1 else ''} {'clockwise' if angle > 0 else 'anticlockwise'}"

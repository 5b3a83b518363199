"""Local features: corners spread over the picture, described by 256 bits that know their own mirror image.

Sources: FAST corners (Rosten and Drummond, 2006) as OpenCV finds them; the smaller eigenvalue of the structure tensor
as their strength (Shi and Tomasi, 1994); orientation by the intensity centroid and steered binary tests (ORB, Rublee
et al., 2011); sampling pairs chosen for stable, balanced, uncorrelated bits as in ORB's rBRIEF. Ours: strength is
weighed against the number of stronger corners nearby, and the second 128 tests are the first ones mirrored, so that
the descriptor of the mirrored picture is the same descriptor with its halves swapped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from shared.fingerprints.compiled import Bits, Counts, Floats, Grey, Places, Singles, compiled

PATCH_RADIUS = 15
RIM = 20  # what is reflected around every level, so that patches at the rim are whole
LEVEL_SIDE_MIN_PX = 40
TURN_STEPS = 64
WORDS = 4


@dataclass(frozen=True)
class Spread:
    """How many points are taken, and from where."""

    points: int
    scale_step: float
    levels: int
    cell_px: int
    bold_threshold: int = 20
    faint_threshold: int = 7
    rim_px: int = 4


REFERENCE = Spread(points=400, scale_step=1.2, levels=8, cell_px=48, faint_threshold=5)
QUERY = Spread(points=1000, scale_step=1.41, levels=5, cell_px=32)


@dataclass(frozen=True, eq=False)
class Features:
    """Points float32 (n, 4): x, y in px of the picture, log of scale, angle in radians; descriptors uint64 (n, 4)."""

    points: Singles
    descriptors: Bits

    def __len__(self) -> int:
        return len(self.points)

    def mirrored(self, width_px: int) -> Features:
        """What the mirrored picture would give, without looking at it."""
        points = self.points.copy()
        points[:, 0] = width_px - 1 - points[:, 0]
        points[:, 3] = math.pi - points[:, 3]
        return Features(points, np.ascontiguousarray(self.descriptors[:, [2, 3, 0, 1]]))


NONE = Features(np.zeros((0, 4), np.float32), np.zeros((0, WORDS), np.uint64))


def _steered_tests() -> Places:
    """Offsets (64 turns, 256 tests, 4: x, y of either sample) of the learned pairs and of their mirror images."""
    pairs = np.load(Path(__file__).with_name("sampling_pairs.npy")).astype(np.float64)
    tests = np.concatenate([pairs, pairs * np.array([1, -1, 1, -1])])
    steered = np.empty((TURN_STEPS, len(tests), 4), np.int64)
    for step in range(TURN_STEPS):
        cosine, sine = math.cos(2 * math.pi * step / TURN_STEPS), math.sin(2 * math.pi * step / TURN_STEPS)
        for first in (0, 2):
            x, y = tests[:, first], tests[:, first + 1]
            steered[step, :, first] = np.rint(cosine * x - sine * y)
            steered[step, :, first + 1] = np.rint(sine * x + cosine * y)
    return steered


_TESTS = _steered_tests()
_DISC: Places = np.array([int(math.sqrt(PATCH_RADIUS**2 - row**2)) for row in range(PATCH_RADIUS + 1)], np.int64)


@compiled
def _strengths(padded: Grey, corners: Singles, rim_px: int) -> tuple[Counts, Floats]:
    """Positions in the padded picture (m, 2: x, y) and strengths of the corners that are not too near the rim."""
    height, width = padded.shape
    places = np.empty((len(corners), 2), np.int32)
    strengths = np.empty(len(corners), np.float64)
    count = 0
    for corner in range(len(corners)):
        x, y = int(corners[corner, 0]) + RIM, int(corners[corner, 1]) + RIM
        low = rim_px + RIM
        if x < low or y < low or x >= width - low or y >= height - low:
            continue
        xx, yy, xy = np.int64(0), np.int64(0), np.int64(0)
        for v in range(y - 2, y + 3):
            for u in range(x - 2, x + 3):
                slope_x = np.int32(padded[v, u + 1]) - np.int32(padded[v, u - 1])
                slope_y = np.int32(padded[v + 1, u]) - np.int32(padded[v - 1, u])
                xx += slope_x * slope_x
                yy += slope_y * slope_y
                xy += slope_x * slope_y
        a, b, c = float(xx), float(yy), float(xy)
        places[count, 0], places[count, 1] = x, y
        strengths[count] = a + b - math.sqrt((a - b) * (a - b) + 4 * c * c)
        count += 1
    return places[:count], strengths[:count]


@compiled
def _chosen(places: Counts, strengths: Floats, size: tuple[int, int], wanted: int, cell_px: int) -> Places:
    """Indexes of `wanted` corners: log strength minus the log of how many stronger ones share their cell."""
    total = len(strengths)
    if total <= wanted:
        return np.arange(total)
    if total > 3 * wanted:
        least = np.partition(strengths, total - 3 * wanted)[total - 3 * wanted]
        kept = np.flatnonzero(strengths >= least)
    else:
        kept = np.arange(total)
    strongest = kept[np.argsort(-strengths[kept], kind="mergesort")]
    columns = size[1] // cell_px + 1
    crowd = np.zeros(columns * (size[0] // cell_px + 1), np.int32)
    merit = np.empty(len(strongest), np.float64)
    for rank in range(len(strongest)):
        corner = strongest[rank]
        cell = (places[corner, 1] // cell_px) * columns + places[corner, 0] // cell_px
        merit[rank] = math.log(strengths[corner] + 1.0) - math.log(1.0 + crowd[cell])
        crowd[cell] += 1
    return strongest[np.argsort(-merit, kind="mergesort")][:wanted]


@compiled
def _angle(padded: Grey, x: int, y: int, disc: Places) -> float:
    """The direction (radians) from a point to the centre of light of the disc around it."""
    along, across = np.int32(0), np.int32(0)
    middle = padded[y, x - PATCH_RADIUS : x + PATCH_RADIUS + 1]
    for u in range(2 * PATCH_RADIUS + 1):
        along += np.int32(u - PATCH_RADIUS) * np.int32(middle[u])
    for v in range(1, PATCH_RADIUS + 1):
        radius, row = disc[v], np.int32(0)
        # Slices from 0 on, so that the compiler can take many pixels at once.
        low, high = padded[y + v, x - radius : x + radius + 1], padded[y - v, x - radius : x + radius + 1]
        for u in range(2 * radius + 1):
            below, above = np.int32(low[u]), np.int32(high[u])
            row += below - above
            along += np.int32(u - radius) * (below + above)
        across += np.int32(v) * row
    return math.atan2(float(across), float(along))


@compiled
def _describe(padded: Grey, soft: Grey, places: Counts, tests: Places, disc: Places) -> tuple[Floats, Bits]:
    """Angles (radians) and descriptors of points of a padded level; `soft` is the level after a 5 x 5 box."""
    count, stride = len(places), soft.shape[1]
    pixels = soft.ravel()
    first = (tests[:, :, 1] * stride + tests[:, :, 0]).astype(np.int32)
    second = (tests[:, :, 3] * stride + tests[:, :, 2]).astype(np.int32)
    angles = np.empty(count, np.float64)
    descriptors = np.empty((count, WORDS), np.uint64)
    for point in range(count):
        x, y = places[point, 0], places[point, 1]
        angles[point] = _angle(padded, x, y, disc)
        step = int(np.rint(angles[point] * TURN_STEPS / (2 * math.pi))) % TURN_STEPS
        here, one, other = y * stride + x, first[step], second[step]
        for word in range(WORDS):
            bits = np.uint64(0)
            for bit in range(64):
                test = word * 64 + bit
                bits |= np.uint64(pixels[here + one[test]] < pixels[here + other[test]]) << np.uint64(bit)
            descriptors[point, word] = bits
    return angles, descriptors


def _corners(level: Grey, threshold: int) -> Singles:
    found = cv2.FastFeatureDetector.create(threshold).detect(level, None)
    return np.asarray(cv2.KeyPoint.convert(found), np.float32).reshape(-1, 2)


def _level_features(level: Grey, spread: Spread, wanted: int) -> tuple[Counts, Floats, Bits]:
    """Positions in the level, angles and descriptors of up to `wanted` points of one level."""
    corners = _corners(level, spread.bold_threshold)
    if len(corners) < 2 * wanted:
        corners = _corners(level, spread.faint_threshold)
    padded = cv2.copyMakeBorder(level, RIM, RIM, RIM, RIM, cv2.BORDER_REFLECT_101).astype(np.uint8, copy=False)
    places, strengths = _strengths(padded, corners, spread.rim_px)
    places = places[_chosen(places, strengths, padded.shape, wanted, spread.cell_px)]
    soft = cv2.blur(padded, (5, 5)).astype(np.uint8, copy=False)
    angles, descriptors = _describe(padded, soft, places, _TESTS, _DISC)
    return places - RIM, angles, descriptors


def _pyramid(grey: Grey, spread: Spread) -> list[Grey]:
    height, width = grey.shape
    levels = [grey]
    for number in range(1, spread.levels):
        size = (round(width / spread.scale_step**number), round(height / spread.scale_step**number))
        if min(size) < LEVEL_SIDE_MIN_PX:
            break
        levels.append(cv2.resize(levels[-1], size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False))
    return levels


def find_features(grey: Grey, spread: Spread) -> Features:
    """Up to `spread.points` points of a picture, coarse levels first; what a level lacks the finer ones may take."""
    if min(grey.shape) < LEVEL_SIDE_MIN_PX:
        return NONE
    levels = _pyramid(grey, spread)
    weights = spread.scale_step ** -np.arange(len(levels))
    quotas = weights / weights.sum() * spread.points
    left, parts, carried = spread.points, [], 0.0
    for number in reversed(range(len(levels))):
        level, wanted = levels[number], min(round(quotas[number] + carried), left)
        places, angles, descriptors = _level_features(level, spread, max(wanted, 0))
        carried += quotas[number] - len(places)
        left -= len(places)
        stretch = np.divide(grey.shape[::-1], level.shape[::-1])
        points = np.empty((len(places), 4), np.float32)
        points[:, :2] = (places + 0.5) * stretch - 0.5
        points[:, 2] = number * math.log(spread.scale_step)
        points[:, 3] = angles
        parts.append(Features(points, descriptors))
    points = np.concatenate([part.points for part in parts])
    return Features(points, np.concatenate([part.descriptors for part in parts]))

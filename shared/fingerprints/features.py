"""Local features: corners spread over the picture, described by 256 bits that know their own mirror image.

Sources: orientation by the intensity centroid and steered binary tests (ORB, Rublee et al., 2011); sampling pairs
chosen for stable, balanced, uncorrelated bits as in ORB's rBRIEF. Ours: the second 128 tests are the first ones
mirrored, so that the descriptor of the mirrored picture is the same descriptor with its halves swapped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from shared.fingerprints.compiled import Bits, Counts, Floats, Grey, Places, Singles, compiled, hamming
from shared.fingerprints.corners import RIM, Spread, corners_of

Offsets = Counts

PATCH_RADIUS = 15
LEVEL_SIDE_MIN_PX = 40
TURN_STEPS = 64
WORDS = 4
DESCRIPTOR_BITS = 64 * WORDS
DOUBT_UNIT = 450.0  # the greatest doubt then fits in a byte


REFERENCE = Spread(points=400, scale_step=1.2, levels=8, cell_px=48, faint_threshold=5)
# The strongest corners of a screenshot are its letters, and what is shown may be faded: there the places count more.
QUERY = Spread(points=1000, scale_step=1.3, levels=6, cell_px=32, strength_weight=0.3)
# Pictures longer than a camera makes them (3:2) are mostly screens and stories: what these show shares its points with
# letters and icons.
LONG_FROM = 1.6
LONG_QUERY = replace(QUERY, points=1800)


@dataclass(frozen=True, eq=False)
class Features:
    """Points float32 (n, 4): x, y in px of the picture, log of scale, angle in radians; descriptors uint64 (n, 4)."""

    points: Singles
    descriptors: Bits

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, eq=False)
class FoundFeatures(Features):
    """Features as they were found, with what is not kept of a reference.

    doubts: uint8 (n, 256), how readily each bit turns between edits: -ln(1 - chance) in units of 1 / DOUBT_UNIT.
    """

    doubts: Grey

    def mirrored(self, width_px: int) -> FoundFeatures:
        """What the mirrored picture would give, without looking at it."""
        points = self.points.copy()
        points[:, 0] = width_px - 1 - points[:, 0]
        points[:, 3] = math.pi - points[:, 3]
        descriptors = np.ascontiguousarray(self.descriptors[:, [2, 3, 0, 1]])
        return FoundFeatures(points, descriptors, np.roll(self.doubts, DESCRIPTOR_BITS // 2, axis=1))


NONE = FoundFeatures(
    np.zeros((0, 4), np.float32), np.zeros((0, WORDS), np.uint64), np.zeros((0, DESCRIPTOR_BITS), np.uint8)
)


def _steered_tests() -> Offsets:
    """Offsets (4: x, y of either sample; 64 turns; 256 tests) of the learned pairs and of their mirror images."""
    pairs = np.load(Path(__file__).with_name("sampling_pairs.npy")).astype(np.float64)
    tests = np.concatenate([pairs, pairs * np.array([1, -1, 1, -1])])
    steered = np.empty((4, TURN_STEPS, len(tests)), np.int32)
    for step in range(TURN_STEPS):
        cosine, sine = math.cos(2 * math.pi * step / TURN_STEPS), math.sin(2 * math.pi * step / TURN_STEPS)
        for first in (0, 2):
            x, y = tests[:, first], tests[:, first + 1]
            steered[first, step] = np.rint(cosine * x - sine * y)
            steered[first + 1, step] = np.rint(sine * x + cosine * y)
    return steered


def _half_disc() -> Grey:
    """The lower half of the disc around a point (16 rows, 32 columns): 255 inside, 0 outside and in the last column."""
    rows, columns = np.ogrid[: PATCH_RADIUS + 1, -PATCH_RADIUS : PATCH_RADIUS + 2]
    return np.where(rows**2 + columns**2 <= PATCH_RADIUS**2, 255, 0).astype(np.uint8)


def _doubts() -> Grey:
    """The doubt about a bit by its margin: by how many grey levels (256) the two samples differ.

    Of 137,069 pairs of points in hard edits, .41 of the bits with a margin of 0 had turned, .14 of those with 8 to 12,
    .03 of those with 40 to 80.
    """
    turned = 2.15 / (5 + np.arange(256))
    return np.rint(-DOUBT_UNIT * np.log1p(-turned)).astype(np.uint8)


_TESTS = _steered_tests()
_DOUBTS = _doubts()
_DISC = _half_disc()


@compiled
def _angle(pixels: Grey, here: int, stride: int, disc: Grey) -> float:
    """The direction (radians) from a point to the centre of light of the disc around it."""
    along, across = np.int32(0), np.int32(0)
    for u in range(32):
        # What one column adds fits in 16 bits: 31 times 255, and 1 + ... + 15 times 255.
        at, moment = here + u - PATCH_RADIUS, np.int16(0)
        light = np.int16(pixels[np.uint64(at)] & disc[np.uint64(u)])
        for v in range(1, PATCH_RADIUS + 1):
            inside = disc[np.uint64(32 * v + u)]
            below, above = pixels[np.uint64(at + v * stride)] & inside, pixels[np.uint64(at - v * stride)] & inside
            light = np.int16(light + np.int16(np.int16(below) + np.int16(above)))
            moment = np.int16(moment + np.int16(np.int16(v) * np.int16(np.int16(below) - np.int16(above))))
        along += np.int32(np.int32(u - PATCH_RADIUS) * np.int32(light))
        across += np.int32(moment)
    return math.atan2(float(across), float(along))


@compiled
def _describe(padded: Grey, soft: Grey, places: Places, tests: Offsets, disc: Grey) -> tuple[Floats, Bits, Grey]:
    """Angles (radians), descriptors and margins of points of a padded level; `soft`: the level after a 5 x 5 box."""
    count, stride = len(places), np.int32(soft.shape[1])
    pixels, blurred, inside = padded.ravel(), soft.ravel(), disc.ravel()
    first, second = (tests[1] * stride + tests[0]).ravel(), (tests[3] * stride + tests[2]).ravel()
    angles = np.empty(count, np.float64)
    descriptors, margins = np.empty((count, WORDS), np.uint64), np.empty((count, DESCRIPTOR_BITS), np.uint8)
    for point in range(count):
        here = places[point]
        angles[point] = _angle(pixels, here, int(stride), inside)
        step = int(np.rint(angles[point] * TURN_STEPS / (2 * math.pi))) % TURN_STEPS
        for word in range(WORDS):
            bits = np.uint64(0)
            for bit in range(64):  # the last one first
                test = np.uint64((step * WORDS + word) * 64 + 63 - bit)
                one, other = blurred[np.uint64(here + first[test])], blurred[np.uint64(here + second[test])]
                bits = bits + bits + np.uint64(one < other)
                margins[point, word * 64 + 63 - bit] = max(one, other) - min(one, other)
            descriptors[point, word] = bits
    return angles, descriptors, margins


@compiled
def _distances(soft: Grey, places: Places, turns: Counts, moves: Places, words: Bits, tests: Offsets) -> Counts:
    """Bits (n, moves) between the descriptors of points and what a softened level shows at these places, moved."""
    count, stride = len(places), np.int32(soft.shape[1])
    blurred = soft.ravel()
    first, second = (tests[1] * stride + tests[0]).ravel(), (tests[3] * stride + tests[2]).ravel()
    distances, seen = np.empty((count, len(moves)), np.int32), np.empty(WORDS, np.uint64)
    for point in range(count):
        for move in range(len(moves)):
            here = places[point] + moves[move]
            for word in range(WORDS):
                bits = np.uint64(0)
                for bit in range(64):  # the last one first
                    test = np.uint64((turns[point] * WORDS + word) * 64 + 63 - bit)
                    one, other = blurred[np.uint64(here + first[test])], blurred[np.uint64(here + second[test])]
                    bits = bits + bits + np.uint64(one < other)
                seen[word] = bits
            distances[point, move] = hamming(seen, words[point])
    return distances


@compiled
def _soft(padded: Grey) -> Grey:
    """A padded level after a 5 x 5 box, rounded; without the two rows and columns at the rim, which nobody asks for."""
    height, width = padded.shape
    soft, column = np.zeros((height, width), np.uint8), np.empty(width, np.uint16)
    for y in range(2, height - 2):
        a, b, c, d, e, row = padded[y - 2], padded[y - 1], padded[y], padded[y + 1], padded[y + 2], soft[y, 2:]
        for x in range(width):
            column[x] = np.uint16(a[x]) + np.uint16(b[x]) + np.uint16(c[x]) + np.uint16(d[x]) + np.uint16(e[x])
        for x in range(width - 4):
            total = np.uint16(column[x] + column[x + 1] + column[x + 2] + column[x + 3] + column[x + 4])
            row[x] = np.uint16(total + np.uint16(12)) // np.uint16(25)
    return soft


def _level_features(level: Grey, spread: Spread, wanted: int) -> tuple[Places, Floats, Bits, Grey]:
    """Positions in the level, angles, descriptors and margins of up to `wanted` points of one level."""
    padded = cv2.copyMakeBorder(level, RIM, RIM, RIM, RIM, cv2.BORDER_REFLECT_101).astype(np.uint8, copy=False)
    width = padded.shape[1]
    places = corners_of(level, padded, spread, wanted)
    described = _describe(padded, _soft(padded), places, _TESTS, _DISC)
    return np.stack([places % width - RIM, places // width - RIM], axis=1), *described


def _pyramid(grey: Grey, spread: Spread) -> list[Grey]:
    height, width = grey.shape
    levels = [grey]
    for number in range(1, spread.levels):
        size = (round(width / spread.scale_step**number), round(height / spread.scale_step**number))
        if min(size) < LEVEL_SIDE_MIN_PX:
            break
        levels.append(cv2.resize(levels[-1], size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False))
    return levels


def find_features(grey: Grey, spread: Spread) -> FoundFeatures:
    """Up to `spread.points` points of a picture, coarse levels first; what a level lacks the finer ones may take."""
    if min(grey.shape) < LEVEL_SIDE_MIN_PX:
        return NONE
    levels = _pyramid(grey, spread)
    weights = spread.scale_step ** -np.arange(len(levels))
    quotas = weights / weights.sum() * spread.points
    left, parts, carried = spread.points, [], 0.0
    numbers = np.arange(len(levels))[::-1]
    for number in numbers:
        wanted = min(round(quotas[number] + carried), left)
        parts.append(_level_features(levels[number], spread, max(wanted, 0)))
        carried += quotas[number] - len(parts[-1][0])
        left -= len(parts[-1][0])
    counts = [len(part[0]) for part in parts]
    stretches = np.array([np.divide(grey.shape[::-1], levels[number].shape[::-1]) for number in numbers])
    points = np.empty((sum(counts), 4), np.float32)
    places, angles, descriptors, margins = (np.concatenate(kind) for kind in zip(*parts, strict=True))
    middles = places + 0.5
    points[:, :2] = middles * np.repeat(stretches, counts, axis=0) - 0.5
    points[:, 2] = np.repeat(numbers * math.log(spread.scale_step), counts)
    points[:, 3] = angles
    doubts = cv2.LUT(margins, _DOUBTS).astype(np.uint8, copy=False) if len(margins) else margins
    return FoundFeatures(points, descriptors, doubts)


def query_features(grey: Grey) -> FoundFeatures:
    """Features of a published picture: more of them where it is long."""
    is_long = max(grey.shape) >= LONG_FROM * min(grey.shape)
    return find_features(grey, LONG_QUERY if is_long else QUERY)


def distances_at(grey: Grey, features: Features, moves_px: Counts, spread: Spread = REFERENCE) -> Counts:
    """How far a picture is from features of another one of its size, at their own places, scales and angles.

    moves_px: (m, 2) of x and y, at most 3 in pixels of a point's level; returns int32 (n, m), in bits of 256. Nothing
    is detected, so it also tells of what compression or blur keeps a detector from.
    """
    height, width = grey.shape
    numbers = np.rint(features.points[:, 2] / math.log(spread.scale_step))
    turns = np.rint(features.points[:, 3] * TURN_STEPS / (2 * math.pi)).astype(np.int32) % TURN_STEPS
    distances = np.full((len(features), len(moves_px)), DESCRIPTOR_BITS, np.int32)
    for number, level in enumerate(_pyramid(grey, spread)):
        here = np.flatnonzero(numbers == number)
        if len(here) == 0:
            continue
        padded = cv2.copyMakeBorder(level, RIM, RIM, RIM, RIM, cv2.BORDER_REFLECT_101).astype(np.uint8, copy=False)
        rows, columns = level.shape
        shrunk = (features.points[here, :2] + 0.5) * (columns / width, rows / height) - 0.5
        x, y = np.clip(np.rint(shrunk).astype(np.int64), 0, (columns - 1, rows - 1)).T
        stride = padded.shape[1]
        moves = moves_px[:, 1].astype(np.int64) * stride + moves_px[:, 0]
        places = (y + RIM) * stride + x + RIM
        distances[here] = _distances(_soft(padded), places, turns[here], moves, features.descriptors[here], _TESTS)
    return distances

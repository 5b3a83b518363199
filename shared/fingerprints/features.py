"""Local features: corners spread over the picture, described by 256 bits that know their own mirror image.

Sources: FAST corners (Rosten and Drummond, 2006) as OpenCV finds them; the smaller eigenvalue of the structure tensor
as their strength (Shi and Tomasi, 1994); orientation by the intensity centroid and steered binary tests (ORB, Rublee
et al., 2011); sampling pairs chosen for stable, balanced, uncorrelated bits as in ORB's rBRIEF. Ours: strength is
weighed against the number of stronger corners nearby, and the second 128 tests are the first ones mirrored, so that
the descriptor of the mirrored picture is the same descriptor with its halves swapped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from shared.fingerprints.compiled import Bits, Counts, Floats, Grey, Places, Singles, compiled, hamming

Pick = Callable[[np.uint8, np.uint8], np.uint8]
Offsets = Counts

PATCH_RADIUS = 15
RIM = 20  # what is reflected around every level, so that patches at the rim are whole
LEVEL_SIDE_MIN_PX = 40
TURN_STEPS = 64
WORDS = 4
DESCRIPTOR_BITS = 64 * WORDS


@dataclass(frozen=True)
class Spread:
    """How many points are taken, and from where.

    strength_weight: how much the log of a corner's strength counts against the log of its rank among its neighbours.
    """

    points: int
    scale_step: float
    levels: int
    cell_px: int
    bold_threshold: int = 20
    faint_threshold: int = 7
    rim_px: int = 4
    strength_weight: float = 1.0


REFERENCE = Spread(points=400, scale_step=1.2, levels=8, cell_px=48, faint_threshold=5)
# The strongest corners of a screenshot are its letters, and what is shown may be faded: there the places count more.
QUERY = Spread(points=1000, scale_step=1.3, levels=6, cell_px=32, strength_weight=0.3)


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


_TESTS = _steered_tests()
_DISC = _half_disc()
# For every byte (256) which of its bits are set, lowest first; then nothing that counts.
SET_BITS: Grey = np.array([([b for b in range(8) if byte >> b & 1] + 8 * [0])[:8] for byte in range(256)], np.uint8)


@compiled
def _less(a: np.uint8, b: np.uint8) -> np.uint8:
    return a if a < b else b


@compiled
def _more(a: np.uint8, b: np.uint8) -> np.uint8:
    return a if a > b else b


@compiled
def _arc(less: Pick, more: Pick, ring: tuple[np.uint8, ...]) -> np.uint8:
    """The largest of the 16 minima over nine neighbours of a ring; the smallest maximum with the two exchanged.

    Two arcs share eight pixels, and those are four pairs: no comparison is made twice, and nothing branches.
    """
    a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p = ring  # noqa: E741 - the sixteen in their order
    bc, de, fg, hi = less(b, c), less(d, e), less(f, g), less(h, i)
    jk, lm, no, pa = less(j, k), less(l, m), less(n, o), less(p, a)
    be, dg, fi, hk = less(bc, de), less(de, fg), less(fg, hi), less(hi, jk)
    jm, lo, na, pc = less(jk, lm), less(lm, no), less(no, pa), less(pa, bc)
    first = more(less(less(be, fi), more(a, j)), less(less(dg, hk), more(c, l)))
    second = more(less(less(fi, jm), more(e, n)), less(less(hk, lo), more(g, p)))
    third = more(less(less(jm, na), more(i, b)), less(less(lo, pc), more(k, d)))
    fourth = more(less(less(na, be), more(m, f)), less(less(pc, dg), more(o, h)))
    return more(more(first, second), more(third, fourth))


@compiled
def fast_margins(level: Grey) -> Grey:
    """For every pixel the least FAST-9/16 threshold at which it is *no* corner; 0: never one, as near the rim.

    The same corners at every threshold as OpenCV's, whose score is this margin less one.
    """
    height, width = level.shape
    margins = np.zeros((height, width), np.uint8)
    for y in range(3, height - 3):
        # Slices and indexes from 0 on, so that the compiler can take many pixels at once.
        r0, r1, r2, r3 = level[y - 3], level[y - 2], level[y - 1], level[y]
        r4, r5, r6, row = level[y + 1], level[y + 2], level[y + 3], margins[y, 3:]
        for x in range(width - 6):
            ring = (
                *(r6[x + 3], r6[x + 4], r5[x + 5], r4[x + 6], r3[x + 6], r2[x + 6], r1[x + 5], r0[x + 4]),
                *(r0[x + 3], r0[x + 2], r1[x + 1], r2[x], r3[x], r4[x], r5[x + 1], r6[x + 2]),
            )
            middle, bright, dark = r3[x + 3], _arc(_less, _more, ring), _arc(_more, _less, ring)
            row[x] = _more(np.uint8(_more(bright, middle) - middle), np.uint8(middle - _less(dark, middle)))
    return margins


@compiled
def fast_corners(margins: Grey, threshold: int, set_bits: Grey) -> Counts:
    """Positions (2: x, y; n), row by row, of the margins above a threshold and above all their eight neighbours."""
    height, width = margins.shape
    corners, count, least = np.empty((2, height * width // 4 + 8), np.int32), 0, np.uint8(threshold)
    peaks = np.zeros((width + 7) // 8 * 8, np.uint8)
    eights, xs, ys, offsets = peaks.view(np.uint64), corners[0], corners[1], set_bits.ravel()
    for y in range(3, height - 3):
        over, here, under = margins[y - 1], margins[y], margins[y + 1]
        for x in range(width - 2):
            most = _more(_more(over[x], over[x + 1]), _more(over[x + 2], here[x]))
            most = _more(most, _more(_more(here[x + 2], under[x]), _more(under[x + 1], under[x + 2])))
            peaks[x + 1] = here[x + 1] > _more(most, least)
        for word in range(len(eights)):
            if eights[word] != np.uint64(0):
                # Eight bytes of 0 or 1 become eight bits, and those the places of the set ones; no branch to foresee.
                mask = (eights[word] * np.uint64(0x0102040810204080)) >> np.uint64(56)
                for bit in range(8):
                    at = np.uint64(count + bit)
                    xs[at], ys[at] = 8 * word + offsets[np.uint64(8) * mask + np.uint64(bit)], y
                count += int((eights[word] * np.uint64(0x0101010101010101)) >> np.uint64(56))
    return corners[:, :count]


@compiled
def _corners(level: Grey, stride: int, bold: int, faint: int, enough: int, rim_px: int, set_bits: Grey) -> Places:
    """Indexes (m,) in the padded level of the bold corners, or of the faint ones too when the bold are not enough."""
    margins, (height, width) = fast_margins(level), level.shape
    corners = fast_corners(margins, faint, set_bits)
    flat, xs, ys = margins.ravel(), corners[0], corners[1]
    places, found = np.empty(len(xs), np.int64), 0
    for corner in range(len(xs)):
        found += flat[np.uint64(ys[corner] * width + xs[corner])] > bold
    # A corner's margin is the same at every threshold: the bold are the faint with a large margin.
    least, count = bold if found >= enough else faint, 0
    for corner in range(len(xs)):
        x, y = np.int64(xs[corner]), np.int64(ys[corner])
        places[count] = (y + RIM) * stride + x + RIM
        inside = (x >= rim_px) & (y >= rim_px) & (x < width - rim_px) & (y < height - rim_px)
        count += inside & (flat[np.uint64(y * width + x)] > least)
    return places[:count]


@compiled
def _strengths(padded: Grey, places: Places) -> Floats:
    """The smaller eigenvalue (twice) of the structure tensor of 5 x 5 pixels around every place."""
    strengths, pixels, stride = np.empty(len(places), np.float64), padded.ravel(), padded.shape[1]
    for place in range(len(places)):
        corner = places[place] - 2 * stride - 2
        xx, yy, xy = np.int32(0), np.int32(0), np.int32(0)
        for u in range(8):  # eight columns go at once, three of them for nothing
            column_xx, column_yy, column_xy = np.int32(0), np.int32(0), np.int32(0)
            for v in range(5):
                at = corner + v * stride + u
                right, left = pixels[np.uint64(at + 1)], pixels[np.uint64(at - 1)]
                below, above = pixels[np.uint64(at + stride)], pixels[np.uint64(at - stride)]
                slope_x = np.int32(np.int16(right) - np.int16(left))
                slope_y = np.int32(np.int16(below) - np.int16(above))
                column_xx += np.int32(slope_x * slope_x)
                column_yy += np.int32(slope_y * slope_y)
                column_xy += np.int32(slope_x * slope_y)
            if u < 5:
                xx += np.int32(column_xx)
                yy += np.int32(column_yy)
                xy += np.int32(column_xy)
        a, b, c = float(xx), float(yy), float(xy)
        strengths[place] = a + b - math.sqrt((a - b) * (a - b) + 4 * c * c)
    return strengths


@compiled
def _keys(values: Floats) -> Bits:
    """Keys (n,) that sort values downwards to 24 bits: those bits in ascending order, then the index."""
    keys = np.empty(len(values), np.uint64)
    bits = (-values.astype(np.float32)).view(np.int32)
    for index in range(len(values)):
        # IEEE 754: with the sign bit turned, and all bits of the negative ones, floats sort as whole numbers.
        key = np.uint32(~bits[index]) if bits[index] < 0 else np.uint32(bits[index]) | np.uint32(0x80000000)
        keys[index] = (np.uint64(key) << np.uint64(32)) | np.uint64(index)
    return keys


@compiled
def _settled(keys: Bits, values: Floats) -> Places:
    """The indexes in sorted keys, values that agree in 24 bits put into their order by insertion."""
    order = np.empty(len(keys), np.int64)
    for rank in range(len(keys)):
        index, at = np.int64(keys[rank] & np.uint64(0xFFFFFFFF)), rank
        while at > 0 and values[order[at - 1]] < values[index]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = index
    return order


def downwards(values: Floats) -> Places:
    """`np.argsort(-values, kind="stable")`, many times as fast: NumPy sorts whole numbers with vectors."""
    return _settled(np.sort(_keys(values)), values)


@compiled
def _merits(
    strongest: Places, places: Places, strengths: Floats, size: tuple[int, int], cell_px: int, weight: float
) -> Floats:
    """Weighted log strength minus log of how many stronger ones share the cell, of corners from the strongest on."""
    columns = size[1] // cell_px + 1
    crowd = np.zeros(columns * (size[0] // cell_px + 1), np.int64)
    merits, logs, known = np.empty(len(strongest), np.float64), np.empty(len(strongest), np.float64), 0
    for rank in range(len(strongest)):
        corner = strongest[rank]
        y, x = divmod(places[corner], size[1])
        cell = (y // cell_px) * columns + x // cell_px
        if crowd[cell] == known:
            logs[known] = math.log(1.0 + known)
            known += 1
        merits[rank] = weight * math.log(strengths[corner] + 1.0) - logs[crowd[cell]]
        crowd[cell] += 1
    return merits


def _chosen(places: Places, strengths: Floats, size: tuple[int, int], wanted: int, spread: Spread) -> Places:
    """The `wanted` corners of the most merit, out of three times as many (and their equals) of the most strength."""
    if len(places) <= wanted:
        return places
    if wanted == 0:
        return places[:0]
    strongest = downwards(strengths)
    if len(strongest) > 3 * wanted:
        least = strengths[strongest[3 * wanted - 1]]
        strongest = strongest[: 3 * wanted + np.count_nonzero(strengths[strongest[3 * wanted :]] == least)]
    return places[
        strongest[
            downwards(_merits(strongest, places, strengths, size, spread.cell_px, spread.strength_weight))[:wanted]
        ]
    ]


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
def _describe(padded: Grey, soft: Grey, places: Places, tests: Offsets, disc: Grey) -> tuple[Floats, Bits]:
    """Angles (radians) and descriptors of points of a padded level; `soft` is the level after a 5 x 5 box."""
    count, stride = len(places), np.int32(soft.shape[1])
    pixels, blurred, inside = padded.ravel(), soft.ravel(), disc.ravel()
    first, second = (tests[1] * stride + tests[0]).ravel(), (tests[3] * stride + tests[2]).ravel()
    angles = np.empty(count, np.float64)
    descriptors = np.empty((count, WORDS), np.uint64)
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
            descriptors[point, word] = bits
    return angles, descriptors


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


def _level_features(level: Grey, spread: Spread, wanted: int) -> tuple[Places, Floats, Bits]:
    """Positions in the level, angles and descriptors of up to `wanted` points of one level."""
    padded = cv2.copyMakeBorder(level, RIM, RIM, RIM, RIM, cv2.BORDER_REFLECT_101).astype(np.uint8, copy=False)
    height, width = padded.shape
    thresholds = spread.bold_threshold, spread.faint_threshold
    places = _corners(level, width, *thresholds, 2 * wanted, spread.rim_px, SET_BITS)
    places = _chosen(places, _strengths(padded, places), (height, width), wanted, spread)
    angles, descriptors = _describe(padded, _soft(padded), places, _TESTS, _DISC)
    return np.stack([places % width - RIM, places // width - RIM], axis=1), angles, descriptors


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
    numbers = np.arange(len(levels))[::-1]
    for number in numbers:
        wanted = min(round(quotas[number] + carried), left)
        parts.append(_level_features(levels[number], spread, max(wanted, 0)))
        carried += quotas[number] - len(parts[-1][0])
        left -= len(parts[-1][0])
    counts = [len(places) for places, _, _ in parts]
    stretches = np.array([np.divide(grey.shape[::-1], levels[number].shape[::-1]) for number in numbers])
    points = np.empty((sum(counts), 4), np.float32)
    middles = np.concatenate([places for places, _, _ in parts]) + 0.5
    points[:, :2] = middles * np.repeat(stretches, counts, axis=0) - 0.5
    points[:, 2] = np.repeat(numbers * math.log(spread.scale_step), counts)
    points[:, 3] = np.concatenate([angles for _, angles, _ in parts])
    return Features(points, np.concatenate([descriptors for _, _, descriptors in parts]))


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

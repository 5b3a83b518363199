"""Corners spread over a picture: where its features are.

Sources: FAST corners (Rosten and Drummond, 2006) as OpenCV finds them; the smaller eigenvalue of the structure tensor
as their strength (Shi and Tomasi, 1994). Ours: strength is weighed against the number of stronger corners nearby.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shared.fingerprints.compiled import Bits, Counts, Floats, Grey, Places, compiled

Pick = Callable[[np.uint8, np.uint8], np.uint8]

RIM = 20  # what is reflected around every level, so that patches at the rim are whole
# For every byte (256) which of its bits are set, lowest first; then nothing that counts.
SET_BITS: Grey = np.array([([b for b in range(8) if byte >> b & 1] + 8 * [0])[:8] for byte in range(256)], np.uint8)


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
    merits = _merits(strongest, places, strengths, size, spread.cell_px, spread.strength_weight)
    return places[strongest[downwards(merits)[:wanted]]]


def corners_of(level: Grey, padded: Grey, spread: Spread, wanted: int) -> Places:
    """Indexes (m,) of up to `wanted` corners of a level, in that level with RIM pixels reflected around it."""
    height, width = padded.shape
    thresholds = spread.bold_threshold, spread.faint_threshold
    places = _corners(level, width, *thresholds, 2 * wanted, spread.rim_px, SET_BITS)
    return _chosen(places, _strengths(padded, places), (height, width), wanted, spread)
